'use client';

import { Button, Group, Modal, Stack, Table, Text, TextInput, VisuallyHidden } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { IconCamera, IconHistory, IconTrash } from '@tabler/icons-react';
import { snapshotNameSchema, type GuestSnapshot } from '@offshoot/clone-core/contract';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { formatBytes, formatExact } from '../../lib/format.ts';
import { whyNoSnapshot } from '../../lib/guest-actions.ts';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Empty, Section } from '../display/Blocks.tsx';
import { Ago, Quiet } from '../display/Text.tsx';
import { GuestPlan, useGuestPlan } from './GuestPlan.tsx';

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
            <Table.Th ta="right" visibleFrom="sm">
              Memory
            </Table.Th>
            <Table.Th>
              <VisuallyHidden>What can be done</VisuallyHidden>
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {guest.snapshots.map((snapshot) => (
            <Table.Tr key={snapshot.name}>
              <Table.Td>{snapshot.name}</Table.Td>
              <Table.Td>
                <Ago at={snapshot.takenAt} />
              </Table.Td>
              <Table.Td ta="right" className="num" visibleFrom="sm">
                {snapshot.withMemory ? memoryWords(snapshot) : <Quiet>disks only</Quiet>}
              </Table.Td>
              <Table.Td>
                {snapshot.ours ? (
                  <Group gap="xs" justify="flex-end">
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

const TYPING_MS = 300;
/** Local time, as every other time here: "2026-11-27-0340". */
const today = (): string => formatExact(new Date()).slice(0, 16).replace(' ', '-').replace(':', '');

function Dialog({ guest, asking, onClose }: { guest: GuestView; asking: Asking; onClose: () => void }) {
  const trpc = useTRPC();
  const [idempotencyKey] = useIdempotencyKey();
  const [name, setName] = useState(asking.kind === 'snapshot' ? today() : asking.snapshot.name);
  const [settled] = useDebouncedValue(name.trim(), TYPING_MS);
  const ask = useMutation(trpc.operation.create.snapshot.mutationOptions({ onSuccess: onClose }));
  const wrong = snapshotNameSchema.safeParse(name.trim()).error?.issues[0]?.message;
  const { kind } = asking;
  const preview = useGuestPlan(
    snapshotNameSchema.safeParse(settled).success ? { kind, guestId: guest.id, name: settled } : null,
  );
  // A plan answers for its own name only.
  const agreed = settled === name.trim() ? preview.agreed : undefined;
  const go = (): void =>
    ask.mutate({ idempotencyKey, guestId: guest.id, kind, name: name.trim(), agreedFingerprint: agreed });
  return (
    <Modal opened onClose={onClose} title={titles[asking.kind](guest.name, name)} centered radius="md">
      <Stack gap="sm">
        <Text size="sm">{consequences[kind]}</Text>
        {asking.kind === 'snapshot' ? (
          <TextInput
            label="Name"
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            error={name === '' ? undefined : wrong}
            data-autofocus
          />
        ) : null}
        <GuestPlan preview={preview} problem={ask.error ? publicError(ask.error) : undefined} />
        <Group justify="flex-end" mt="md">
          <Button
            variant="default"
            onClick={onClose}
            {...(asking.kind === 'snapshot' ? {} : { 'data-autofocus': true })}
          >
            Cancel
          </Button>
          <Button
            loading={ask.isPending}
            disabled={wrong !== undefined || agreed === undefined}
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
const consequences: Readonly<Record<Kind, string>> = {
  snapshot: 'It can be put back to how it is now, as often as you like, until you remove the snapshot.',
  revert: 'Once it is finished this can’t be undone; until then a failure or a cancel leaves it as it is.',
  'remove-snapshot': 'This can’t be undone.',
};
