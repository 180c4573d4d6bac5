'use client';

import { Button, Group, Radio, Stack, Text } from '@mantine/core';
import type { VerifyDepth } from '@offshoot/clone-core/contract';
import { useMutation } from '@tanstack/react-query';
import { useRouter } from 'next/navigation';
import { useState } from 'react';
import { formatBytes } from '../../lib/format.ts';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Problem } from '../display/Blocks.tsx';

/** Why the guest can't be compared now, with what to do; undefined: it can. */
export function whyNotVerify(guest: GuestView): string | undefined {
  if (guest.counterpart === null)
    return guest.mode === null
      ? 'It is no clone, so there is nothing to compare it with.'
      : 'What it was cloned from is gone, so there is nothing to compare it with.';
  if (guest.state !== 'stopped')
    return `Its disks change while it ${guest.state === 'paused' ? 'is paused' : 'runs'}. Stop it to compare it.`;
  if (guest.counterpart.running)
    return `${guest.counterpart.label} runs and changes its disks. Stop it to compare with it.`;
  return undefined;
}

/** Whole or sampled, and what each proves. */
export function VerifyForm({ guest, onDone }: { guest: GuestView; onDone: () => void }) {
  const trpc = useTRPC();
  const router = useRouter();
  const [idempotencyKey] = useIdempotencyKey();
  const [depth, setDepth] = useState<VerifyDepth>('whole');
  const verify = useMutation(
    trpc.operation.create.verify.mutationOptions({
      onSuccess: ({ operationIds }) => {
        onDone();
        if (operationIds[0] !== undefined) router.push(`/operations/${operationIds[0]}`);
      },
    }),
  );
  return (
    <Stack gap="sm">
      <Text size="sm">
        Its disks are compared with {guest.counterpart?.label ?? 'its source'}, as a guest sees them. Both are
        only read; neither can be started meanwhile. You can cancel at any time.
      </Text>
      <Radio.Group
        value={depth}
        onChange={(value) => setDepth(value === 'sample' ? 'sample' : 'whole')}
        label="How thoroughly"
      >
        <Stack gap="xs" mt={6}>
          <Radio
            value="whole"
            label={`Every byte (${formatBytes(guest.virtualBytes ?? 0)})`}
            description="Proves that both are the same, or says how much differs. Gives the content’s sha256."
          />
          <Radio
            value="sample"
            label="A random sample"
            description="1024 blocks of 64 KiB on each disk, in seconds. Finds any difference in 0.3 % or more of the data with 95 % probability."
          />
        </Stack>
      </Radio.Group>
      {verify.error ? <Problem error={publicError(verify.error)} /> : null}
      <Group justify="flex-end" mt="md">
        <Button variant="default" onClick={onDone}>
          Cancel
        </Button>
        <Button
          loading={verify.isPending}
          data-autofocus
          onClick={() => verify.mutate({ idempotencyKey, guestId: guest.id, depth })}
        >
          Compare
        </Button>
      </Group>
    </Stack>
  );
}
