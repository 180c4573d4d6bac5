/** Processes of this machine, as /proc tells. */
import { readdir, readFile } from 'node:fs/promises';

export interface Process {
  pid: number;
  parent: number;
  session: number;
  /** R, S, D, T (stopped), Z (ended, not collected), … */
  state: string;
  argv: string[];
}

/** All live processes; what ends while it is read is left out. */
export async function processes(): Promise<Process[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const read = await Promise.all(pids.map((pid) => processOf(Number(pid))));
  return read.filter((one) => one !== undefined);
}

/** Undefined when there is none. Fields of stat as in proc(5); the name in it may hold blanks and brackets. */
async function processOf(pid: number): Promise<Process | undefined> {
  try {
    const [stat, line] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
    ]);
    const [state = '', parent = '', , session = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return {
      pid,
      state,
      parent: Number(parent),
      session: Number(session),
      argv: line.split('\0').filter(Boolean),
    };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Children of the process and theirs. */
export async function childrenOf(pid: number): Promise<number[]> {
  let direct: number[];
  try {
    const tasks = await readdir(`/proc/${pid}/task`);
    const lists = await Promise.all(
      tasks.map((task) => readFile(`/proc/${pid}/task/${task}/children`, 'utf8')),
    );
    direct = lists.flatMap((list) => list.split(' ').filter(Boolean).map(Number));
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
  return [...direct, ...(await Promise.all(direct.map(childrenOf))).flat()];
}

/** The command line; undefined when the process is gone. */
export async function argvOf(pid: number): Promise<string[] | undefined> {
  return (await processOf(pid))?.argv;
}

/** Sends the signal; resolves to whether there was such a process. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

export const isGone = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH');
