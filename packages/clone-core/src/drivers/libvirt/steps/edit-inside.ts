/** Step: changes files inside a clone's disk before it starts for the first time. */
import { clearInside, editInside } from '../../../disks/inside/edit.ts';
import type { StepHandler } from '../../../driver.ts';
import type { Shell } from '../../../shell/shell.ts';
import type { EditInsideStep } from '../types.ts';

/** When the files were last written to, ms. */
export async function timesOf(
  shell: Shell,
  disks: readonly { path: string }[],
): Promise<Record<string, number>> {
  const times = await Promise.all(disks.map(async ({ path }) => [path, await shell.stat(path)] as const));
  return Object.fromEntries(times.flatMap(([path, stat]) => (stat ? [[path, stat.modifiedMs]] : [])));
}

export function editInsideStep(shell: Shell): StepHandler<EditInsideStep> {
  return {
    async *run({ disk, root, edits }, context) {
      yield { note: 'changing files inside' };
      const { changed } = await editInside(shell, disk, root, edits, {
        signal: context.signal,
        log: (line) => context.log(line),
      });
      context.log(`Changed inside the guest: ${changed.join(', ')}`);
      context.result({ edited: await timesOf(shell, [disk]) });
    },
    // The disk itself goes with the step that made it.
    async undo({ disk }) {
      await clearInside(shell, disk);
      return undefined;
    },
  };
}
