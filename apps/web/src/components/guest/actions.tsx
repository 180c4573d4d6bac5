'use client';

import { Alert, Checkbox, Modal, Stack, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { count, formatBytes } from '../../lib/format.ts';
import { useIdempotencyKey } from '../../lib/key.ts';
import { publicError, useTRPC, type Outputs } from '../../lib/trpc.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Problem } from '../display/Blocks.tsx';
import { BlastRadius } from '../lineage/BlastRadius.tsx';
import { Buttons } from './Buttons.tsx';
import { CaptureForm } from './CaptureForm.tsx';
import { ExportForm } from './ExportForm.tsx';
import { MoveForm } from './MoveForm.tsx';
import { PromoteForm } from './PromoteForm.tsx';
import { RefreshForm } from './RefreshForm.tsx';
import { ResetForm } from './ResetForm.tsx';
import { VerifyForm } from './VerifyForm.tsx';

export type Action =
  | 'start'
  | 'stop'
  | 'delete'
  | 'capture'
  | 'verify'
  | 'reset'
  | 'refresh'
  | 'promote'
  | 'migrate'
  | 'export';
interface DialogProps {
  guests: GuestView[];
  onDone: () => void;
}

type Bulk = Outputs['operation']['create']['start'];

/** Says what could not be asked for; what was asked for shows by itself, live. */
function useReport(guests: readonly GuestView[], onDone: () => void) {
  const names = new Map(guests.map((guest) => [guest.id, guest.name]));
  return (results: Bulk): void => {
    for (const result of results) {
      if (!result.ok)
        notifications.show({
          title: names.get(result.guestId) ?? 'A guest',
          message: [result.error.message, result.error.remedy].filter(Boolean).join(' '),
          color: 'gray',
          autoClose: 10_000,
        });
    }
    onDone();
  };
}

/** The dialog of an action on some guests. Opened anew for every click, so each has its own idempotency key. */
export function ActionDialog({ action, guests, onDone }: DialogProps & { action: Action | null }) {
  const title = action === null ? '' : titleOf(action, guests);
  return (
    <Modal opened={action !== null && guests.length > 0} onClose={onDone} title={title} centered radius="md">
      {action === 'start' ? <Start guests={guests} onDone={onDone} /> : null}
      {action === 'stop' ? <Stop guests={guests} onDone={onDone} /> : null}
      {action === 'delete' ? <Delete guests={guests} onDone={onDone} /> : null}
      {action === 'refresh' && guests[0] ? <RefreshForm guest={guests[0]} onDone={onDone} /> : null}
      {action === 'verify' && guests[0] ? <VerifyForm guest={guests[0]} onDone={onDone} /> : null}
      {action === 'export' && guests[0] ? (
        <ExportForm source={{ type: 'guest', id: guests[0].id }} onDone={onDone} />
      ) : null}
      {action === 'migrate' && guests[0] ? <MoveForm guest={guests[0]} onDone={onDone} /> : null}
      {action === 'promote' && guests[0] ? <PromoteForm guest={guests[0]} onDone={onDone} /> : null}
      {action === 'reset' && guests[0] ? <ResetForm guest={guests[0]} onDone={onDone} /> : null}
      {action === 'capture' && guests[0] ? <CaptureForm guest={guests[0]} onDone={onDone} /> : null}
    </Modal>
  );
}

function titleOf(action: Action, guests: readonly GuestView[]): string {
  const what = guests.length === 1 ? (guests[0]?.name ?? '') : count(guests.length, 'guest');
  const verbs = {
    start: 'Start',
    stop: 'Stop',
    delete: 'Delete',
    capture: 'Make a template from',
    verify: 'Compare',
    reset: 'Reset',
    promote: 'Detach',
    migrate: 'Move',
    export: 'Export',
    refresh: 'Bring up to date',
  } as const;
  return action === 'refresh' ? `Bring ${what} up to date?` : `${verbs[action]} ${what}?`;
}

/** Most names that a dialog lists before it counts the rest. */
const NAMED = 8;

/** Which ones, when they are several: the title has only their number. */
function Names({ guests }: { guests: readonly GuestView[] }) {
  if (guests.length < 2) return null;
  const rest = guests.length - NAMED;
  return (
    <Text size="sm" c="dimmed">
      {guests
        .slice(0, NAMED)
        .map(({ name }) => name)
        .join(', ')}
      {rest > 0 ? ` and ${rest} more` : ''}
    </Text>
  );
}

function Start({ guests, onDone }: DialogProps) {
  const trpc = useTRPC();
  const [idempotencyKey] = useIdempotencyKey();
  const start = useMutation(
    trpc.operation.create.start.mutationOptions({ onSuccess: useReport(guests, onDone) }),
  );
  return (
    <Stack gap="sm">
      <Names guests={guests} />
      <Text size="sm">
        {guests.length === 1 ? 'It starts as it was defined.' : 'They start one after another.'}
      </Text>
      {start.error ? <Problem error={publicError(start.error)} /> : null}
      <Buttons
        label="Start"
        busy={start.isPending}
        onDone={onDone}
        onGo={() => start.mutate({ idempotencyKey, guestIds: guests.map(({ id }) => id) })}
      />
    </Stack>
  );
}

function Stop({ guests, onDone }: DialogProps) {
  const trpc = useTRPC();
  const [idempotencyKey] = useIdempotencyKey();
  const [force, setForce] = useState(false);
  const stop = useMutation(
    trpc.operation.create.stop.mutationOptions({ onSuccess: useReport(guests, onDone) }),
  );
  return (
    <Stack gap="sm">
      <Names guests={guests} />
      <Text size="sm">
        {guests.length === 1
          ? 'It is asked to shut down, and has time to do so.'
          : 'They are asked to shut down, and have time to do so.'}
      </Text>
      <Checkbox
        label="Cut the power instead"
        description="At once. What is not on disk yet is lost."
        checked={force}
        onChange={(event) => setForce(event.currentTarget.checked)}
      />
      {stop.error ? <Problem error={publicError(stop.error)} /> : null}
      <Buttons
        label={force ? 'Cut the power' : 'Shut down'}
        danger={force}
        busy={stop.isPending}
        onDone={onDone}
        onGo={() => stop.mutate({ idempotencyKey, guestIds: guests.map(({ id }) => id), force })}
      />
    </Stack>
  );
}

function Delete({ guests, onDone }: DialogProps) {
  const trpc = useTRPC();
  const [idempotencyKey] = useIdempotencyKey();
  const blast = useQuery({
    ...trpc.lineage.blastOfGuests.queryOptions({ guestIds: guests.map(({ id }) => id) }),
    staleTime: 0,
  }).data;
  const remove = useMutation(
    trpc.operation.create.delete.mutationOptions({ onSuccess: useReport(guests, onDone) }),
  );
  const foreign = guests.filter((guest) => !guest.managed);
  const own = guests.filter((guest) => guest.managed);
  const running = own.filter((guest) => guest.state === 'running');
  const going = own.filter((guest) => guest.ownsDisks);
  const bytes = going.reduce((sum, guest) => sum + (guest.usedBytes ?? 0), 0);
  const staying = own.length - going.length;
  const one = own.length === 1;
  const freed = own.filter(({ base }) => base !== null && base.hidden && base.guests === 1);
  const freedBytes = freed.reduce((sum, { base }) => sum + (base?.bytes ?? 0), 0);
  return (
    <Stack gap="sm">
      <Names guests={own} />
      {own.length > 0 ? (
        <Text size="sm">
          {going.length === 0
            ? `${one ? 'Its' : 'Their'} disks stay: ${one ? 'it was' : 'they were'} adopted without them.`
            : one
              ? `Its disk (${formatBytes(bytes)}) goes too.`
              : `Their disks (${formatBytes(bytes)}) go too.`}{' '}
          {going.length > 0 && staying > 0
            ? `${staying} adopted without their disks leave them behind. `
            : ''}
          This can’t be undone.
        </Text>
      ) : null}
      {freed.length > 0 ? (
        <Text size="sm">
          {freed.length === 1
            ? `${one ? 'It' : (freed[0]?.name ?? '')} is the last one on its base, so that goes too (${formatBytes(freedBytes)}).`
            : `${freed.length} of them are the last ones on their bases, so those go too (${formatBytes(freedBytes)}).`}
        </Text>
      ) : null}
      {running.length > 0 ? (
        <Text size="sm">
          {running.length === 1
            ? `${running[0]?.name ?? 'It'} is running; its power is cut first.`
            : `${running.length} of them are running; their power is cut first.`}
        </Text>
      ) : null}
      {foreign.length > 0 ? (
        <Alert
          variant="outline"
          color="gray"
          title={`Offshoot did not make ${foreign.length === 1 ? foreign[0]?.name : 'these'}, so it does not delete ${foreign.length === 1 ? 'it' : 'them'}`}
        >
          {foreign.length > 1
            ? foreign.map((guest) => guest.name).join(', ')
            : 'Remove it with the tool that made it.'}
        </Alert>
      ) : null}
      {blast ? <BlastRadius blast={blast} what={one ? 'its disks' : 'their disks'} /> : null}
      {remove.error ? <Problem error={publicError(remove.error)} /> : null}
      <Buttons
        label={one || own.length === 0 ? 'Delete' : `Delete ${own.length}`}
        danger
        disabled={own.length === 0}
        busy={remove.isPending}
        onDone={onDone}
        onGo={() => remove.mutate({ idempotencyKey, guestIds: own.map(({ id }) => id) })}
      />
    </Stack>
  );
}
