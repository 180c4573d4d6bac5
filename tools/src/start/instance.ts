/** One start per data folder, and a file that says where it runs. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OffshootError } from '@offshoot/clone-core/errors';
import { z } from 'zod';

const schema = z.object({
  pid: z.number(),
  url: z.string().optional(),
  databaseUrl: z.string().optional(),
  redisUrl: z.string().optional(),
});
export type RunFile = z.infer<typeof schema>;

const pathOf = (data: string): string => join(data, 'run.json');

/** Takes the folder. @throws OffshootError `in-use` while another start has it, saying where that one runs. */
export async function takeFolder(
  data: string,
): Promise<{ publish(run: Omit<RunFile, 'pid'>): Promise<void>; release(): Promise<void> }> {
  const path = pathOf(data);
  const other = await readRun(data);
  if (other && other.pid !== process.pid && (await isOurs(other.pid))) {
    throw new OffshootError('in-use', {
      publicMessage: `Offshoot already runs with this data folder (${data})${other.url === undefined ? '' : ` at ${other.url}`}, process ${other.pid}.`,
      remedy: 'Use that one, stop it with Ctrl-C, or set OFFSHOOT_DATA to another folder.',
    });
  }
  const write = (run: RunFile): Promise<void> => writeFile(path, `${JSON.stringify(run)}\n`, { mode: 0o600 });
  await write({ pid: process.pid });
  return {
    publish: (run) => write({ pid: process.pid, ...run }),
    release: () => rm(path, { force: true }),
  };
}

/** Where the start of this data folder runs; undefined when none left a file. */
export async function readRun(data: string): Promise<RunFile | undefined> {
  try {
    const parsed = schema.safeParse(JSON.parse(await readFile(pathOf(data), 'utf8')));
    return parsed.success ? parsed.data : undefined;
  } catch (error) {
    if (
      error instanceof SyntaxError ||
      (error instanceof Error && 'code' in error && error.code === 'ENOENT')
    )
      return undefined;
    throw error;
  }
}

async function isOurs(pid: number): Promise<boolean> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).includes('start/main');
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return false;
    throw error;
  }
}
