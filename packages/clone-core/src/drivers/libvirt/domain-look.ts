/** What libvirt says of one guest, all asked in one process. */
import type { GuestRef } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import type { DomainState } from './types.ts';
import { foundIn, namesIn, stateOf, type Virsh } from './virsh.ts';

export interface DomainLook {
  state: DomainState;
  /** As it will start next, with its display's password: without that a clone's display would be open. */
  definition: string;
  /** As it runs now; the same when it does not. */
  live: string;
  /** Names of its snapshots, made by any tool. */
  snapshots: string[];
  /** Its memory is saved on disk: it goes on from there at its next start, on the disks of then. */
  saved: boolean;
}

const SAVED = ['list', '--all', '--with-managed-save', '--uuid'];

/** Undefined when there is no such guest. */
export async function lookAtDomain(
  virsh: Virsh,
  { uuid }: GuestRef,
  signal: AbortSignal,
): Promise<DomainLook | undefined> {
  const answers = await virsh.ask(
    [
      ['domstate', '--domain', uuid],
      ['dumpxml', '--inactive', '--security-info', '--domain', uuid],
      ['dumpxml', '--domain', uuid],
      ['snapshot-list', '--name', '--domain', uuid],
      SAVED,
    ],
    { signal },
  );
  const [word, definition, live, snapshots, saved] = answers.map(foundIn);
  if (word === undefined || definition === undefined) return undefined;
  const state = stateOf(word);
  return {
    state,
    definition,
    live: state === 'stopped' ? definition : (live ?? definition),
    snapshots: namesIn(snapshots),
    saved: namesIn(saved).includes(uuid),
  };
}

/** Throws `busy` when the guest's memory is saved on disk. */
export async function refuseSaved(virsh: Virsh, guest: GuestRef, signal: AbortSignal): Promise<void> {
  refuseIfSaved(guest, { saved: namesIn(await virsh.run(SAVED, { signal })).includes(guest.uuid) });
}

export function refuseIfSaved({ name }: GuestRef, { saved }: Pick<DomainLook, 'saved'>): void {
  if (!saved) return;
  throw new OffshootError('busy', {
    publicMessage: `The memory of ${name} is saved on disk (virsh managedsave) and fits only the disks it has now.`,
    remedy: 'Start it, or throw the saved memory away with virsh managedsave-remove; then try again.',
  });
}
