/** Steps that copy: disks of stopped sources and bases, firmware settings, TPM state. */
import { convert } from '../../../disks/convert.ts';
import { ioModes, type IoMode } from '../../../disks/io-mode.ts';
import { reflink } from '../../../disks/reflink.ts';
import type { StepContext, StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Shell } from '../../../shell/shell.ts';
import type { HostReader } from '../host.ts';
import type { CopyDiskStep, CopyFileStep, CopyTpmStep, Stopped } from '../types.ts';
import type { Virsh } from '../virsh.ts';
import { complete, deleted, folderOf, partial, removeOwn } from './own-files.ts';
import { reporting } from './reporting.ts';

/** Copies smaller than this say nothing of the store's speed, bytes. */
const TELLING = 256 * 1024 ** 2;

const sourceChanged = (what: string): OffshootError =>
  new OffshootError('source-changed', {
    publicMessage: `${what}, so the copy was given up.`,
    remedy: 'Clone it again; while it runs, that works too.',
    retryable: true,
  });

/** Throws `source-missing`, or `source-changed` when it runs. */
export async function needStopped(
  virsh: Virsh,
  stopped: Stopped | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (!stopped) return;
  const state = await virsh.state(stopped.uuid, signal);
  if (state === undefined)
    throw new OffshootError('source-missing', {
      publicMessage: `The source ${stopped.name} is gone from the host.`,
      remedy: 'Choose another source.',
    });
  if (state !== 'stopped') throw sourceChanged(`The source ${stopped.name} was started meanwhile`);
}

/** Throws `source-missing` or `source-changed` unless the files are as they were when they were looked at. */
export async function needUnchanged(
  shell: Shell,
  target: string,
  expects: CopyDiskStep['expects'],
): Promise<void> {
  for (const { path, modifiedMs, size } of expects) {
    const stat = await shell.stat(path);
    if (!stat)
      throw new OffshootError('source-missing', {
        publicMessage: `A file of the source is gone: ${path}.`,
        remedy: 'Choose another source.',
      });
    if (stat.modifiedMs !== modifiedMs || stat.size !== size)
      throw sourceChanged(`Disk ${target} of the source was written to meanwhile`);
  }
}

export function copyDiskStep(shell: Shell, virsh: Virsh, host: HostReader): StepHandler<CopyDiskStep> {
  const modes = ioModes();
  const copy = async (
    step: CopyDiskStep,
    context: StepContext,
    onBytes: (done: number) => void,
  ): Promise<IoMode | undefined> => {
    const { signal } = context;
    const to = partial(step.to);
    await shell.mkdir(folderOf(step.to));
    await shell.remove(to); // of an earlier run that was cut
    let used: IoMode | undefined;
    if (step.strategy === 'reflink') await reflink(shell, step.from, to, signal);
    else {
      const { mode, why } = modes.choose();
      context.log(
        `qemu-img convert, ${mode === 'direct' ? 'direct I/O' : 'through the page cache'} (${why})`,
      );
      const job = { from: step.from, fromFormat: step.fromFormat, to, bytes: step.bytes };
      used = await convert(shell, job, { signal, onBytes, mode, log: (line) => context.log(line) });
    }
    await shell.sync(to);
    return used;
  };
  return {
    run: (step, context) =>
      reporting(async (report) => {
        const { signal } = context;
        const total = step.bytes;
        report({ doneBytes: 0, totalBytes: total });
        if (!(await shell.stat(step.to))) {
          await needStopped(virsh, step.stopped, signal);
          await needUnchanged(shell, step.target, step.expects);
          const began = performance.now();
          const used = await copy(step, context, (done) =>
            report({ doneBytes: Math.min(done, total), totalBytes: total }),
          );
          const rate = total / ((performance.now() - began) / 1000);
          // Only a copy of a source that stood still all the time gets the disk's name.
          await needStopped(virsh, step.stopped, signal);
          await needUnchanged(shell, step.target, step.expects);
          await shell.rename(partial(step.to), step.to);
          if (used !== undefined && total >= TELLING) {
            modes.measured(used, rate);
            host.measured(rate);
          }
        }
        const stat = await shell.stat(step.to);
        context.result({
          strategy: step.strategy,
          movedBytes: step.strategy === 'convert' ? total : 0,
          consistency: 'exact', // it stood still from the first byte to the last
          ...(stat ? { storedBytes: stat.allocated } : {}),
        });
        report({ doneBytes: total, totalBytes: total });
      }),
    undo: async (step, { signal }) => deleted(await removeOwn(shell, [step.to], folderOf(step.to), signal)),
  };
}

export function copyFileStep(shell: Shell): StepHandler<CopyFileStep> {
  return {
    async *run(step, { signal }) {
      yield { note: 'copying' };
      await shell.mkdir(folderOf(step.to));
      await shell.run(
        ['cp', '--reflink=auto', '--no-preserve=mode,ownership', '--', step.from, partial(step.to)],
        { signal },
      );
      await complete(shell, step.to);
    },
    undo: async (step, { signal }) => deleted(await removeOwn(shell, [step.to], undefined, signal)),
  };
}

export function copyTpmStep(shell: Shell, virsh: Virsh): StepHandler<CopyTpmStep> {
  return {
    async *run(step, { signal }) {
      yield { note: 'copying' };
      await needStopped(virsh, step.stopped, signal);
      // Keeps owner and mode: swtpm reads it as its own user.
      await shell.run(['cp', '--archive', '--no-target-directory', '--', step.from, step.to], { signal });
      await shell.run(['sync', '--file-system', '--', step.to], { signal });
    },
    async undo(step, { signal }) {
      if (!(await shell.stat(step.to))) return undefined;
      // The folder's name is the UUID that the plan made up.
      await shell.run(['rm', '-r', '--', step.to], { signal });
      return 'deleted the copied TPM state';
    },
  };
}
