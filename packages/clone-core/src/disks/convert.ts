/** Copies of a disk with `qemu-img convert`, tuned and measured. */
import { OffshootError } from '../errors.ts';
import type { IoMode } from './io-mode.ts';
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
 * Past the page cache, 16 requests keep the disk busy; `-S 64k` leaves out zeroes by the cluster. Writes stay in order
 * (no `-W`), so that the same content always gives the same file and a base has one digest.
 */
const DIRECT = ['-m', '16', '-S', '64k', '-t', 'none', '-T', 'none'];
/** Through it, the kernel reads ahead and writes behind best in order; the one sync comes from the caller, at the end. */
const CACHED = ['-m', '16', '-S', '64k', '-t', 'unsafe'];

export interface ConvertOptions {
  signal: AbortSignal;
  onBytes: (done: number) => void;
  log: (line: string) => void;
  mode: IoMode;
}

/**
 * Copies. In `cached` mode the caller syncs; in `direct` mode the data is on disk when this resolves. The source is
 * opened read-only and with QEMU's own lock: a guest that runs on it makes this fail with `source-changed`. Resolves to the
 * mode it really used. Throws `no-space` when the store fills.
 */
export async function convert(shell: Shell, job: ConvertJob, options: ConvertOptions): Promise<IoMode> {
  try {
    await attempt(shell, job, options.mode === 'direct' ? DIRECT : CACHED, options);
    return options.mode;
  } catch (thrown) {
    if (options.mode === 'cached' || !refusesDirect(thrown)) throw meaning(thrown, job);
  }
  options.log('This filesystem refuses direct I/O: copying through the page cache.');
  return convert(shell, job, { ...options, mode: 'cached' });
}

async function attempt(
  shell: Shell,
  job: ConvertJob,
  flags: readonly string[],
  { signal, onBytes }: Pick<ConvertOptions, 'signal' | 'onBytes'>,
): Promise<void> {
  const argv = [
    'qemu-img',
    'convert',
    '-p',
    ...flags,
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
