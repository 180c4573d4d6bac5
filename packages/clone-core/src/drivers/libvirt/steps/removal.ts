/** Steps that delete files for good. */
import type { StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Reader } from '../inspect.ts';
import { refuseUsed } from '../inspect.ts';
import type { RemoveBaseStep, RemoveFilesStep } from '../types.ts';
import { folderOf, nameOf, partial, removeEmpty } from './own-files.ts';

export function removeFilesStep(shell: Reader['shell']): StepHandler<RemoveFilesStep> {
  return {
    async *run(step, { signal }) {
      yield { note: 'deleting' };
      for (const path of step.paths) {
        await shell.remove(path);
        await shell.remove(partial(path));
      }
      for (const folder of step.folders) await removeEmpty(shell, folder, signal);
    },
    async undo(step) {
      const gone: string[] = [];
      for (const path of step.paths) if (!(await shell.stat(path))) gone.push(nameOf(path));
      if (gone.length === 0) return undefined;
      throw new OffshootError('internal', {
        publicMessage: `${gone.join(', ')} ${gone.length === 1 ? 'is' : 'are'} deleted and can’t be brought back. Delete the guest again to remove the rest.`,
      });
    },
  };
}

export function removeBaseStep(
  reader: Pick<Reader, 'shell' | 'virsh' | 'definitions' | 'store'>,
): StepHandler<RemoveBaseStep> {
  const { shell } = reader;
  return {
    async *run(step, { signal }) {
      yield { note: 'looking whether anything stands on it' };
      await refuseUsed(reader, step.label, step.files, signal);
      for (const path of step.files) await shell.remove(path);
      await removeEmpty(shell, step.folder, signal);
    },
    async undo(step) {
      const first = step.files[0];
      if (first === undefined || (await shell.stat(first))) return undefined;
      throw new OffshootError('internal', {
        publicMessage: `The base ${nameOf(folderOf(first))} is partly deleted and can’t be brought back. Remove it again to finish.`,
      });
    },
  };
}
