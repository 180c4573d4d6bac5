/**
 * Steps that put other files in the place of a guest's own. Whatever stops them, each path holds a whole file: the old
 * one gets a second name first, then the new one is renamed over it.
 */
import type { GuestRef, StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Shell } from '../../../shell/shell.ts';
import type { DiscardKeptStep, Swap, SwapFilesStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';
import { nameOf } from './own-files.ts';

export function swapFilesStep(shell: Shell, virsh: Virsh): StepHandler<SwapFilesStep> {
  return {
    async *run(step, { signal }) {
      yield { note: 'putting them in place' };
      await needStopped(virsh, step.guest, signal);
      for (const swap of step.swaps) await refuseWritten(shell, step.guest, swap);
      for (const swap of step.swaps) await keep(shell, step.guest, swap, signal);
      for (const swap of step.swaps) await replace(shell, swap);
      await needStopped(virsh, step.guest, signal);
    },
    async undo(step, { signal }) {
      const begun: Swap[] = [];
      for (const swap of step.swaps) if (await shell.stat(swap.kept)) begun.push(swap);
      if (begun.length === 0) return undefined;
      await needStopped(virsh, step.guest, signal);
      const back: string[] = [];
      for (const swap of begun) if (await putBack(shell, swap)) back.push(nameOf(swap.live));
      return back.length === 0 ? undefined : `put ${back.join(', ')} back as before`;
    },
  };
}

export function discardKeptStep(shell: Shell): StepHandler<DiscardKeptStep> {
  return {
    async *run(step, { signal }) {
      yield { note: 'deleting' };
      signal.throwIfAborted(); // the last moment at which everything can be as before
      for (const swap of step.swaps) await shell.remove(swap.kept);
    },
    async undo(step) {
      if (!(await isDiscarded(shell, step.swaps))) return undefined;
      // One old disk beside new ones would be a guest that never was.
      for (const swap of step.swaps) await shell.remove(swap.kept);
      throw new OffshootError('internal', {
        publicMessage: `The old disks of ${step.guest.name} are already deleted and can’t be brought back; it has its new ones.`,
      });
    },
  };
}

async function needStopped(virsh: Virsh, guest: GuestRef, signal: AbortSignal): Promise<void> {
  if ((await virsh.state(guest.uuid, signal)) === 'stopped') return;
  throw new OffshootError('busy', {
    publicMessage: `${guest.name} was started by another hand while its disks were exchanged.`,
    remedy: 'Stop it, then try again.',
    retryable: true,
  });
}

/** What takes its place does not have what the guest wrote since. */
async function refuseWritten(shell: Shell, guest: GuestRef, swap: Swap): Promise<void> {
  if (swap.modifiedMs === undefined) return;
  const old = (await shell.stat(swap.kept)) ?? (await shell.stat(swap.live));
  if (old?.modifiedMs === swap.modifiedMs) return;
  throw new OffshootError('source-changed', {
    publicMessage: `${guest.name} was started by another hand and has written to ${nameOf(swap.live)} meanwhile, so that was left as it is.`,
    remedy: 'Try again.',
    retryable: true,
    context: { ...swap, found: old?.modifiedMs },
  });
}

async function keep(shell: Shell, guest: GuestRef, swap: Swap, signal: AbortSignal): Promise<void> {
  if (await shell.stat(swap.kept)) return;
  const live = await shell.stat(swap.live);
  if (live?.inode !== swap.inode) {
    throw new OffshootError('source-changed', {
      publicMessage: `Another hand exchanged ${nameOf(swap.live)} of ${guest.name} meanwhile, so it was left alone.`,
      remedy: 'Try again.',
      retryable: true,
      context: { ...swap, found: live?.inode },
    });
  }
  await shell.run(['ln', '--', swap.live, swap.kept], { signal });
  await shell.sync(swap.kept);
}

async function replace(shell: Shell, swap: Swap): Promise<void> {
  if (swap.fresh === undefined) {
    // Only the old file goes: one that came since is the guest's new one.
    if ((await shell.stat(swap.live))?.inode === swap.inode) await shell.remove(swap.live);
  } else if (await shell.stat(swap.fresh)) await shell.rename(swap.fresh, swap.live);
}

/** Resolves to whether the live file was another one. */
async function putBack(shell: Shell, swap: Swap): Promise<boolean> {
  if ((await shell.stat(swap.live))?.inode !== swap.inode) {
    await shell.rename(swap.kept, swap.live);
    return true;
  }
  // Two names of one file: rename(2) would leave both.
  await shell.remove(swap.kept);
  return false;
}

/** An old file is neither in its place nor kept any more. */
async function isDiscarded(shell: Shell, swaps: readonly Swap[]): Promise<boolean> {
  for (const swap of swaps) {
    if (await shell.stat(swap.kept)) continue;
    if ((await shell.stat(swap.live))?.inode !== swap.inode) return true;
  }
  return false;
}
