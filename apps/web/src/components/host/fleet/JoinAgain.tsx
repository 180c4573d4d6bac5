'use client';

import { Button, Group, Stack, Text } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { publicError, useTRPC } from '../../../lib/trpc.ts';
import type { HostView } from '../../../server/views/host.ts';
import { Problem } from '../../display/Blocks.tsx';
import { Buttons } from '../../guest/Buttons.tsx';
import { JoinWays } from './JoinWays.tsx';

/** A new credential for a host that is there. */
export function JoinAgain({ host, onDone }: { host: HostView; onDone: () => void }) {
  const trpc = useTRPC();
  const invite = useMutation(trpc.fleet.inviteAgain.mutationOptions());
  if (invite.data)
    return (
      <>
        <JoinWays invitation={invite.data} name={host.name} />
        <Group justify="flex-end" mt="md">
          <Button variant="default" onClick={onDone}>
            Close
          </Button>
        </Group>
      </>
    );
  return (
    <Stack gap="sm">
      <Text size="sm">
        The machine gets a new credential and goes on as {host.name}, with its guests and bases. If it joined
        before, add --again to the line.
      </Text>
      {invite.error ? <Problem error={publicError(invite.error)} /> : null}
      <Buttons
        label="Make its line"
        busy={invite.isPending}
        onDone={onDone}
        onGo={() => invite.mutate({ id: host.id })}
      />
    </Stack>
  );
}
