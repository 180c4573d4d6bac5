/** Sources and bases are as they were. */
import { stat } from 'node:fs/promises';
import type { BaseDisk } from '@offshoot/clone-core/contract';
import { damage, difference, sha256 } from '../images.ts';
import type { Source } from '../sources.ts';
import type { World } from '../world.ts';
import type { BaseRow, Snapshot } from './snapshot.ts';

/** Definition, state and every file of each source. `undefined` of a domain is another hand's doing where `gone` says so. */
export async function checkSources(
  world: World,
  sources: readonly Source[],
  { domains }: Snapshot,
  options: { mayBeGone?: boolean } = {},
): Promise<string[]> {
  const found: string[] = [];
  for (const source of sources) {
    const domain = domains.find(({ uuid }) => uuid === source.uuid);
    if (!domain) {
      if (options.mayBeGone !== true) found.push(`the source ${source.name} is gone`);
    } else {
      if (domain.xml !== source.definition)
        found.push(`the definition of the source ${source.name} was changed`);
      if ((domain.state === 'running') !== source.running)
        found.push(`the source ${source.name} is ${domain.state}`);
      const defined = domain.disks.map(({ path }) => path);
      if (domain.live.join() !== defined.join())
        found.push(`the source ${source.name} is on ${domain.live.join()}, not on its own disks`);
    }
    for (const [path, digest] of Object.entries(source.files)) {
      if ((await sha256(path)) === digest) continue;
      const disk = domain?.disks.find((each) => each.path === path);
      const content = source.content?.[disk?.target ?? ''];
      // A file that notes changes for a clone holds that note; what a guest reads in it is as before.
      const same =
        disk?.format === 'qcow2' && world.ledger.noted.has(source.uuid) && content
          ? await isSame(disk, content)
          : false;
      if (!same) found.push(`${path} of the source ${source.name} was changed`);
    }
    if (domain && source.moving) found.push(...(await checkMoving(world, source, domain)));
  }
  return found;
}

async function isSame(disk: { path: string; format: string }, raws: readonly string[]): Promise<boolean> {
  if ((await damage(disk.path, disk.format)) !== undefined) return false;
  for (const raw of raws) if ((await difference(disk.path, disk.format, raw)) === undefined) return true;
  return false;
}

/** A source that the run writes to holds what was written last. */
async function checkMoving(
  world: World,
  source: Source,
  domain: Snapshot['domains'][number],
): Promise<string[]> {
  const row = await world.db.prisma.guest.findFirst({ where: { uuid: source.uuid }, select: { id: true } });
  const content = row ? world.ledger.guests.get(row.id)?.now : undefined;
  const found: string[] = [];
  for (const disk of domain.disks) {
    const raws = content?.[disk.target];
    if (raws && !(await isSame(disk, raws)))
      found.push(`disk ${disk.target} of the source ${source.name} does not hold what was written to it`);
  }
  return found;
}

/** Files of a base are as sealed, and nobody may write to them. */
export async function checkBases(bases: readonly BaseRow[]): Promise<string[]> {
  const found: string[] = [];
  for (const base of bases) {
    const memory = base.memory as unknown as { path: string; digest: string } | null;
    for (const file of [...(base.disks as unknown as BaseDisk[]), ...(memory ? [memory] : [])]) {
      if ((await sha256(file.path)) !== file.digest) found.push(`${file.path} is not as it was sealed`);
      if (((await stat(file.path)).mode & 0o222) !== 0) found.push(`${file.path} can be written to`);
    }
  }
  return found;
}
