'use client';

import { Button, Group, Modal, Stack, Table, Text, TextInput } from '@mantine/core';
import { IconCamera, IconHistory, IconTrash } from '@tabler/icons-react';
import { snapshotNameSchema, type GuestSnapshot } from '@offshoot/clone-core/contract';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { formatBytes } from '../../lib/format.ts';
import { whyNoSnapshot } from '../../lib/guest-actions.ts';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Empty, Problem, Section } from '../display/Blocks.tsx';
import { Ago, Quiet } from '../display/Text.tsx';

type Kind = 'snapshot' | 'revert' | 'remove-snapshot';
type Asking = { kind: 'snapshot' } | { kind: 'revert' | 'remove-snapshot'; snapshot: GuestSnapshot };

/** States that the guest can be put back to. */
export function Snapshots({ guest }: { guest: GuestView }) {
  const [asking, setAsking] = useState<Asking | null>(null);
  if (guest.host.simulated) return null;
  const why = whyNoSnapshot(guest);
  return (
    <Section
      title="Snapshots"
      aside={
        <Button
          size="xs"
          variant="default"
          disabled={why !== null}
          title={why ?? undefined}
          leftSection={<IconCamera size={14} aria-hidden />}
          onClick={() => setAsking({ kind: 'snapshot' })}
        >
          Take snapshot
        </Button>
      }
    >
      {guest.snapshots.length === 0 ? (
        <Empty title="No snapshot yet">
          Take one before you change something: the guest can be put back to it, with its memory if it ran.
        </Empty>
      ) : (
        <List guest={guest} onAsk={setAsking} />
      )}
      {asking ? <Dialog guest={guest} asking={asking} onClose={() => setAsking(null)} /> : null}
    </Section>
  );
}

function List({ guest, onAsk }: { guest: GuestView; onAsk: (asking: Asking) => void }) {
  const idle = guest.busy === null && guest.state !== 'missing';
  return (
    <div className="panel" style={{ overflowX: 'auto' }}>
      <Table verticalSpacing={8}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Name</Table.Th>
            <Table.Th>Taken</Table.Th>
            <Table.Th ta="right">Memory</Table.Th>
            <Table.Th />
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {guest.snapshots.map((snapshot) => (
            <Table.Tr key={snapshot.name}>
              <Table.Td>{snapshot.name}</Table.Td>
              <Table.Td>
                <Ago at={snapshot.takenAt} />
              </Table.Td>
              <Table.Td ta="right" className="num">
                {snapshot.withMemory ? memoryWords(snapshot) : <Quiet>disks only</Quiet>}
              </Table.Td>
              <Table.Td>
                {snapshot.ours ? (
                  <Group gap="xs" justify="flex-end" wrap="nowrap">
                    <Button
                      size="xs"
                      variant="default"
                      disabled={!idle}
                      aria-label={`Revert to ${snapshot.name}`}
                      leftSection={<IconHistory size={14} aria-hidden />}
                      onClick={() => onAsk({ kind: 'revert', snapshot })}
                    >
                      Revert
                    </Button>
                    <Button
                      size="xs"
                      variant="default"
                      disabled={!idle}
                      aria-label={`Remove ${snapshot.name}`}
                      leftSection={<IconTrash size={14} aria-hidden />}
                      onClick={() => onAsk({ kind: 'remove-snapshot', snapshot })}
                    >
                      Remove
                    </Button>
                  </Group>
                ) : (
                  <Text size="sm" c="dimmed" ta="right">
                    of another tool
                  </Text>
                )}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}

const memoryWords = ({ memoryBytes }: GuestSnapshot): string =>
  memoryBytes === undefined ? 'with memory' : formatBytes(memoryBytes);

const today = (): string => new Date().toISOString().slice(0, 16).replace('T', '-').replace(':', '');

function Dialog({ guest, asking, onClose }: { guest: GuestView; asking: Asking; onClose: () => void }) {
  const trpc = useTRPC();
  const [idempotencyKey] = useIdempotencyKey();
  const [name, setName] = useState(asking.kind === 'snapshot' ? today() : asking.snapshot.name);
  const ask = useMutation(trpc.operation.create.snapshot.mutationOptions({ onSuccess: onClose }));
  const wrong = snapshotNameSchema.safeParse(name.trim()).error?.issues[0]?.message;
  const go = (): void =>
    ask.mutate({ idempotencyKey, guestId: guest.id, kind: asking.kind, name: name.trim() });
  return (
    <Modal opened onClose={onClose} title={titles[asking.kind](guest.name, name)} centered radius="md">
      <Stack gap="sm">
        <Text size="sm">{consequence(guest, asking)}</Text>
        {asking.kind === 'snapshot' ? (
          <TextInput
            label="Name"
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            error={name === '' ? undefined : wrong}
            data-autofocus
          />
        ) : null}
        {ask.error ? <Problem error={publicError(ask.error)} /> : null}
        <Group justify="flex-end">
          <Button
            variant="default"
            onClick={onClose}
            {...(asking.kind === 'snapshot' ? {} : { 'data-autofocus': true })}
          >
            Cancel
          </Button>
          <Button
            loading={ask.isPending}
            disabled={wrong !== undefined}
            onClick={go}
            {...(asking.kind === 'snapshot' ? {} : { color: 'red.9' })}
          >
            {labels[asking.kind]}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}

const titles: Readonly<Record<Kind, (guest: string, name: string) => string>> = {
  snapshot: (guest) => `Take a snapshot of ${guest}?`,
  revert: (guest, name) => `Revert ${guest} to ${name}?`,
  'remove-snapshot': (guest, name) => `Remove snapshot ${name} of ${guest}?`,
};
const labels: Readonly<Record<Kind, string>> = {
  snapshot: 'Take snapshot',
  revert: 'Revert',
  'remove-snapshot': 'Remove',
};

function consequence(guest: GuestView, asking: Asking): string {
  if (asking.kind === 'snapshot') {
    return guest.state === 'stopped'
      ? 'It is stopped, so the snapshot holds its disks and no memory.'
      : `It stands still for a moment while its memory (at most ${formatBytes(guest.memoryBytes ?? 0)}) is saved into its disk file, then runs on. For one without memory, stop it first.`;
  }
  if (asking.kind === 'remove-snapshot')
    return 'The guest stays as it is; what only this snapshot holds is lost. This can’t be undone.';
  const after = asking.snapshot.withMemory
    ? 'It runs afterwards, from where it was then.'
    : `${guest.state === 'stopped' ? 'It stays' : 'Its power is cut, and it is'} stopped afterwards: the snapshot holds no memory.`;
  return `Everything it did since the snapshot was taken is lost. ${after} This can’t be undone once it is finished.`;
}
