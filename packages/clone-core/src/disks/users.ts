/** Who stands on a file. Asked of the real host, not of any record. */
import { readChain } from './chain.ts';
import { OffshootError } from '../errors.ts';
import type { FileStat, Shell } from '../shell/shell.ts';

/** Images opened at once. */
const AT_ONCE = 6;

export interface DiskOwner {
  path: string;
  format?: string;
  /** Guest's name, or the path when no guest is known. */
  owner: string;
}

/**
 * Owners of disks that have one of the files in their chain, by whatever path they name it, sorted. A disk that can't be
 * read (gone meanwhile, another format) stands on nothing that can be known.
 */
export async function usersOf(
  shell: Shell,
  files: readonly string[],
  disks: readonly DiskOwner[],
  signal: AbortSignal,
): Promise<string[]> {
  const wanted = new Set(files);
  const stats = await Promise.all(files.map((path) => shell.stat(path)));
  const same = new Set(stats.flatMap((stat) => (stat ? [identityOf(stat)] : [])));
  const isWanted = async (path: string): Promise<boolean> => {
    if (wanted.has(path)) return true;
    const stat = same.size > 0 ? await shell.stat(path) : undefined;
    return stat !== undefined && same.has(identityOf(stat));
  };
  const found = new Set<string>();
  const rest = [...disks];
  const work = async (): Promise<void> => {
    for (let disk = rest.pop(); disk; disk = rest.pop())
      for (const path of await chainPaths(shell, disk, signal))
        if (await isWanted(path)) found.add(disk.owner);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return [...found].sort();
}

/** Of one file under several names (links, `..`) the same; of two filesystems' files of one number not. */
const identityOf = ({ inode, size, modifiedMs }: FileStat): string => `${inode} ${size} ${modifiedMs}`;

async function chainPaths(shell: Shell, disk: DiskOwner, signal: AbortSignal): Promise<string[]> {
  try {
    const chain = await readChain(
      shell,
      { path: disk.path, ...(disk.format ? { format: disk.format } : {}), label: 'disk' },
      signal,
    );
    return chain.map((file) => file.path);
  } catch (thrown) {
    if (
      thrown instanceof OffshootError &&
      ['source-unreadable', 'broken-chain', 'source-encrypted', 'unsupported-disk'].includes(thrown.code)
    )
      return [disk.path];
    throw thrown;
  }
}
