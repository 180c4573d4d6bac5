'use client';

import { Stack, Text } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { publicError, useTRPC } from '../../../lib/trpc.ts';
import type { HostView } from '../../../server/views/host.ts';
import { Problem } from '../../display/Blocks.tsx';
import { Buttons } from '../../guest/Buttons.tsx';
import { useHostChange } from './useHostChange.ts';

/** Takes a host's credential away. */
export function RevokeForm({ host, onDone }: { host: HostView; onDone: () => void }) {
  const trpc = useTRPC();
  const revoke = useMutation(trpc.fleet.revoke.mutationOptions({ onSuccess: useHostChange(onDone) }));
  return (
    <Stack gap="sm">
      <Text size="sm">
        Its worker stops within seconds, in the middle of what it does. Guests run on; what was begun with
        them stays as it is until the host joins again, and is then finished or undone.
      </Text>
      {revoke.error ? <Problem error={publicError(revoke.error)} /> : null}
      <Buttons
        label="Revoke"
        danger
        busy={revoke.isPending}
        onDone={onDone}
        onGo={() => revoke.mutate({ id: host.id })}
      />
    </Stack>
  );
}
