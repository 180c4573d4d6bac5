/** Plans that take, go back to and remove snapshots of a guest. Pure. */
import type { IdSource, OperationRequest } from '../../driver.ts';
import { MAX_SNAPSHOTS } from '../../contract.ts';
import { OffshootError } from '../../errors.ts';
import { estimate, gib, info, needSpace, warn, type Draft, type DraftStep } from './plan-parts.ts';
import type { LibvirtFacts, SnapshotFacts } from './types.ts';

type Request = Extract<OperationRequest, { kind: 'snapshot' | 'revert' | 'remove-snapshot' }>;

export function planSnapshots(request: Request, facts: LibvirtFacts, ids: IdSource): Draft {
  const { guest, name } = request;
  const found = facts.snapshots;
  if (!found)
    throw new OffshootError('internal', { publicMessage: 'The facts of this plan are of another request.' });
  const common = { creates: [], basis: [guest.uuid, name, found.state, found.taken] };
  const memory = found.state === 'stopped' ? 0 : found.memoryBytes;
  switch (request.kind) {
    case 'snapshot':
      refuseTaking(guest.name, name, found);
      needSpace(facts, memory, false);
      return {
        ...common,
        summary: `Snapshot ${name} of ${guest.name}`,
        estimates: estimate(facts, { read: memory, move: memory, store: memory }, { steps: 1 }),
        notes: [takingNote(found)],
        steps: [take(guest, name, ids.uuid())],
      };
    case 'revert':
      return { ...common, ...revert(request, facts, found, ids) };
    default:
      needTaken(guest.name, name, found);
      return {
        ...common,
        summary: `Remove snapshot ${name} of ${guest.name}`,
        estimates: estimate(facts, { read: 0, move: 0, store: 0 }, { steps: 1 }),
        notes: [warn('What only this snapshot holds is lost; the guest itself stays as it is.')],
        steps: [drop(guest, name, false)],
      };
  }
}

/** What is there now is kept in a snapshot of its own until the guest is back at the old one. */
function revert(
  { guest, name }: Request,
  facts: LibvirtFacts,
  found: SnapshotFacts,
  ids: IdSource,
): Omit<Draft, 'creates' | 'basis'> {
  const target = needTaken(guest.name, name, found);
  const memory = found.state === 'stopped' ? 0 : found.memoryBytes;
  const mark = ids.uuid();
  const back = `before-revert-${mark.slice(0, 8)}`;
  refuseUnable(guest.name, found);
  needSpace(facts, memory, false);
  return {
    summary: `Put ${guest.name} back to snapshot ${name}`,
    estimates: estimate(facts, { read: memory, move: memory, store: 0 }, { steps: 3 }),
    notes: [
      warn(`What ${guest.name} did since ${name} was taken is lost.`),
      target.withMemory
        ? info('It runs afterwards, from where it was then; its clock is of then too until it is set.')
        : info('It is stopped afterwards: the snapshot holds no memory.'),
    ],
    steps: [
      { ...take(guest, back, mark), title: 'Keep what is there now, until it is done' },
      { kind: 'revert-snapshot', title: `Go back to ${name}`, guest, to: name, back },
      { ...drop(guest, back, true), title: 'Delete what was kept' },
    ],
  };
}

const take = (guest: Request['guest'], name: string, mark: string) =>
  ({ kind: 'take-snapshot', title: `Take snapshot ${name}`, guest, name, mark }) as const satisfies DraftStep;
const drop = (guest: Request['guest'], name: string, ours: boolean) =>
  ({
    kind: 'drop-snapshot',
    title: `Remove snapshot ${name}`,
    guest,
    name,
    ours,
  }) as const satisfies DraftStep;

const takingNote = ({ state, memoryBytes }: SnapshotFacts): Draft['notes'][number] =>
  state === 'stopped'
    ? info('It is stopped, so the snapshot holds its disks and no memory.')
    : info(`It stands still while its memory (at most ${gib(memoryBytes)}) is saved, then runs on.`);

function refuseUnable(name: string, { unable }: SnapshotFacts): void {
  if (!unable) return;
  throw new OffshootError('unavailable-mode', {
    publicMessage: `No snapshot can be taken of ${name}: ${unable.why}.`,
    remedy: unable.remedy,
  });
}

function refuseTaking(guest: string, name: string, found: SnapshotFacts): void {
  refuseUnable(guest, found);
  if (found.taken.some((each) => each.name === name)) {
    throw new OffshootError('name-taken', {
      publicMessage: `${guest} already has a snapshot named ${name}.`,
      remedy: 'Choose another name.',
      field: 'name',
    });
  }
  if (found.taken.length >= MAX_SNAPSHOTS) {
    throw new OffshootError('not-allowed', {
      publicMessage: `${guest} has ${found.taken.length} snapshots, and ${MAX_SNAPSHOTS} are the most.`,
      remedy: 'Remove one that is no longer needed.',
    });
  }
}

function needTaken(guest: string, name: string, { taken }: SnapshotFacts): SnapshotFacts['taken'][number] {
  const found = taken.find((each) => each.name === name);
  if (found) return found;
  throw new OffshootError('not-found', {
    publicMessage: `${guest} has no snapshot named ${name} any more.`,
    remedy: 'Reload its page.',
  });
}
