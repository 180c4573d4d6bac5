/** Plans of comparing a guest with what it was cloned from. Pure. */
import { COMPARED_BLOCK_BYTES } from '../../contract.ts';
import { SAMPLE_BLOCKS } from '../../disks/compare.ts';
import type { GuestRef, IdSource, OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { basisOf, estimate, gib, info, sumOf, warn, type Draft, type DraftStep } from './plan-parts.ts';
import type { ComparedDisk, CompareStep, DiskFacts, LibvirtFacts, SourceFacts } from './types.ts';

type VerifyRequest = Extract<OperationRequest, { kind: 'verify' }>;

/** How long a socket's path may be with what comes after its prefix: sun_path is 108 bytes, see unix(7). */
const MAX_PREFIX = 96;

export function planVerify(request: VerifyRequest, facts: LibvirtFacts, ids: IdSource): Draft {
  const { guest, against, depth } = request;
  if (!facts.compared)
    throw new OffshootError('internal', { publicMessage: 'The facts of this plan are of another request.' });
  const { mine, theirs } = facts.compared;
  const other = against.type === 'guest' ? against.guest.name : against.label;
  refuseMoving(guest.name, mine);
  refuseMoving(other, theirs);
  const pairs = pairsOf(mine, theirs);
  if (pairs.length === 0)
    throw new OffshootError('unsupported-disk', {
      publicMessage: `${guest.name} and ${other} have no disk of the same name that could be compared.`,
      remedy: 'Nothing can be compared here.',
    });
  const alone = [...mine.disks, ...theirs.disks].filter(
    (disk) => !pairs.some((pair) => pair.target === disk.target),
  );
  const whole = depth === 'whole';
  const virtual = sumOf(mine.disks, 'virtualBytes');
  const sample = Math.min(SAMPLE_BLOCKS * COMPARED_BLOCK_BYTES * pairs.length, virtual);
  const allocated = sumOf(mine.disks, 'allocatedBytes') + sumOf(theirs.disks, 'allocatedBytes');
  const sealed = whole && against.type === 'base' ? against.base.disks : [];
  const read = whole
    ? allocated + sealed.reduce((sum, disk) => sum + disk.allocatedBytes, 0)
    : Math.min(2 * sample, allocated);
  const step: DraftStep = {
    kind: 'compare-disks',
    title: pairs.length === 1 ? `Compare disk ${pairs[0]?.target ?? ''}` : `Compare ${pairs.length} disks`,
    against: { type: against.type, label: other },
    depth,
    disks: pairs,
    stopped: [guest, ...(against.type === 'guest' ? [against.guest] : [])],
    sealed: sealed.map(({ path, digest }) => ({ path, digest })),
    sockets: socketsFor(facts.store, ids.uuid()),
    mustEqual: false,
    bytes: whole ? virtual : sample,
  };
  return {
    summary: `Compare ${guest.name} with ${other}`,
    estimates: estimate(
      facts,
      { read, move: 0, store: 0 },
      { steps: 1, hashes: read + (whole ? virtual / 2 : 0) },
    ),
    notes: [
      info('Both sides are only read. Neither can be started until it is done.'),
      ...(whole
        ? []
        : [info(`${SAMPLE_BLOCKS} blocks of 64 KiB at random places are compared on each disk.`)]),
      info('A clone that ran since has written to its disks: that it differs is normal.'),
      ...alone.map((disk) =>
        warn(`Disk ${disk.target} (${gib(disk.virtualBytes)}) is on one side only and is not compared.`),
      ),
    ],
    steps: [step],
    creates: [],
    basis: [depth, basisOf(mine), basisOf(theirs)],
  };
}

/** The step that compares a full clone's disks with what they were copied from; a difference fails the clone. */
export function compareCopies(
  source: SourceFacts,
  files: Record<string, { path: string; format: string }>,
  more: { label: string; store: string; id: string; guest?: GuestRef },
): DraftStep {
  const { label, store, id, guest } = more;
  return {
    kind: 'compare-disks',
    title: `Compare the copy with ${label}`,
    against: { type: guest ? 'guest' : 'base', label },
    depth: 'whole',
    disks: source.disks.flatMap((disk) => {
      const copy = files[disk.target];
      return copy
        ? [{ target: disk.target, mine: { ...copy, expects: [] }, theirs: comparedDisk(disk) }]
        : [];
    }),
    stopped: guest ? [guest] : [],
    sealed: [],
    sockets: socketsFor(store, id),
    mustEqual: true,
    bytes: sumOf(source.disks, 'virtualBytes'),
  };
}

function socketsFor(store: string, id: string): string {
  const prefix = `${store}/.compare-${id.slice(0, 8)}`;
  if (Buffer.byteLength(prefix) <= MAX_PREFIX) return prefix;
  throw new OffshootError('unavailable-mode', {
    publicMessage:
      'The path of the host’s store is too long for the sockets that a comparison reads through.',
    remedy: 'Give the worker a store with a shorter path (OFFSHOOT_STORE).',
  });
}

function refuseMoving(name: string, side: SourceFacts): void {
  if (side.state === 'stopped' || side.state === 'template') return;
  throw new OffshootError('unavailable-mode', {
    publicMessage: `${name} ${side.state === 'paused' ? 'is paused in the middle of its work' : 'runs'}: its disks change while they are read, so a comparison would prove nothing.`,
    remedy: `Stop ${name}, then compare.`,
    retryable: true,
  });
}

const comparedDisk = (disk: DiskFacts): ComparedDisk => ({
  path: disk.path,
  format: disk.format,
  expects: disk.chain.map(({ path, modifiedMs, size }) => ({ path, modifiedMs, size })),
});

function pairsOf(mine: SourceFacts, theirs: SourceFacts): CompareStep['disks'] {
  return mine.disks.flatMap((disk) => {
    const other = theirs.disks.find((each) => each.target === disk.target);
    return other ? [{ target: disk.target, mine: comparedDisk(disk), theirs: comparedDisk(other) }] : [];
  });
}
