'use client';

import { Button, Group, NumberInput, Radio, Stack, Text } from '@mantine/core';
import type { RefreshOptions } from '@offshoot/clone-core/contract';
import { useMutation } from '@tanstack/react-query';
import { useRouter } from 'next/navigation';
import { useState } from 'react';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { GuestPlan, useGuestPlan } from './GuestPlan.tsx';

/** States before the new one that stay unless more or fewer are asked for. */
const KEPT = 1;

type OwnChanges = RefreshOptions['ownChanges'];

/** What would move, and what becomes of what the clone wrote itself: the plan, before the click. */
export function RefreshForm({ guest, onDone }: { guest: GuestView; onDone: () => void }) {
  const trpc = useTRPC();
  const router = useRouter();
  const [idempotencyKey] = useIdempotencyKey();
  const [ownChanges, setOwnChanges] = useState<OwnChanges>('refuse');
  // As typed: what is rubbed out does not come back while one types.
  const [kept, setKept] = useState<number | string>(KEPT);
  const keepPrevious = typeof kept === 'number' ? kept : KEPT;
  const preview = useGuestPlan({
    kind: 'refresh',
    guestId: guest.id,
    options: { ownChanges, keepPrevious },
  });
  const refresh = useMutation(
    trpc.operation.create.refresh.mutationOptions({
      onSuccess: ({ operationIds }) => {
        onDone();
        if (operationIds[0] !== undefined) router.push(`/operations/${operationIds[0]}`);
      },
    }),
  );
  const { refused, agreed } = preview;
  const asks = refused?.code === 'would-lose' || ownChanges !== 'refuse';
  // Which the choice above is about.
  const loses = refused?.code === 'would-lose';
  const shown = loses ? { ...preview, refused: undefined } : preview;
  return (
    <Stack gap="sm">
      {asks ? (
        <Radio.Group
          label="What it changed itself"
          description={loses ? refused?.message : undefined}
          value={ownChanges}
          onChange={(value) => setOwnChanges(value === 'keep' ? 'keep' : 'discard')}
        >
          <Stack gap="xs" mt={8}>
            <Radio
              value="keep"
              label="Keep its present state"
              description="Beside the new one, until you let go of it on this page. It can be put back with one click."
            />
            <Radio
              value="discard"
              label="Discard it"
              description={
                keepPrevious === 0
                  ? 'It is lost: no state before the new one stays.'
                  : 'Its present state can still be put back until a later refresh removes it.'
              }
            />
          </Stack>
        </Radio.Group>
      ) : null}
      <NumberInput
        label="States before this one that stay"
        description="Besides those kept on purpose. Each can be put back with one click."
        min={0}
        max={5}
        allowDecimal={false}
        clampBehavior="strict"
        value={kept}
        onChange={setKept}
        onBlur={() => setKept(keepPrevious)}
      />
      <GuestPlan preview={shown} problem={refresh.error ? publicError(refresh.error) : undefined} />
      {loses ? (
        <Text size="sm" c="dimmed">
          Choose one to see what will happen.
        </Text>
      ) : null}
      <Group justify="flex-end" mt="md">
        <Button variant="default" onClick={onDone}>
          Cancel
        </Button>
        <Button
          disabled={agreed === undefined}
          loading={refresh.isPending}
          data-autofocus
          onClick={() =>
            refresh.mutate({
              idempotencyKey,
              guestId: guest.id,
              options: { ownChanges, keepPrevious },
              agreedFingerprint: agreed,
            })
          }
        >
          Refresh
        </Button>
      </Group>
    </Stack>
  );
}
