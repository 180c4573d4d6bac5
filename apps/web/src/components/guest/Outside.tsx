'use client';

import { Alert, Button, Checkbox, List, Modal, Stack, Text } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { count, formatBytes } from '../../lib/format.ts';
import { publicError, useTRPC } from '../../lib/trpc.ts';
import type { OutsideChange } from '../../server/views/changes.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Problem } from '../display/Blocks.tsx';
import { Buttons } from './Buttons.tsx';

/** What others made, or changed: said, and left to the user. */
export function Outside({ guest }: { guest: GuestView }) {
  if (guest.state === 'missing' || guest.state === 'creating' || guest.state === 'deleting') return null;
  return guest.managed ? <Changed guest={guest} /> : <Foreign guest={guest} />;
}

function Foreign({ guest }: { guest: GuestView }) {
  const [asking, setAsking] = useState(false);
  return (
    <Alert variant="outline" color="gray" title="Not made by Offshoot">
      <Stack gap={8} align="flex-start">
        <Text size="sm">
          It was found on {guest.host.name}. It can be cloned, started and stopped here; Offshoot does not
          delete it, and does not say when others change it.
        </Text>
        <Button size="xs" variant="default" disabled={guest.busy !== null} onClick={() => setAsking(true)}>
          Adopt it
        </Button>
      </Stack>
      {asking ? <Adopt guest={guest} onClose={() => setAsking(false)} /> : null}
    </Alert>
  );
}

function Adopt({ guest, onClose }: { guest: GuestView; onClose: () => void }) {
  const trpc = useTRPC();
  const [withDisks, setWithDisks] = useState(false);
  const adopt = useMutation(trpc.guest.adopt.mutationOptions({ onSuccess: onClose }));
  const bytes = guest.disks.reduce((sum, disk) => sum + disk.usedBytes, 0);
  return (
    <Modal opened onClose={onClose} title={`Adopt ${guest.name}?`} centered radius="md">
      <Stack gap="sm">
        <Text size="sm">
          Nothing of it changes now. From then on it counts as made by Offshoot and is yours: it can be
          deleted here, and what others change of it is shown.
        </Text>
        {guest.disks.length === 0 ? null : (
          <Checkbox
            label={`When it is deleted, delete its ${guest.disks.length === 1 ? 'disk' : `${guest.disks.length} disks`} too (${formatBytes(bytes)})`}
            description={guest.disks.map(({ path }) => path).join(', ')}
            checked={withDisks}
            onChange={(event) => setWithDisks(event.currentTarget.checked)}
          />
        )}
        {adopt.error ? <Problem error={publicError(adopt.error)} /> : null}
        <Buttons
          label="Adopt"
          busy={adopt.isPending}
          onDone={onClose}
          onGo={() => adopt.mutate({ guestId: guest.id, withDisks })}
        />
      </Stack>
    </Modal>
  );
}

function Changed({ guest }: { guest: GuestView }) {
  const trpc = useTRPC();
  const accept = useMutation(trpc.guest.acceptDefinition.mutationOptions());
  if (guest.changes.length === 0) return null;
  return (
    <Alert
      variant="outline"
      color="gray"
      icon={<IconAlertTriangle color="var(--state-attention)" aria-hidden />}
      title={`Changed outside Offshoot (${count(guest.changes.length, 'thing')})`}
    >
      <Stack gap={8} align="flex-start">
        <List size="sm">
          {guest.changes.map((change) => (
            <List.Item key={`${change.what} ${change.target ?? ''}`}>{changeWords(change)}</List.Item>
          ))}
        </List>
        <Text size="sm" c="dimmed">
          Offshoot leaves it as it is. Change it back on {guest.host.name}, or take it as the right one.
        </Text>
        {accept.error ? <Problem error={publicError(accept.error)} /> : null}
        <Button
          size="xs"
          variant="default"
          disabled={guest.busy !== null}
          loading={accept.isPending}
          onClick={() => accept.mutate({ guestId: guest.id })}
        >
          It is right as it is now
        </Button>
      </Stack>
    </Alert>
  );
}

/** "Memory: 1 GiB, was 512 MiB" */
export function changeWords({ what, target, was, now }: OutsideChange): string {
  const value = (side: string | number | null): string =>
    side === null ? 'none' : what === 'memory' ? formatBytes(Number(side)) : String(side);
  const name = what === 'disk' ? `Disk ${target ?? ''}` : `${what.slice(0, 1).toUpperCase()}${what.slice(1)}`;
  return `${name}: ${value(now)}, was ${value(was)}`;
}
