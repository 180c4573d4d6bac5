'use client';

import { Button, Group, Modal, Stack, Table, Text, VisuallyHidden } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation } from '@tanstack/react-query';
import { useRouter } from 'next/navigation';
import { useState } from 'react';
import { formatBytes } from '../../lib/format.ts';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { GuestStates, GuestView } from '../../server/views/guest.ts';
import { Section } from '../display/Blocks.tsx';
import { Ago, Quiet } from '../display/Text.tsx';
import { GuestPlan, useGuestPlan } from './GuestPlan.tsx';

type State = GuestStates['list'][number];

const consistencyWords = {
  exact: 'exact',
  filesystem: 'filesystem-consistent',
  crash: 'crash-consistent',
} as const;

/** The states of a clone that is brought up to date: which it has, and which it can be put back to. */
export function States({ guest }: { guest: GuestView }) {
  const [chosen, setChosen] = useState<State | null>(null);
  const { states } = guest;
  if (!states) return null;
  const stopped = guest.state === 'stopped' && guest.busy === null;
  return (
    <Section title="States">
      <div className="panel" style={{ overflowX: 'auto' }}>
        <Table verticalSpacing={8}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>State</Table.Th>
              <Table.Th>Of its source</Table.Th>
              <Table.Th visibleFrom="sm">How</Table.Th>
              <Table.Th ta="right">Moved</Table.Th>
              <Table.Th>
                <VisuallyHidden>What can be done</VisuallyHidden>
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {states.list.map((state) => (
              <Table.Tr key={state.number}>
                <Table.Td className="num">{state.number}</Table.Td>
                <Table.Td>
                  {state.at === '' ? <Quiet>before it was refreshed</Quiet> : <Ago at={state.at} />}
                </Table.Td>
                <Table.Td visibleFrom="sm">
                  {state.consistency === undefined ? <Quiet>–</Quiet> : consistencyWords[state.consistency]}
                  {state.kept ? ' · kept' : ''}
                </Table.Td>
                <Table.Td ta="right" className="num">
                  {state.movedBytes === undefined ? <Quiet>–</Quiet> : formatBytes(state.movedBytes)}
                </Table.Td>
                <Table.Td ta="right">
                  {state.number === states.current ? (
                    <Text size="sm" fw={600}>
                      now
                    </Text>
                  ) : (
                    <Group gap={6} justify="flex-end" wrap="nowrap">
                      {state.kept ? <Release guest={guest} state={state} /> : null}
                      <Button
                        size="compact-sm"
                        variant="default"
                        disabled={!stopped}
                        title={stopped ? undefined : 'Stop it first: its disks are replaced.'}
                        aria-label={`Put back to state ${state.number}`}
                        onClick={() => setChosen(state)}
                      >
                        Put back
                      </Button>
                    </Group>
                  )}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </div>
      <Modal
        opened={chosen !== null}
        onClose={() => setChosen(null)}
        title={`Put ${guest.name} back to state ${chosen?.number ?? ''}?`}
        centered
        radius="md"
      >
        {chosen ? <PutBack guest={guest} to={chosen.number} onDone={() => setChosen(null)} /> : null}
      </Modal>
    </Section>
  );
}

/** A state that was kept on purpose goes with a later refresh again. */
function Release({ guest, state }: { guest: GuestView; state: State }) {
  const trpc = useTRPC();
  const release = useMutation(
    trpc.guest.releaseState.mutationOptions({
      onError: (error) => {
        const { message, remedy } = publicError(error);
        notifications.show({
          title: guest.name,
          message: [message, remedy].filter(Boolean).join(' '),
          color: 'gray',
          autoClose: 10_000,
        });
      },
    }),
  );
  return (
    <Button
      size="compact-sm"
      variant="subtle"
      color="gray"
      loading={release.isPending}
      disabled={guest.busy !== null}
      title="It stays until a later refresh removes it, as other states do."
      aria-label={`Keep state ${state.number} no longer`}
      onClick={() => release.mutate({ guestId: guest.id, number: state.number })}
    >
      Let go
    </Button>
  );
}

function PutBack({ guest, to, onDone }: { guest: GuestView; to: number; onDone: () => void }) {
  const trpc = useTRPC();
  const router = useRouter();
  const [idempotencyKey] = useIdempotencyKey();
  const preview = useGuestPlan({ kind: 'restore', guestId: guest.id, to });
  const restore = useMutation(
    trpc.operation.create.restore.mutationOptions({
      onSuccess: ({ operationIds }) => {
        onDone();
        if (operationIds[0] !== undefined) router.push(`/operations/${operationIds[0]}`);
      },
    }),
  );
  const { agreed } = preview;
  return (
    <Stack gap="sm">
      <GuestPlan preview={preview} problem={restore.error ? publicError(restore.error) : undefined} />
      <Group justify="flex-end" mt="md">
        <Button variant="default" onClick={onDone}>
          Cancel
        </Button>
        <Button
          disabled={agreed === undefined}
          loading={restore.isPending}
          data-autofocus
          onClick={() => restore.mutate({ idempotencyKey, guestId: guest.id, to, agreedFingerprint: agreed })}
        >
          Put back
        </Button>
      </Group>
    </Stack>
  );
}
