'use client';

import { Button, Group, Radio, Skeleton, Stack, Text } from '@mantine/core';
import type { RefreshOptions } from '@offshoot/clone-core/contract';
import { keepPreviousData, useMutation, useQuery } from '@tanstack/react-query';
import { useRouter } from 'next/navigation';
import { useState } from 'react';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { PlanSummary } from '../clone/PlanSummary.tsx';
import { Problem } from '../display/Blocks.tsx';

type OwnChanges = RefreshOptions['ownChanges'];

/** What would move, and what becomes of what the clone wrote itself: the plan, before the click. */
export function RefreshForm({ guest, onDone }: { guest: GuestView; onDone: () => void }) {
  const trpc = useTRPC();
  const router = useRouter();
  const [idempotencyKey] = useIdempotencyKey();
  const [ownChanges, setOwnChanges] = useState<OwnChanges>('refuse');
  const preview = useQuery({
    ...trpc.preview.guest.queryOptions({
      kind: 'refresh',
      guestId: guest.id,
      options: { ownChanges, keepPrevious: 1 },
    }),
    placeholderData: keepPreviousData,
    retry: false,
  });
  const refresh = useMutation(
    trpc.operation.create.refresh.mutationOptions({
      onSuccess: ({ operationIds }) => {
        onDone();
        if (operationIds[0] !== undefined) router.push(`/operations/${operationIds[0]}`);
      },
    }),
  );
  const refused = preview.error ? publicError(preview.error) : undefined;
  const asks = refused?.code === 'would-lose' || ownChanges !== 'refuse';
  const problem = refresh.error
    ? publicError(refresh.error)
    : refused?.code === 'would-lose'
      ? undefined
      : refused;
  return (
    <Stack gap="sm">
      {asks ? (
        <Radio.Group
          label="What it changed itself"
          description={refused?.code === 'would-lose' ? refused.message : undefined}
          value={ownChanges}
          onChange={(value) => setOwnChanges(value === 'keep' ? 'keep' : 'discard')}
        >
          <Stack gap="xs" mt={8}>
            <Radio
              value="keep"
              label="Keep its present state"
              description="Beside the new one, until you delete the clone. It can be put back with one click."
            />
            <Radio
              value="discard"
              label="Discard it"
              description="Its present state can still be put back until a later refresh removes it."
            />
          </Stack>
        </Radio.Group>
      ) : null}
      {problem ? (
        <Problem error={problem} {...(problem.retryable ? { retry: () => void preview.refetch() } : {})} />
      ) : null}
      {preview.data && !refused ? (
        <PlanSummary plan={preview.data.plan} />
      ) : preview.isPending ? (
        <Stack gap="xs" aria-label="Working out what will happen" aria-busy>
          <Skeleton h={16} w="70%" />
          <Skeleton h={12} w="50%" />
          <Skeleton h={64} />
        </Stack>
      ) : asks && !problem ? (
        <Text size="sm" c="dimmed">
          Choose one to see what will happen.
        </Text>
      ) : null}
      <Group justify="flex-end" mt="md">
        <Button variant="default" onClick={onDone}>
          Cancel
        </Button>
        <Button
          disabled={!preview.data || preview.isPlaceholderData || refused !== undefined}
          loading={refresh.isPending}
          data-autofocus
          onClick={() =>
            preview.data &&
            refresh.mutate({
              idempotencyKey,
              guestId: guest.id,
              options: { ownChanges, keepPrevious: 1 },
              agreedFingerprint: preview.data.plan.fingerprint,
            })
          }
        >
          Refresh
        </Button>
      </Group>
    </Stack>
  );
}
