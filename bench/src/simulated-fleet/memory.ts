/** Memory of processes over time, from /proc. */
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { median, round } from '../result.ts';

const MIB = 1024 ** 2;

export interface MemoryCourse {
  /** MiB: median of the second and of the last quarter of the samples, and the highest. */
  early: number;
  late: number;
  highest: number;
  samples: number;
}

/** Samples the resident memory of a process until the signal aborts. */
export async function memoryCourse(pid: number, everyMs: number, signal: AbortSignal): Promise<MemoryCourse> {
  const samples: number[] = [];
  while (!signal.aborted) {
    samples.push(await residentBytes(pid));
    await sleep(everyMs, undefined, { signal }).catch(() => undefined);
  }
  const quarter = Math.max(1, Math.floor(samples.length / 4));
  return {
    early: round(median(samples.slice(quarter, quarter * 2)) / MIB, 1),
    late: round(median(samples.slice(-quarter)) / MIB, 1),
    highest: round(Math.max(...samples) / MIB, 1),
    samples: samples.length,
  };
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1024;
}

/** Child of a process whose command line or title matches. */
export async function childLike(parent: number, pattern: RegExp): Promise<number> {
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const pid = Number(entry);
    const [stat, command] = await Promise.all(
      ['stat', 'cmdline'].map((file) =>
        readFile(`/proc/${pid}/${file}`, 'utf8').catch((error: NodeJS.ErrnoException) => {
          // It ended meanwhile.
          if (error.code === 'ENOENT' || error.code === 'ESRCH') return '';
          throw error;
        }),
      ),
    );
    const ppid = Number(/^\d+ \(.*\) \S (\d+)/s.exec(stat ?? '')?.[1]);
    if (ppid === parent && pattern.test(command ?? '')) return pid;
  }
  throw new Error(`process ${parent} has no child like ${pattern}`);
}
