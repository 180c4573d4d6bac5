/** Looks at a guest that is to be put into a snapshot, or back to one; and at the snapshots that guests have. */
import type { GuestRef, ObservedGuest } from '../../driver.ts';
import { snapshotsIn, type InnerSnapshot } from '../../disks/snapshots.ts';
import { OffshootError } from '../../errors.ts';
import type { Shell } from '../../shell/shell.ts';
import { readDomain, type Domain } from './domain-read.ts';
import type { Reader } from './inspect.ts';
import type { SnapshotFacts } from './types.ts';
import type { Virsh } from './virsh.ts';

/** Throws `not-found` when the host does not know the guest. */
export async function inspectSnapshots(
  { virsh }: Pick<Reader, 'virsh'>,
  guest: GuestRef,
  signal: AbortSignal,
): Promise<SnapshotFacts> {
  const of = (command: string, ...words: string[]): Promise<string | undefined> =>
    virsh.maybe([command, '--domain', guest.uuid, ...words], { signal });
  const [definition, state, table, checkpoints] = await Promise.all([
    of('dumpxml'),
    virsh.state(guest.uuid, signal),
    of('snapshot-list'),
    of('checkpoint-list', '--name'),
  ]);
  if (definition === undefined || state === undefined) {
    throw new OffshootError('not-found', {
      publicMessage: `The host knows no guest ${guest.name} any more.`,
      remedy: 'Reload the list of guests: it was removed by another hand.',
    });
  }
  const domain = readDomain(definition);
  const unable = whyNot(definition, domain, checkpoints ?? '');
  return {
    state,
    memoryBytes: domain.memoryBytes,
    ...(unable ? { unable } : {}),
    taken: parseSnapshots(table ?? '').map(({ name, withMemory }) => ({ name, withMemory })),
  };
}

/** What libvirt refuses (9.0), found before it is asked. */
function whyNot(definition: string, domain: Domain, checkpoints: string): SnapshotFacts['unable'] {
  if (/<loader[^>]* type=['"]pflash['"]/.test(definition))
    return {
      why: 'it boots by UEFI, and libvirt can’t keep firmware settings in a snapshot',
      remedy: 'Clone it instead: a linked clone holds its disks and firmware settings as they are now.',
    };
  if (checkpoints.trim() !== '')
    return {
      why: `it could not be put back to one while a record of changes is kept for it (checkpoint ${checkpoints.trim().split('\n')[0] ?? ''})`,
      remedy:
        'Clone it instead, or delete the record (virsh checkpoint-delete): the next refresh from it then reads everything.',
    };
  if (/<hostdev[\s>]/.test(definition))
    return {
      why: 'a device of the host is passed through to it',
      remedy: 'Take the device out of the guest, or clone it instead.',
    };
  const odd = domain.disks.find(
    (disk) =>
      disk.device !== 'cdrom' &&
      disk.device !== 'floppy' &&
      !disk.readonly &&
      (disk.type !== 'file' || disk.format !== 'qcow2'),
  );
  return (
    odd && {
      why: `disk ${odd.target} is ${odd.type === 'file' ? odd.format : `a ${odd.type} disk`}, which can’t hold snapshots`,
      remedy: 'Make a full clone of it: the clone’s disks are qcow2 and can.',
    }
  );
}

/** Rows of `virsh snapshot-list`: name, time of creation, state. */
export function parseSnapshots(table: string): { name: string; takenAt: string; withMemory: boolean }[] {
  return table.split('\n').flatMap((line) => {
    const found = /^\s*(\S.*?)\s+(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) ([+-]\d\d)(\d\d)\s+(\S+)\s*$/.exec(line);
    if (!found) return [];
    const [, name = '', day, time, hours, minutes, state] = found;
    const takenAt = new Date(`${day}T${time}${hours}:${minutes}`).toISOString();
    return [{ name, takenAt, withMemory: state === 'running' || state === 'paused' }];
  });
}

export type SnapshotLister = (
  guests: readonly ObservedGuest[],
  signal: AbortSignal,
) => Promise<ReadonlyMap<string, NonNullable<ObservedGuest['snapshots']>>>;

/** Snapshots by guest's UUID; guests without any are left out. The sizes of their memory are read once per snapshot. */
export function snapshotLister(shell: Shell, virsh: Virsh): SnapshotLister {
  const sizes = new Map<string, Map<string, number>>();
  return async (guests, signal) => {
    const uuids = (await virsh.run(['list', '--all', '--with-snapshot', '--uuid'], { signal })).split(/\s+/);
    const having = guests.filter((guest) => uuids.includes(guest.uuid));
    const out = await virsh.batch(
      having.flatMap(({ uuid }) => [
        ['echo', uuid],
        ['snapshot-list', uuid],
      ]),
      signal,
    );
    const all = new Map<string, NonNullable<ObservedGuest['snapshots']>>();
    for (const guest of having) {
      // virsh may or may not say the commands it reads; what follows the UUID's last mention is the table.
      const from = out.lastIndexOf(guest.uuid);
      const rest = from === -1 ? '' : out.slice(from + guest.uuid.length);
      const ends = having.map(({ uuid }) => rest.indexOf(uuid)).filter((at) => at !== -1);
      const taken = parseSnapshots(rest.slice(0, Math.min(rest.length, ...ends)));
      all.set(guest.uuid, await withSizes(shell, guest, taken, sizes, signal));
    }
    for (const uuid of sizes.keys()) if (!all.has(uuid)) sizes.delete(uuid);
    return all;
  };
}

/** A disk that can't be read tells no sizes; what is wrong with it is said where it is used. */
async function readable(
  shell: Shell,
  name: string,
  disk: ObservedGuest['disks'][number],
  signal: AbortSignal,
): Promise<InnerSnapshot[]> {
  try {
    return await snapshotsIn(shell, { ...disk, label: `disk ${disk.target} of ${name}` }, signal);
  } catch (thrown) {
    if (thrown instanceof OffshootError && ['source-unreadable', 'broken-chain'].includes(thrown.code))
      return [];
    throw thrown;
  }
}

async function withSizes(
  shell: Shell,
  guest: ObservedGuest,
  taken: ReturnType<typeof parseSnapshots>,
  sizes: Map<string, Map<string, number>>,
  signal: AbortSignal,
): Promise<NonNullable<ObservedGuest['snapshots']>> {
  const key = ({ name, takenAt }: { name: string; takenAt: string }): string => `${takenAt} ${name}`;
  let known = sizes.get(guest.uuid);
  if (taken.some((each) => each.withMemory && known?.has(key(each)) !== true)) {
    const inside = await Promise.all(guest.disks.map((disk) => readable(shell, guest.name, disk, signal)));
    const of = (name: string): number =>
      inside.flat().reduce((sum, each) => sum + (each.name === name ? each.memoryBytes : 0), 0);
    known = new Map(taken.map((each) => [key(each), of(each.name)]));
    sizes.set(guest.uuid, known);
  }
  return taken.map((each) => {
    const memoryBytes = known?.get(key(each)) ?? 0;
    return { ...each, ...(each.withMemory && memoryBytes > 0 ? { memoryBytes } : {}) };
  });
}
