/** Copies of a disk with `qemu-img convert`, tuned and measured. */
import { OffshootError } from '../errors.ts';
import { stderrOf } from './stderr.ts';
import type { Shell } from '../shell/shell.ts';

export interface ConvertJob {
  from: string;
  fromFormat: string;
  /** Made or overwritten; qcow2. */
  to: string;
  /** Bytes allocated in the source: what progress is counted in. */
  bytes: number;
}

/**
 * Direct I/O keeps a cold copy from waiting for the page cache twice; 16 coroutines keep the disk busy; `-S 64k` finds
 * zeroes that are allocated. Measured ways and figures: docs of the benchmark `full-clone`.
 */
const TUNED = ['-m', '16', '-W', '-S', '64k'];

/**
 * Copies; the result is on disk when this resolves, except for the directory entry. The source is opened read-only and
 * with QEMU's own lock: a guest that runs on it makes this fail with `busy`. Throws `no-space` when the store fills.
 */
export async function convert(
  shell: Shell,
  job: ConvertJob,
  options: { signal: AbortSignal; onBytes: (done: number) => void; log: (line: string) => void },
): Promise<void> {
  try {
    await attempt(shell, job, ['-t', 'none', '-T', 'none'], options);
  } catch (thrown) {
    if (!refusesDirect(thrown)) throw meaning(thrown, job);
    options.log('This filesystem refuses direct I/O: copying through the page cache.');
    try {
      await attempt(shell, job, ['-t', 'writeback'], options);
    } catch (again) {
      throw meaning(again, job);
    }
  }
}

async function attempt(
  shell: Shell,
  job: ConvertJob,
  cache: readonly string[],
  { signal, onBytes }: { signal: AbortSignal; onBytes: (done: number) => void },
): Promise<void> {
  const argv = [
    'qemu-img',
    'convert',
    '-p',
    ...TUNED,
    ...cache,
    '-f',
    job.fromFormat,
    '-O',
    'qcow2',
    '--',
    job.from,
    job.to,
  ];
  await shell.run(argv, {
    signal,
    timeoutMs: 0,
    dieWithParent: true,
    onStdout: (chunk) => {
      const percent = lastPercent(chunk);
      if (percent !== undefined) onBytes(Math.round((percent / 100) * job.bytes));
    },
  });
}

/** From `qemu-img -p`: "    (12.34/100%)\r". */
export function lastPercent(chunk: string): number | undefined {
  const all = [...chunk.matchAll(/\((\d+(?:\.\d+)?)\/100%\)/g)];
  const last = all.at(-1)?.[1];
  return last === undefined ? undefined : Number(last);
}

const refusesDirect = (thrown: unknown): boolean =>
  /O_DIRECT|direct I\/O|Could not (open|create).*Invalid argument/i.test(stderrOf(thrown));

function meaning(thrown: unknown, job: ConvertJob): unknown {
  const said = stderrOf(thrown);
  if (/No space left on device|Disk quota exceeded/i.test(said)) {
    return new OffshootError('no-space', {
      publicMessage: 'The store filled up while the disk was copied.',
      remedy: 'Free space on the store, then retry.',
      retryable: true,
      context: { ...job, stderr: said },
      cause: thrown,
    });
  }
  if (/Failed to get .* lock|Is another process using the image/i.test(said)) {
    return new OffshootError('source-changed', {
      publicMessage: 'The source was started, or another program opened its disk, so it could not be copied.',
      remedy: 'Stop the source and retry, or clone it while it runs.',
      retryable: true,
      context: { ...job, stderr: said },
      cause: thrown,
    });
  }
  return thrown;
}
