'use client';

import { Stack, Text } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useRouter } from 'next/navigation';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Buttons } from './Buttons.tsx';
import { GuestPlan, useGuestPlan } from './GuestPlan.tsx';

/** What it costs to detach a clone from its base, before the click. */
export function PromoteForm({ guest, onDone }: { guest: GuestView; onDone: () => void }) {
  const trpc = useTRPC();
  const router = useRouter();
  const [idempotencyKey] = useIdempotencyKey();
  const preview = useGuestPlan({ kind: 'promote', guestId: guest.id });
  const promote = useMutation(
    trpc.operation.create.promote.mutationOptions({
      onSuccess: ({ operationIds }) => {
        onDone();
        if (operationIds[0] !== undefined) router.push(`/operations/${operationIds[0]}`);
      },
    }),
  );
  const { agreed } = preview;
  const last = guest.base !== null && guest.base.hidden && guest.base.guests === 1;
  return (
    <Stack gap="sm">
      <Text size="sm">
        {guest.states === null
          ? 'What it shares with its base is copied into its own disks. It is a full clone afterwards and can’t be reset.'
          : 'What its present state shares with earlier ones is copied into a file of its own, so that reads go through fewer files.'}
        {last ? ' Nothing else stands on the base, so that goes.' : ''}
      </Text>
      <GuestPlan preview={preview} problem={promote.error ? publicError(promote.error) : undefined} />
      <Buttons
        label="Detach"
        busy={promote.isPending}
        disabled={agreed === undefined}
        onDone={onDone}
        onGo={() => promote.mutate({ idempotencyKey, guestId: guest.id, agreedFingerprint: agreed })}
      />
    </Stack>
  );
}
