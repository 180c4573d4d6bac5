'use client';

import { Checkbox, Stack, Text } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Buttons } from './Buttons.tsx';
import { GuestPlan, useGuestPlan } from './GuestPlan.tsx';

/** What a linked clone loses when it becomes what it was when it was cloned, before the click. */
export function ResetForm({ guest, onDone }: { guest: GuestView; onDone: () => void }) {
  const trpc = useTRPC();
  const [idempotencyKey] = useIdempotencyKey();
  const [waitForAgent, setWaitForAgent] = useState(true);
  const preview = useGuestPlan({ kind: 'reset', guestId: guest.id, waitForAgent });
  const reset = useMutation(trpc.operation.create.reset.mutationOptions({ onSuccess: onDone }));
  const { agreed } = preview;
  return (
    <Stack gap="sm">
      <Text size="sm">
        Its name, UUID, MAC addresses and definition stay. Once it is finished this can’t be undone.
      </Text>
      <GuestPlan preview={preview} problem={reset.error ? publicError(reset.error) : undefined} />
      {guest.state === 'running' || guest.state === 'paused' ? (
        <Checkbox
          label="Wait for its guest agent"
          description="Finish when it answers. If it does not, everything is put back as it is now."
          checked={waitForAgent}
          onChange={(event) => setWaitForAgent(event.currentTarget.checked)}
        />
      ) : null}
      <Buttons
        label="Reset"
        danger
        busy={reset.isPending}
        disabled={agreed === undefined}
        onDone={onDone}
        onGo={() =>
          reset.mutate({ idempotencyKey, guestIds: [guest.id], waitForAgent, agreedFingerprint: agreed })
        }
      />
    </Stack>
  );
}
