/** What a clone can't be refreshed or put back for, before anything is done. Pure. */
import type { Generations, PlanNote } from '../../contract.ts';
import type { OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { activeOf, wroteItself } from './generations.ts';
import { gib, warn } from './plan-parts.ts';
import type { CloneFacts, SourceFacts } from './types.ts';

type Refresh = Extract<OperationRequest, { kind: 'refresh' }>;

export const changedByOther = (name: string, target: string, path: string): OffshootError =>
  new OffshootError('source-changed', {
    publicMessage: `Disk ${target} of ${name} is not the one Offshoot gave it (${path || 'it is gone'}): another hand changed it.`,
    remedy: 'Clone the source anew.',
  });

/** States that can't be read: what comes of them. */
export const unreadableNotes = (
  name: string,
  { unreadable = [] }: CloneFacts,
  fate: 'dropped' | 'stays',
): PlanNote[] =>
  unreadable.map(({ number, why }) =>
    warn(
      `State ${number} of ${name} can’t be put back to: ${why} ${
        fate === 'dropped'
          ? 'It is taken off the list; its own file stays until the guest is deleted.'
          : 'It stays as it is.'
      }`,
    ),
  );

export function refuseClone(
  name: string,
  verb: string,
  clone: CloneFacts,
  generations: Generations | undefined,
): void {
  if (clone.state !== 'stopped')
    throw new OffshootError('busy', {
      publicMessage: `${name} is ${clone.state}; it can be ${verb} only while it is stopped.`,
      remedy: 'Stop it first.',
      retryable: true,
    });
  if (clone.snapshots.length > 0)
    throw new OffshootError('in-use', {
      publicMessage: `${name} has ${clone.snapshots.length === 1 ? 'a snapshot' : 'snapshots'} (${clone.snapshots.slice(0, 5).join(', ')}) in the file that would be set aside.`,
      remedy: 'Remove the snapshots first.',
    });
  const current = generations?.list.find((each) => each.number === generations.current);
  for (const disk of current?.disks ?? []) {
    const now = clone.active[disk.target];
    if (now?.path !== disk.own) throw changedByOther(name, disk.target, now?.path ?? '');
  }
}

export function refuseDisks(
  { guest, source: { name } }: Refresh,
  source: SourceFacts,
  clone: CloneFacts,
): void {
  const [theirs, mine] = [source.disks.map((disk) => disk.target), Object.keys(clone.active)];
  const odd = [
    ...theirs.filter((each) => !mine.includes(each)),
    ...mine.filter((each) => !theirs.includes(each)),
  ];
  if (odd.length > 0)
    throw new OffshootError('source-changed', {
      publicMessage: `${name} and ${guest.name} do not have the same disks any more (${odd.join(', ')}).`,
      remedy: 'Clone the source anew.',
      field: 'source',
    });
  for (const disk of source.disks) {
    const size = activeOf(clone, disk.target).virtualBytes;
    if (disk.virtualBytes < size)
      throw new OffshootError('source-changed', {
        publicMessage: `Disk ${disk.target} of ${name} is ${gib(disk.virtualBytes)} now, smaller than that of ${guest.name} (${gib(size)}).`,
        remedy: 'Clone the source anew.',
        field: 'source',
      });
  }
}

export function refuseOwnChanges({ guest, generations, options }: Refresh, clone: CloneFacts): void {
  if (options.ownChanges !== 'refuse') return;
  const unknown = generations === undefined;
  if (!unknown && wroteItself(clone) === 0) return;
  throw new OffshootError('would-lose', {
    publicMessage: unknown
      ? `${guest.name} was not made to be refreshed, so what it changed itself can’t be told apart; all of it would be set aside.`
      : `${guest.name} has written ${gib(wroteItself(clone))} itself since its last cloning, which would be set aside.`,
    remedy: 'Keep its present state beside the new one, or discard what it wrote.',
    field: 'options.ownChanges',
  });
}
