/** Folders of captures and imports that nothing goes on with: a worker that went on too long, or an undo that failed, leaves them. */
import type { Leftovers } from '../../driver.ts';
import type { Shell } from '../../shell/shell.ts';
import { removeEmpty } from './steps/own-files.ts';

const UNFINISHED = /^\.(?:capture|unpack)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

export function leftovers(shell: Shell, store: string): Leftovers {
  const bases = `${store}/bases`;
  const folders = async (): Promise<{ id: string; path: string }[]> =>
    (await shell.stat(bases))?.type === 'directory'
      ? (await shell.list(bases)).flatMap((name) => {
          const id = UNFINISHED.exec(name)?.[1];
          return id === undefined ? [] : [{ id, path: `${bases}/${name}` }];
        })
      : [];
  return {
    list: async () =>
      Promise.all(
        (await folders()).map(async ({ id, path }) => ({ id, writtenMs: await lastWrite(shell, path) })),
      ),
    async remove(id, signal) {
      for (const folder of await folders()) {
        if (folder.id !== id) continue;
        for (const name of await shell.list(folder.path)) await shell.remove(`${folder.path}/${name}`);
        await removeEmpty(shell, folder.path, signal);
      }
    },
  };
}

async function lastWrite(shell: Shell, folder: string): Promise<number> {
  const names = (await shell.stat(folder)) ? await shell.list(folder) : [];
  const stats = await Promise.all(
    [folder, ...names.map((name) => `${folder}/${name}`)].map((path) => shell.stat(path)),
  );
  return Math.max(0, ...stats.map((stat) => stat?.modifiedMs ?? 0));
}
