'use client';

import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { publicError, useTRPC } from '../../../lib/trpc.ts';
import { Problem } from '../../display/Blocks.tsx';
import { Buttons } from '../../guest/Buttons.tsx';
import { JoinWays } from './JoinWays.tsx';

/** The button on the Hosts page, and its dialog: opened anew for every machine. */
export function AddHost() {
  const [opened, setOpened] = useState(false);
  return (
    <>
      <Button leftSection={<IconPlus size={16} aria-hidden />} onClick={() => setOpened(true)}>
        Add host
      </Button>
      <Modal opened={opened} onClose={() => setOpened(false)} title="Add host" centered radius="md" size="lg">
        {opened ? <Adding onDone={() => setOpened(false)} /> : null}
      </Modal>
    </>
  );
}

function Adding({ onDone }: { onDone: () => void }) {
  const trpc = useTRPC();
  const [name, setName] = useState('');
  const invite = useMutation(trpc.fleet.invite.mutationOptions());
  const problem = invite.error ? publicError(invite.error) : undefined;
  if (invite.data)
    return (
      <>
        <JoinWays invitation={invite.data} name={name.trim()} />
        <Group justify="flex-end" mt="md">
          <Button variant="default" onClick={onDone}>
            Close
          </Button>
        </Group>
      </>
    );
  const atField = problem?.field === 'name';
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        invite.mutate({ name });
      }}
    >
      <Stack gap="sm">
        <Text size="sm">
          A hypervisor with libvirt becomes a place to clone to. It gets a credential of its own, which opens
          its own work only and can be revoked at any time.
        </Text>
        <TextInput
          label="Name"
          placeholder="rack-3"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          error={atField ? [problem.message, problem.remedy].filter(Boolean).join(' ') : undefined}
          data-autofocus
        />
        {problem && !atField ? <Problem error={problem} /> : null}
        <Buttons
          label="Make its line"
          busy={invite.isPending}
          disabled={name.trim() === ''}
          onDone={onDone}
          onGo={() => invite.mutate({ name })}
        />
      </Stack>
    </form>
  );
}
