/** Copies that share blocks with their source until one of them changes (XFS, btrfs). */
import { randomUUID } from 'node:crypto';
import { OffshootError } from '../errors.ts';
import { stderrOf } from './stderr.ts';
import type { Shell } from '../shell/shell.ts';

/**
 * Copies by FICLONE: independent of the source's size. Never falls back to copying bytes. The copy appears at `to` as
 * one piece or not at all; the caller syncs it.
 */
export async function reflink(shell: Shell, from: string, to: string, signal: AbortSignal): Promise<void> {
  try {
    await shell.run(['cp', '--reflink=always', '--no-preserve=mode,ownership', '--', from, to], {
      signal,
      timeoutMs: 0,
      dieWithParent: true,
    });
  } catch (thrown) {
    if (!(thrown instanceof OffshootError) || !/No space left/i.test(stderrOf(thrown))) throw thrown;
    throw new OffshootError('no-space', {
      publicMessage: 'The store filled up while the disk was copied.',
      remedy: 'Free space on the store, then retry.',
      retryable: true,
      context: thrown.context,
      cause: thrown,
    });
  }
}

/** Whether the filesystem of the folder shares blocks: proven with a file of 4 KiB, which is removed again. */
export async function probeReflink(shell: Shell, folder: string, signal: AbortSignal): Promise<boolean> {
  const name = `${folder}/.reflink-probe-${randomUUID()}`;
  const copy = `${name}-copy`;
  await shell.writeFile(name, Buffer.alloc(4096, 1));
  try {
    const { code } = await shell.run(['cp', '--reflink=always', '--', name, copy], {
      signal,
      okCodes: [0, 1],
    });
    return code === 0;
  } finally {
    await shell.remove(name);
    await shell.remove(copy);
  }
}

/** Which of the paths are on the same filesystem as the folder. */
export async function onFilesystemOf(
  shell: Shell,
  folder: string,
  paths: readonly string[],
  signal: AbortSignal,
): Promise<boolean[]> {
  if (paths.length === 0) return [];
  const { stdout } = await shell.run(['stat', '--dereference', '--format=%d', '--', folder, ...paths], {
    signal,
  });
  const [own, ...others] = stdout.trim().split('\n');
  return others.map((device) => device === own);
}
