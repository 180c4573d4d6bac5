/** Step: the disks of a linked clone. */
import { createOverlay, type Overlay } from '../../../disks/overlay.ts';
import type { StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Shell } from '../../../shell/shell.ts';
import { OVERLAY_BYTES } from '../plan-parts.ts';
import type { OverlayStep } from '../types.ts';
import { deleted, folderOf, nameOf, removeOwn } from './own-files.ts';

export function overlayStep(shell: Shell): StepHandler<OverlayStep> {
  return {
    async *run(step, context) {
      const { signal } = context;
      yield { note: 'creating' };
      // Of an earlier run that was cut: nothing can have been written to them, the clone was not defined yet.
      await createOverlays(shell, step, signal);
      context.result({
        strategy: 'overlay',
        movedBytes: 0,
        storedBytes: OVERLAY_BYTES * step.disks.length,
        consistency: 'exact',
      });
    },
    async undo(step, { signal }) {
      const removed: string[] = [];
      for (const disk of step.disks)
        removed.push(...(await removeOwn(shell, [disk.to], folderOf(disk.to), signal)));
      return deleted(removed);
    },
  };
}

/** Makes the overlays, each in place of what is there. */
export async function createOverlays(
  shell: Shell,
  step: Pick<OverlayStep, 'base' | 'disks'>,
  signal: AbortSignal,
): Promise<void> {
  for (const disk of step.disks) {
    await needBase(shell, step, disk);
    await shell.mkdir(folderOf(disk.to));
    await shell.remove(disk.to);
    await createOverlay(shell, disk, signal);
  }
}

/** The base must be the one that was sealed: in the folder named by its digest, of the same size. */
async function needBase(
  shell: Shell,
  step: Pick<OverlayStep, 'base'>,
  disk: Overlay & { baseBytes: number },
): Promise<void> {
  const stat = await shell.stat(disk.basePath);
  const named = step.base !== '' && nameOf(folderOf(disk.basePath)) === step.base.slice(0, 12);
  if (stat?.type === 'file' && named && stat.size === disk.baseBytes) return;
  throw new OffshootError('source-missing', {
    publicMessage:
      stat && named
        ? 'The base is not as it was sealed: its size is another.'
        : 'The base of this linked clone is not on the host.',
    remedy: 'Make a new version of the template, then clone that.',
    context: { path: disk.basePath, size: stat?.size, expected: disk.baseBytes },
  });
}
