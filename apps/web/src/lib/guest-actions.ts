/** Why something can't be done with a guest, in plain words, before the click. Null: it can. */
import type { GuestView } from '../server/views/guest.ts';

type Guest = Pick<GuestView, 'state' | 'busy' | 'mode' | 'managed' | 'base'>;

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
  return whyNotNow(guest);
}
