/** How the changes of a source are found, and what to tell of it. Pure. */
import type { Generations, PlanNote } from '../../contract.ts';
import type { OperationRequest } from '../../driver.ts';
import { activeOf, wroteItself } from './generations.ts';
import { gib, info, OVERLAY_BYTES, sumOf, warn } from './plan-parts.ts';
import type { CloneFacts, LibvirtFacts, SourceFacts } from './types.ts';

type Refresh = Extract<OperationRequest, { kind: 'refresh' }>;

export interface Way {
  way: 'record' | 'compare-running' | 'compare-stopped';
  /** Why nothing better could be done, as the end of a sentence. */
  why?: string;
}

/** By the change record where it can be trusted, else by comparing; never without saying why. */
export function wayOf(request: Refresh, facts: LibvirtFacts, source: SourceFacts, clone: CloneFacts): Way {
  if (source.state === 'stopped')
    return {
      way: 'compare-stopped',
      why: 'the source is stopped, and its record can be read only while it runs',
    };
  const current = request.generations?.list.find((each) => each.number === request.generations?.current);
  const compare = (why: string): Way => ({ way: 'compare-running', why });
  if (!current) return compare('none was begun when it was cloned');
  if (current.record === undefined) return compare(current.noRecord ?? 'none was begun');
  const moved = source.disks.find(
    (disk) => current.disks.find(({ target }) => target === disk.target)?.sourcePath !== disk.path,
  );
  if (moved) return compare(`disk ${moved.target} of the source is another file since`);
  const grown = source.disks.find((disk) => disk.virtualBytes !== activeOf(clone, disk.target).virtualBytes);
  if (grown) return compare(`disk ${grown.target} of the source was resized since`);
  if (facts.record === undefined) return compare('it could not be read');
  return 'problem' in facts.record ? compare(facts.record.problem) : { way: 'record' };
}

export interface Bytes {
  read: number;
  move: number;
  store: number;
  /** How much differs is not known: `move` and `store` are the most that it can be. */
  atMost?: boolean;
}

export function bytesOf({ way }: Way, source: SourceFacts, facts: LibvirtFacts, before: Generations): Bytes {
  const own = OVERLAY_BYTES * source.disks.length;
  if (way === 'record' && facts.record && 'sizes' in facts.record) {
    const changed = Object.values(facts.record.sizes).reduce((sum, size) => sum + size, 0);
    return { read: changed, move: changed, store: changed + own };
  }
  const read = sumOf(source.disks, 'allocatedBytes') * 2;
  const last = lastRefresh(before)?.movedBytes;
  const move = last ?? sumOf(source.disks, 'allocatedBytes');
  return { read, move, store: move + own, ...(last === undefined ? { atMost: true } : {}) };
}

/** The one that made the present state; undefined: the cloning itself did. */
const lastRefresh = (before: Generations): Generations['list'][number] | undefined =>
  before.current > 1 ? before.list.find((each) => each.number === before.current) : undefined;

export function wayNotes(
  { way, why }: Way,
  bytes: Bytes,
  before: Generations,
  { host: { store } }: LibvirtFacts,
): PlanNote[] {
  if (way === 'record') return [info(`Only what the source changed since then moves: ${gib(bytes.move)}.`)];
  const last = lastRefresh(before)?.movedBytes;
  const much = bytes.atMost
    ? ` How much that is shows only then; at most ${gib(bytes.move)}.`
    : last === undefined
      ? ''
      : ` Last time that was ${gib(last)}.`;
  return [
    warn(
      `No valid change record, because ${why ?? 'there is none'}: both sides are read (about ${gib(bytes.read)}) to find what differs, and only that moves.${much}`,
    ),
    ...(bytes.store > store.freeBytes
      ? [
          warn(
            `${gib(store.freeBytes)} are free on the host’s store. If more than that differs, it fails and the clone stays as it is.`,
          ),
        ]
      : []),
  ];
}

/** Every state that is kept adds a file that reads may have to go through. */
export function depthNotes(
  name: string,
  depth: number,
  { chainBudget }: LibvirtFacts,
  source: SourceFacts,
): PlanNote[] {
  if (depth <= chainBudget) return [];
  return [
    warn(
      `Reads of ${name} would then go through up to ${depth} files, and this host is set to ${chainBudget}: its present state is made whole right afterwards, which copies about ${gib(sumOf(source.disks, 'allocatedBytes'))}. Its earlier states stay.`,
    ),
  ];
}

export function ownNotes(
  { options, generations, guest }: Refresh,
  clone: CloneFacts,
  after: Generations,
): PlanNote[] {
  const current = generations?.current ?? 0;
  const stays = after.list.find((each) => each.number === current);
  const own = clone.ownBytes === undefined ? undefined : wroteItself(clone);
  const what =
    own === undefined
      ? 'What it has now'
      : own > 0
        ? `What it has now, with ${gib(own)} of its own,`
        : 'What it has now';
  if (options.ownChanges === 'keep')
    return [info(`${what} is kept as state ${current} until you let go of it.`)];
  if (stays)
    return [
      info(
        `${what} stays as state ${current} and can be put back with one click until a later refresh removes it.`,
      ),
    ];
  return [warn(`${what} is lost: no state before this one is kept of ${guest.name}.`)];
}
