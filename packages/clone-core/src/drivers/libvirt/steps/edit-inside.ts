/** Step: changes files inside a clone's disk before it starts for the first time. */
import { clearInside, editInside } from '../../../disks/inside/edit.ts';
import type { StepHandler } from '../../../driver.ts';
import type { Shell } from '../../../shell/shell.ts';
import type { EditInsideStep } from '../types.ts';

export function editInsideStep(shell: Shell): StepHandler<EditInsideStep> {
  return {
    async *run({ disk, root, edits }, context) {
      yield { note: 'changing files inside' };
      const { changed } = await editInside(shell, disk, root, edits, {
        signal: context.signal,
        log: (line) => context.log(line),
      });
      context.log(`Changed inside the guest: ${changed.join(', ')}`);
    },
    // The disk itself goes with the step that made it.
    async undo({ disk }) {
      await clearInside(shell, disk);
      return undefined;
    },
  };
}
