/** Changes files of a guest that stands still, all or nothing. */
import { OffshootError } from '../../errors.ts';
import type { InsideEdit } from '../../identity/edits.ts';
import type { Shell } from '../../shell/shell.ts';
import type { FileInside, InsideDisk, InsideRoot } from './types.ts';

/** Temporary files of an edit, beside the disk: gone when it has ended, and what `clearInside` removes after a crash. */
export const scratchOf = (disk: Pick<InsideDisk, 'path'>): string => `${disk.path}.inside`;

/**
 * Performs the edits in their order and resolves to the paths that were really changed, links resolved. They are made in
 * a layer over the disk, which is put into it at the end: a crash leaves the disk as it was, or lets the next call finish
 * it. Throws `busy` when the disk is in use, `source-changed` when `root` is not there any more, `unsupported-disk` when
 * it can't be edited (a name that can't be passed on, a damaged filesystem), `no-space` when the guest's filesystem is full.
 */
export async function editInside(
  _shell: Shell,
  _disk: InsideDisk,
  _root: InsideRoot,
  _edits: readonly InsideEdit[],
  options: { signal: AbortSignal; log?: (line: string) => void },
): Promise<{ changed: string[] }> {
  options.signal.throwIfAborted();
  throw notYet();
}

/**
 * Files that match the patterns (as in `InsideEdit`), at most 1 MiB each and 8 MiB in all. Throws as `editInside`.
 * Not for secrets: what is read passes through the caller's memory.
 */
export async function readInside(
  _shell: Shell,
  _disk: InsideDisk,
  _root: InsideRoot,
  _patterns: readonly string[],
  options: { store: string; signal: AbortSignal },
): Promise<FileInside[]> {
  options.signal.throwIfAborted();
  throw notYet();
}

/**
 * Copies the files that match from one guest's filesystem into another's, with owner and mode, on the host: their content
 * passes through no log, plan or message. Files of `to` that match and are not in `from` are removed. All or nothing and
 * repeatable as `editInside`; resolves to the paths that were written.
 */
export async function carryInside(
  _shell: Shell,
  _from: { disk: InsideDisk; root: InsideRoot },
  _to: { disk: InsideDisk; root: InsideRoot },
  _patterns: readonly string[],
  options: { signal: AbortSignal; log?: (line: string) => void },
): Promise<{ carried: string[] }> {
  options.signal.throwIfAborted();
  throw notYet();
}

/** Removes what an edit that was cut off left beside the disk. For undoing: the disk itself is thrown away then. */
export async function clearInside(shell: Shell, disk: Pick<InsideDisk, 'path'>): Promise<void> {
  await shell.run(['rm', '-rf', '--', scratchOf(disk)]);
}

const notYet = (): OffshootError =>
  new OffshootError('unavailable-mode', { publicMessage: 'Editing a guest’s disk is not built yet.' });
