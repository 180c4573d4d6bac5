/** Step: what makes a guest itself goes from its old disk into the new one that takes its place. */
import { carryInside, clearInside, editInside } from '../../../disks/inside/edit.ts';
import { lookInside } from '../../../disks/inside/look.ts';
import type { StepContext, StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import { cleanEdits } from '../../../identity/clean.ts';
import type { Shell } from '../../../shell/shell.ts';
import type { CarryInsideStep } from '../types.ts';
import { timesOf } from './edit-inside.ts';

export function carryInsideStep(shell: Shell, store: string): StepHandler<CarryInsideStep> {
  return {
    async *run(step, context) {
      yield { note: 'carrying its identity over' };
      try {
        const carried = await carry(shell, step, store, context);
        context.log(`Carried over inside: ${carried.join(', ')}`);
        context.result({ edited: await timesOf(shell, step.disks) });
      } catch (thrown) {
        const odd =
          thrown instanceof OffshootError && ['source-changed', 'unsupported-disk'].includes(thrown.code);
        if (!step.mayFail || !odd) throw thrown;
        for (const disk of step.disks) await clearInside(shell, disk);
        context.note(`its identity could not be carried over: ${thrown.publicMessage}`);
      }
    },
    async undo({ disks }) {
      for (const disk of disks) await clearInside(shell, disk);
      return undefined;
    },
  };
}

async function carry(
  shell: Shell,
  step: CarryInsideStep,
  store: string,
  context: StepContext,
): Promise<string[]> {
  const { signal } = context;
  const log = (line: string): void => context.log(line);
  const { root } = await lookInside(shell, step.disks, { store, signal });
  const disk = step.disks.find(({ target }) => target === root?.target);
  if (root && disk) {
    const { carried } = await carryInside(shell, step.from, { disk, root }, step.patterns, {
      signal,
      log,
      first: [...cleanEdits(step.clean ?? []), ...(step.agents?.edits ?? [])],
      added: step.agents?.patterns ?? [],
    });
    if (step.setUp) await editInside(shell, disk, root, step.setUp, { signal, log });
    return carried;
  }
  throw new OffshootError('source-changed', {
    publicMessage: `The new disks of ${step.guest.name} hold no system that its identity could be carried into.`,
    remedy: 'See what the source holds now; clone it anew if it was installed anew.',
  });
}
