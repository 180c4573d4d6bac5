/** Step: makes a clone's disks and has it go on from the saved memory of its source, without a network. */
import type { StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Shell } from '../../../shell/shell.ts';
import { OVERLAY_BYTES } from '../plan-parts.ts';
import { writeHead } from '../save-image.ts';
import type { ResumeMemoryStep } from '../types.ts';
import { SLOW_MS, type Virsh } from '../virsh.ts';
import { deleted, folderOf, removeOwn } from './own-files.ts';
import { createOverlays } from './overlays.ts';

export function resumeMemoryStep(shell: Shell, virsh: Virsh): StepHandler<ResumeMemoryStep> {
  return {
    async *run(step, context) {
      const { signal } = context;
      const { uuid } = step.guest;
      const state = await virsh.state(uuid, signal);
      if (state === undefined)
        throw new OffshootError('source-changed', {
          publicMessage: `${step.guest.name} was removed from the host while it was made.`,
          remedy: 'Clone it again.',
          retryable: true,
        });
      yield { note: 'reading its memory' };
      if (state === 'stopped') {
        // Fresh disks each time: what ran on them after an earlier run would not fit the memory.
        await createOverlays(shell, step, signal);
        await writeImage(shell, step, signal);
        signal.throwIfAborted();
        // Not ended half-way: libvirt would go on, and the undo could overtake it.
        await virsh.run(['restore', '--file', step.to, '--paused'], { timeoutMs: SLOW_MS });
      }
      await shell.remove(step.to);
      if (state !== 'running') {
        // QEMU takes a link's state from the saved memory, so it is cut here, before the guest's first instruction.
        for (const mac of step.macs)
          await virsh.run(['domif-setlink', '--domain', uuid, '--interface', mac, '--state', 'down'], {
            signal,
          });
        await virsh.run(['resume', '--domain', uuid], { signal });
      }
      context.result({
        strategy: 'memory',
        movedBytes: step.image.bytes,
        storedBytes: OVERLAY_BYTES * step.disks.length,
        consistency: 'exact',
        consistencyNote: 'exact: it went on from the instant its memory and disks were taken',
      });
    },
    async undo(step, { signal }) {
      await virsh.destroy(step.guest.uuid, signal);
      const files = [...step.disks.map((disk) => disk.to), step.to];
      return deleted(await removeOwn(shell, files, folderOf(step.to), signal));
    },
  };
}

/** The clone's own image: its head, then the stream of the memory point. Not synced: it is read once, now. */
async function writeImage(shell: Shell, step: ResumeMemoryStep, signal: AbortSignal): Promise<void> {
  const { from, bytes, streamAt } = step.image;
  const stat = await shell.stat(from);
  if (stat?.size !== bytes)
    throw new OffshootError('source-missing', {
      publicMessage: stat
        ? 'The saved memory is not as it was saved: its size is another.'
        : 'The saved memory of this clone’s source is not on the host.',
      remedy: 'Make a new version of the template, then clone that.',
      context: { from, size: stat?.size, expected: bytes },
    });
  await shell.writeFile(step.to, writeHead(step.head), 0o600);
  await shell.run(
    [
      'dd',
      `if=${from}`,
      `of=${step.to}`,
      'bs=1M',
      `skip=${streamAt}`,
      'iflag=skip_bytes',
      'oflag=append',
      'conv=notrunc',
      'status=none',
    ],
    { signal, dieWithParent: true },
  );
}
