/** Why something can't be done with a guest, in plain words, before the click. Null: it can. */
import { MAX_SNAPSHOTS } from '@offshoot/clone-core/contract';
import type { GuestView } from '../server/views/guest.ts';

type Guest = Pick<
  GuestView,
  'state' | 'busy' | 'mode' | 'managed' | 'base' | 'host' | 'snapshots' | 'states'
>;

function whyNotNow({ state, busy }: Guest): string | null {
  if (busy !== null) return 'It is being worked on.';
  if (state === 'missing') return 'Its host does not know it any more.';
  return null;
}

/** Only a linked clone has a state to go back to without copying. */
export function whyNoReset(guest: Guest): string | null {
  if (guest.mode === 'full') return 'A full clone stands on nothing that it could be put back to.';
  if (guest.mode === 'memory')
    return 'It went on from the memory of its source; its disks alone are no state to put it back to.';
  if (guest.mode === null) return 'It was not cloned by Offshoot.';
  if (guest.base === null) return 'It stands on no base that it could be put back to.';
  if (guest.snapshots.length > 0) return 'Its snapshots would be lost: remove them first.';
  return whyNotNow(guest);
}

/** Detaching is the host's own copying; a simulated one does not do it. Of a clone with states, from its earlier ones. */
export function whyNoPromote(guest: Guest): string | null {
  if (guest.states !== null) {
    if (guest.states.list.length < 2) return 'It has no earlier state that it stands on.';
    if (guest.snapshots.length > 0)
      return 'Its snapshots are in the file that it stands on: remove them first.';
    return (
      whyNotNow(guest) ?? (guest.state === 'stopped' ? null : 'It can be done only while it is stopped.')
    );
  }
  if (guest.base === null) return 'It stands on no base: its disks are its own.';
  if (guest.host.simulated) return 'The simulated host does not do it.';
  if (guest.snapshots.length > 0) return 'Its snapshots stand on the base: remove them first.';
  return whyNotNow(guest);
}

/** Its disks must stand still while they are written. */
export function whyNoExport(guest: Guest): string | null {
  if (guest.host.simulated) return 'The simulated host has no disks to write.';
  return (
    whyNotNow(guest) ??
    (guest.state === 'stopped' ? null : 'Stop it first, or make a template of it and export that.')
  );
}

/** Whether another host can take it is asked when one is chosen. */
export function whyNoMove(guest: Guest): string | null {
  if (guest.host.simulated) return 'Simulated hosts give each other nothing.';
  if (!guest.managed) return 'It was not made by Offshoot.';
  if (guest.snapshots.length > 0) return 'Its snapshots can’t go along: remove them first.';
  return whyNotNow(guest);
}

/** Snapshots are the host's own; a simulated one has none. */
export function whyNoSnapshot(guest: Guest): string | null {
  if (guest.host.simulated) return 'The simulated host keeps no snapshots.';
  if (guest.snapshots.length >= MAX_SNAPSHOTS)
    return `${MAX_SNAPSHOTS} snapshots are the most: remove one first.`;
  return whyNotNow(guest);
}
