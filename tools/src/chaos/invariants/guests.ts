/** Rows and domains say the same; nothing is twice; nothing is left hanging on a guest. */
import { chainOf, damage, difference } from '../images.ts';
import type { World } from '../world.ts';
import type { Snapshot } from './snapshot.ts';
import type { BaseDisk } from '@offshoot/clone-core/contract';

/** Of every guest that the product made, and of every domain on its store. */
export function checkGuests(snapshot: Snapshot): string[] {
  const found: string[] = [];
  for (const row of snapshot.guests) {
    if (row.state === 'creating' || row.state === 'deleting') found.push(`${row.name} is still ${row.state}`);
    const domain = snapshot.domains.find(({ uuid }) => uuid === row.uuid);
    if (!domain) {
      if (row.state !== 'missing') found.push(`${row.name} has no domain`);
      continue;
    }
    if (domain.macs.toSorted().join() !== row.macs.toSorted().join())
      found.push(`${row.name} has the MACs ${domain.macs.join()}, its row says ${row.macs.join()}`);
    for (const disk of domain.disks)
      if (!row.ownedFiles.includes(disk.path))
        found.push(`disk ${disk.path} of ${row.name} is not one of its files`);
    if (
      domain.live.toSorted().join() !==
      domain.disks
        .map(({ path }) => path)
        .toSorted()
        .join()
    )
      found.push(`${row.name} runs on ${domain.live.join(', ')}, which its definition does not name`);
    if ((row.mode !== 'full') !== (row.baseId !== null))
      found.push(
        `${row.name} is ${row.mode ?? 'of no mode'} and ${row.baseId === null ? 'has no base' : 'has a base'}`,
      );
  }
  for (const domain of snapshot.domains)
    if (
      domain.disks.some(({ path }) => path.startsWith(`${snapshot.store}/`)) &&
      !snapshot.guests.some(({ uuid }) => uuid === domain.uuid)
    )
      found.push(`${domain.name} stands on the store and has no row`);
  return [...found, ...duplicates(snapshot)];
}

function duplicates({ domains, guests }: Snapshot): string[] {
  const twice = (what: string, all: string[]): string[] => {
    const seen = new Set<string>();
    return all
      .filter((one) => seen.size === seen.add(one).size)
      .map((one) => `${what} ${one} is there twice`);
  };
  // Of the machine's other guests nobody here knows whether they are meant to be alike.
  const ours = new Set(guests.flatMap(({ macs }) => macs));
  return [
    ...twice(
      'MAC',
      domains.flatMap(({ macs }) => macs.filter((mac) => ours.has(mac))),
    ),
    ...twice(
      'name',
      guests.map(({ name }) => name),
    ),
    ...twice(
      'UUID',
      guests.flatMap(({ uuid }) => (uuid === null ? [] : [uuid])),
    ),
    ...twice(
      'file',
      guests.flatMap(({ ownedFiles }) => ownedFiles),
    ),
  ];
}

/** What a guest sees in its disks is what it must; and linked disks stand on their base. */
export async function checkContent(
  world: World,
  { guests, domains, bases }: Snapshot,
  ids: ReadonlySet<string>,
): Promise<string[]> {
  const found: string[] = [];
  for (const row of guests) {
    const domain = domains.find(({ uuid }) => uuid === row.uuid);
    if (!domain || row.state === 'missing' || !ids.has(row.id)) continue;
    const wanted = world.ledger.guests.get(row.id)?.now;
    // A refreshable clone stands on layers of its own.
    const layered = row.generations !== null;
    const files = bases
      .filter(({ id }) => id === row.baseId)
      .flatMap(({ disks }) => (disks as unknown as BaseDisk[]).map(({ path }) => path));
    for (const disk of domain.disks) {
      const broken = await damage(disk.path, disk.format);
      if (broken !== undefined) found.push(`disk ${disk.target} of ${row.name} is damaged: ${broken}`);
      const below = (await chainOf(disk.path)).slice(1);
      const allowed = layered ? row.ownedFiles : files;
      if (
        below.some((path) => !allowed.includes(path)) ||
        (row.baseId !== null || layered) !== below.length > 0
      )
        found.push(`disk ${disk.target} of ${row.name} stands on ${below.join(', ') || 'nothing'}`);
      const raws = wanted?.[disk.target] ?? [];
      const differences = await Promise.all(raws.map((raw) => difference(disk.path, disk.format, raw)));
      if (raws.length > 0 && differences.every((one) => one !== undefined))
        found.push(
          `disk ${disk.target} of ${row.name} is not what it was cloned from: ${differences.join('; ')}`,
        );
    }
    if (wanted !== undefined && Object.keys(wanted).length !== domain.disks.length)
      found.push(`${row.name} has ${domain.disks.length} disks, its source ${Object.keys(wanted).length}`);
  }
  return found;
}
