/** How far a guest's disks have drifted from the base they stand on. Reads metadata only. */
import type { CapturedBase, Drift } from '../../contract.ts';
import { readChain } from '../../disks/chain.ts';
import { driftOf } from '../../disks/drift.ts';
import { readMap } from '../../disks/map.ts';
import type { GuestRef } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { readDomain } from './domain-read.ts';
import { copiedDisks } from './inspect-guest.ts';
import type { Reader } from './inspect.ts';

/** As `Driver.drift`. Of a running guest its current files are read, without locks. */
export async function drift(
  { shell, virsh }: Pick<Reader, 'shell' | 'virsh'>,
  guest: GuestRef,
  base: CapturedBase,
  signal: AbortSignal,
): Promise<Drift> {
  const state = await virsh.state(guest.uuid, signal);
  // Of a running guest, what it uses now: snapshots change its files.
  const definition = await virsh.maybe(
    ['dumpxml', ...(state === 'stopped' ? ['--inactive'] : []), '--domain', guest.uuid],
    { signal },
  );
  if (state === undefined || definition === undefined)
    throw new OffshootError('not-found', {
      publicMessage: `The host knows no guest ${guest.name} any more.`,
      remedy: 'Reload the list of guests: it was removed by another hand.',
    });
  const basePaths = new Set(base.disks.map((disk) => disk.path));
  const disks: Drift['disks'] = [];
  for (const { target, path, format } of copiedDisks(readDomain(definition), guest.name)) {
    const chain = await readChain(shell, { path, format, label: `disk ${target} of ${guest.name}` }, signal);
    const depth = chain.findIndex((file) => basePaths.has(file.path));
    if (depth < 1) continue;
    const extents = await readMap(shell, { path, format, live: state !== 'stopped' }, signal);
    disks.push(driftOf({ target, virtualBytes: chain[0]?.virtualBytes ?? 0 }, extents, depth));
  }
  if (disks.length === 0)
    throw new OffshootError('source-changed', {
      publicMessage: `The disks of ${guest.name} do not stand on their base any more.`,
      remedy: 'Nothing is shared, so there is nothing to measure a drift from.',
    });
  return { at: new Date().toISOString(), running: state !== 'stopped', disks };
}
