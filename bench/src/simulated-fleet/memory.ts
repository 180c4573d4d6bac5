/** Memory of processes over time: resident, and what is in use on the heap after a collection. */
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median, round } from '../result.ts';

const MIB = 1024 ** 2;

/** Bytes. */
export interface MemoryUse {
  rss: number;
  heapUsed: number;
}

export interface MemoryCourse {
  /** MiB: medians of the first and of the last third of the samples, and the highest. */
  early: number;
  late: number;
  highest: number;
  /** MiB a step: the median of the slopes between all pairs of samples of the last two thirds (Theil and Sen). */
  slope: number;
  samples: number;
}

/** Of samples that were taken at equal steps. @throws of none */
export function courseOf(bytes: readonly number[]): MemoryCourse {
  const third = Math.max(1, Math.floor(bytes.length / 3));
  const settled = bytes.slice(-2 * third);
  const slopes = settled.flatMap((from, a) =>
    settled.slice(a + 1).map((to, beyond) => (to - from) / (beyond + 1)),
  );
  return {
    early: round(median(bytes.slice(0, third)) / MIB, 1),
    late: round(median(bytes.slice(-third)) / MIB, 1),
    highest: round(Math.max(...bytes) / MIB, 1),
    slope: round(slopes.length === 0 ? 0 : median(slopes) / MIB, 3),
    samples: bytes.length,
  };
}

/** The environment of a portal whose web can be asked for its memory. */
export const memoryEnvironment = (data: string): NodeJS.ProcessEnv => ({
  OFFSHOOT_BENCH_MEMORY: socketOf(data),
  NODE_OPTIONS: `--import ${fileURLToPath(new URL('./web-memory.mjs', import.meta.url))}`,
});

const socketOf = (data: string): string => join(data, 'memory.sock');

/** Of the web of the portal with this data folder, after a collection. With a file's path it also writes a heap snapshot there. */
export async function webMemory(data: string, snapshot?: string): Promise<MemoryUse> {
  const socket = connect(socketOf(data));
  await once(socket, 'connect');
  socket.write(snapshot ?? 'memory');
  let answer = '';
  for await (const chunk of socket) answer += String(chunk);
  return JSON.parse(answer) as MemoryUse;
}

/** Seconds of processor time that a process has used, by its line in /proc. */
function secondsOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // utime and stime, in the 100ths of a second that Linux shows everywhere (proc(5)).
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Processor seconds used so far by what the process of `npm start` has started, and by the workers' process. */
export async function processorSeconds(start: number, workers: number): Promise<Record<string, number>> {
  const processes = new Map<number, { parent: number; name: string; seconds: number }>();
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const [stat = '', command = ''] = await Promise.all(['stat', 'cmdline'].map((file) => read(entry, file)));
    if (stat === '') continue;
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    const name = /postgres|redis|next/.exec(command)?.[0] ?? 'other';
    processes.set(Number(entry), { parent, name, seconds: secondsOf(stat) });
  }
  const used: Record<string, number> = { workers: processes.get(workers)?.seconds ?? 0 };
  for (const [pid, { name, seconds }] of processes) {
    let at: number | undefined = pid;
    while (at !== undefined && at !== start) at = processes.get(at)?.parent;
    if (at === start) used[name] = (used[name] ?? 0) + seconds;
  }
  return used;
}

/** A file of /proc; empty when the process ended meanwhile. */
async function read(pid: string, file: string): Promise<string> {
  try {
    return await readFile(`/proc/${pid}/${file}`, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ESRCH') return '';
    throw error;
  }
}
