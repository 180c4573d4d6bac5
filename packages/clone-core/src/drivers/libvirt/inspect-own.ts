/** Looks at a guest that Offshoot made and is about to give other disks. */
import type { GuestRef } from '../../driver.ts';
import { snapshotsIn } from '../../disks/snapshots.ts';
import { OffshootError } from '../../errors.ts';
import { lookAtDomain, refuseIfSaved } from './domain-look.ts';
import { readDomain, type Domain } from './domain-read.ts';
import type { Reader } from './inspect.ts';
import type { OwnFacts, OwnFile } from './types.ts';

/**
 * State, own disks, firmware settings and snapshots. Throws `not-found` when the host does not know the guest, `busy`
 * when its memory is saved on disk: that belongs to the old disks.
 */
export async function inspectOwn(
  reader: Reader,
  request: { guest: GuestRef; owned: readonly string[] },
  signal: AbortSignal,
): Promise<OwnFacts> {
  const { virsh, shell } = reader;
  const { guest, owned } = request;
  const look = await lookAtDomain(virsh, guest, signal);
  if (!look) {
    throw new OffshootError('not-found', {
      publicMessage: `The host knows no guest ${guest.name} any more.`,
      remedy: 'Reload the list of guests: it was removed by another hand.',
    });
  }
  refuseIfSaved(guest, look);
  const { state, definition } = look;
  const domain = readDomain(look.live);
  const disks = await ownDisks(reader, domain, owned);
  const inside = await Promise.all(
    disks.map((disk) =>
      snapshotsIn(shell, { ...disk, label: `disk ${disk.target} of ${guest.name}` }, signal),
    ),
  );
  const own = new Set(disks.map((disk) => disk.target));
  const nvram = await nvramOf(reader, domain, owned);
  return {
    state,
    definition,
    disks,
    otherTargets: domain.disks
      .filter((disk) => disk.device === 'disk' && disk.path !== undefined && !own.has(disk.target))
      .map((disk) => disk.target),
    ...(nvram ? { nvram } : {}),
    snapshots: [...new Set([...look.snapshots, ...inside.flat().map(({ name }) => name)])].toSorted(),
  };
}

async function ownDisks({ shell }: Reader, domain: Domain, owned: readonly string[]): Promise<OwnFile[]> {
  const files = await Promise.all(
    domain.disks.map(async ({ target, path, format }): Promise<OwnFile[]> => {
      const stat = path === undefined || !owned.includes(path) ? undefined : await shell.stat(path);
      return path === undefined || stat?.type !== 'file'
        ? []
        : [{ target, path, format, inode: stat.inode, allocatedBytes: stat.allocated }];
    }),
  );
  return files.flat();
}

async function nvramOf(
  { shell }: Reader,
  domain: Domain,
  owned: readonly string[],
): Promise<OwnFacts['nvram']> {
  const path = domain.nvram?.path;
  if (path === undefined) return undefined;
  const inode = (await shell.stat(path))?.inode;
  return { path, owned: owned.includes(path), ...(inode === undefined ? {} : { inode }) };
}
