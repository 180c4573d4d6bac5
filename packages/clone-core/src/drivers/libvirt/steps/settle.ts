/** Step: what no longer has to be put back to goes. */
import { mergeDown, standOn } from '../../../disks/layers.ts';
import type { StepContext, StepHandler } from '../../../driver.ts';
import { toOffshootError } from '../../../errors.ts';
import type { Shell } from '../../../shell/shell.ts';
import { removeRecord } from '../records.ts';
import { goneAfter } from '../settle.ts';
import type { SettleAction, SettleStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';
import { together } from './together.ts';

/** One that fails for a passing reason is tried again at once. */
const RECORD_ATTEMPTS = 3;

/**
 * At every moment all other generations read the same as before. What was to be done is done by now, and what an undo
 * would go back to may be gone: what can't be removed stays, as the guest's.
 */
export function settleStep(shell: Shell, virsh: Virsh): StepHandler<SettleStep> {
  return {
    async *run(step, context) {
      yield { note: 'merging and deleting old states' };
      const targets = [...new Set(step.actions.map(({ target }) => target))];
      const left = await together([
        ...targets.map((target) =>
          settleDisk(
            shell,
            step.actions.filter((action) => action.target === target),
            context,
          ),
        ),
        removeRecords(shell, virsh, step, context),
      ]);
      if (left.flat().length > 0) context.result({ left: left.flat() });
    },
    undo: () => Promise.resolve(undefined),
  };
}

/** Resolves to the files that could not be removed. */
async function settleDisk(
  shell: Shell,
  actions: readonly SettleAction[],
  context: StepContext,
): Promise<string[]> {
  for (const [index, action] of actions.entries()) {
    try {
      await settle(shell, action, context.signal);
    } catch (thrown) {
      const error = toOffshootError(thrown);
      if (context.signal.aborted || error.code === 'host-unreachable') throw error;
      context.log(`Files of older states stay until the next refresh: ${error.publicMessage}`);
      context.note('not all of it: older files stay until the next refresh');
      // A later action may build on this one.
      return actions.slice(index).map(goneAfter);
    }
  }
  return [];
}

async function settle(shell: Shell, action: SettleAction, signal: AbortSignal): Promise<void> {
  if (action.do === 'remove') {
    await shell.remove(action.path);
    return;
  }
  if (action.do === 'fold') {
    if (!(await shell.stat(action.below))) return; // done by an earlier run
    await mergeDown(shell, action.layer, signal);
    // Both show the same now, so whoever opens the layer meanwhile reads the same of either.
    await shell.rename(action.below, action.layer);
    return;
  }
  if (!(await shell.stat(action.layer))) return; // done by an earlier run
  await mergeDown(shell, action.layer, signal);
  const below = { path: action.below, format: action.belowFormat };
  await together(
    action.dependents.map(async (each) => {
      if (await shell.stat(each)) await standOn(shell, each, below, signal);
    }),
  );
  await shell.remove(action.layer);
}

/**
 * An old record costs the source a little memory: a refresh that is done is not given up for it. A clone that is about to be
 * deleted has no next refresh.
 */
async function removeRecords(
  shell: Shell,
  virsh: Virsh,
  { source, records, lastChance, actions }: SettleStep,
  context: StepContext,
): Promise<string[]> {
  if (!source) return [];
  for (const name of records) {
    for (let attempt = 1; ; attempt++) {
      try {
        await removeRecord(shell, virsh, source, name, context.signal);
        break;
      } catch (thrown) {
        const error = toOffshootError(thrown);
        if (context.signal.aborted || error.code === 'host-unreachable') throw error;
        // Files go at the same time: an undo would take the rest.
        if (error.code === 'internal' && actions.length === 0) throw error;
        // A virsh that was killed says nothing of the record.
        if (error.retryable && attempt < RECORD_ATTEMPTS) continue;
        if (error.retryable && lastChance === true) throw error;
        context.log(`The change record ${name} stays at ${source.name}: ${error.publicMessage}`);
        break;
      }
    }
  }
  return [];
}
