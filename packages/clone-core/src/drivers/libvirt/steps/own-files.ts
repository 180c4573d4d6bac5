/** Files and folders that plans made: how they go away again. */
import type { Shell } from '../../../shell/shell.ts';

/** Unfinished copies have this at their end; only a finished and synced one gets its name. */
export const partial = (path: string): string => `${path}.partial`;
export const folderOf = (path: string): string => path.slice(0, path.lastIndexOf('/'));
export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Removes the files with their unfinished copies, then the folder if nothing else is in it. Resolves to what was there. */
export async function removeOwn(
  shell: Shell,
  paths: readonly string[],
  folder: string | undefined,
  signal: AbortSignal,
): Promise<string[]> {
  const removed: string[] = [];
  for (const path of paths) {
    const [whole, unfinished] = [await shell.remove(path), await shell.remove(partial(path))];
    if (whole || unfinished) removed.push(nameOf(path));
  }
  if (folder !== undefined) await removeEmpty(shell, folder, signal);
  return removed;
}

/** Removes the folder if it is there and empty. */
export async function removeEmpty(shell: Shell, folder: string, signal: AbortSignal): Promise<void> {
  if ((await shell.stat(folder))?.type !== 'directory') return;
  await shell.run(['rmdir', '--ignore-fail-on-non-empty', '--', folder], { signal });
}

/** Syncs an unfinished copy and gives it its name. */
export async function complete(shell: Shell, path: string): Promise<void> {
  await shell.sync(partial(path));
  await shell.rename(partial(path), path);
}

export const deleted = (names: readonly string[]): string | undefined =>
  names.length === 0 ? undefined : `deleted ${names.join(', ')}`;
