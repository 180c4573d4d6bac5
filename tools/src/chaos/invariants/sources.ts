/** Sources and bases are as they were. */
import { stat } from 'node:fs/promises';
import type { BaseDisk } from '@offshoot/clone-core/contract';
import { sha256 } from '../images.ts';
import type { Source } from '../sources.ts';
import type { BaseRow, Snapshot } from './snapshot.ts';

/** Definition, state and every file of each source. `undefined` of a domain is another hand's doing where `gone` says so. */
export async function checkSources(
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
    }
    for (const [path, digest] of Object.entries(source.files))
      if ((await sha256(path)) !== digest) found.push(`${path} of the source ${source.name} was changed`);
  }
  return found;
}

/** Files of a base are as sealed, and nobody may write to them. */
export async function checkBases(bases: readonly BaseRow[]): Promise<string[]> {
  const found: string[] = [];
  for (const base of bases)
    for (const disk of base.disks as unknown as BaseDisk[]) {
      if ((await sha256(disk.path)) !== disk.digest) found.push(`${disk.path} is not as it was sealed`);
      if (((await stat(disk.path)).mode & 0o222) !== 0) found.push(`${disk.path} can be written to`);
    }
  return found;
}
