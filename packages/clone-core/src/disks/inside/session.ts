/**
 * Opens disks as raw files that only this work sees: `qemu-storage-daemon` serves them over FUSE in a mount namespace of
 * its own, so that nothing of it is left when it ends in whatever way. All writing goes into a layer over each disk.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { OffshootError, toOffshootError } from '../../errors.ts';
import { programMissing } from '../../shell/failures.ts';
import type { RunOptions, RunResult, Shell } from '../../shell/shell.ts';
import { stderrOf } from '../stderr.ts';
import type { InsideDisk } from './types.ts';

/** The daemon serves within this, milliseconds. */
const READY_MS = 20_000;
const POLL_MS = 5;
const FORMAT = /^[a-z0-9-]{1,30}$/;
/** Programs for filesystems are in /sbin, which is not on everyone's PATH. */
const SBIN = '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin';
/** A process that only holds its namespace; prints its id. */
const HOLD = 'echo $$; exec sleep infinity';

export interface Session {
  readonly shell: Shell;
  readonly signal: AbortSignal;
  /** Folder of the host for temporary files, only for root's eyes. */
  readonly scratch: string;
  /** The disk as a raw file, for programs run by `run`. */
  fileOf(target: string): string;
  /** Layer that holds what was written, on the host. */
  layerOf(target: string): string;
  /** Runs a program that sees the disks. Dies with the worker. */
  run(argv: readonly string[], options?: RunOptions): Promise<RunResult>;
  /**
   * A second namespace, with a folder to mount on. A filesystem of the kernel must be mounted there and not in the
   * daemon's own: a daemon that dies would wait for the unmounting, which waits for the daemon.
   */
  mounts(): Promise<Mounts>;
}

export interface Mounts {
  folder: string;
  run: Session['run'];
  /** A program that mounts a filesystem of its own on the folder and serves it: resolves once it is mounted. */
  serve(argv: readonly string[]): Promise<void>;
}

export interface Asked {
  disks: readonly InsideDisk[];
  /** Folder that is made; the caller removes it with all it holds. */
  scratch: string;
  /** Someone may have them open, for writing too: what is read may then be torn. Otherwise nobody can open them for writing meanwhile. */
  shared: boolean;
  /** Shows only this part of each disk, bytes. */
  window?: { offset: number; size: number };
}

/** Throws `busy` when somebody has a disk open for writing and it is not shared, `not-found` when QEMU's daemon is missing. */
export async function withDisks<T>(
  shell: Shell,
  asked: Asked,
  signal: AbortSignal,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const { scratch, disks } = asked;
  await shell.mkdir(scratch);
  await shell.chmod(scratch, 0o700);
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const helpers = new Helpers(shell, stop.signal);
  try {
    for (const disk of disks) await makeLayer(shell, disk, scratch, signal);
    const pidFile = `${scratch}/daemon.pid`;
    const daemon = helpers.start([
      'unshare',
      '--mount',
      'qemu-storage-daemon',
      ...disks.flatMap((disk) => exportOf(disk, asked)),
      '--pidfile',
      pidFile,
    ]);
    const pid = await served(shell, pidFile, daemon, disks.map(({ path }) => path).join(', '), signal);
    const run = inNamespace(shell, pid, signal);
    let mounts: Promise<Mounts & { pid: number }> | undefined;
    const session: Session = {
      shell,
      signal,
      scratch,
      fileOf: (target) => `${scratch}/${target}.raw`,
      layerOf: (target) => `${scratch}/${target}.qcow2`,
      run,
      mounts: () => (mounts ??= holdMounts(helpers, pid, scratch, shell, signal)),
    };
    try {
      return await use(session);
    } finally {
      // In order, so that what a filesystem still has to write is written.
      const held = await mounts?.catch(() => undefined);
      if (held) await unmounted(shell, held.pid, held.folder);
    }
  } catch (thrown) {
    signal.throwIfAborted();
    throw thrown;
  } finally {
    signal.removeEventListener('abort', onAbort);
    stop.abort();
    await helpers.ended();
  }
}

/** Long-running children: all end with the session. */
class Helpers {
  readonly #all: Promise<unknown>[] = [];
  constructor(
    readonly shell: Shell,
    readonly signal: AbortSignal,
  ) {}

  start(argv: readonly string[]): { first: Promise<string | undefined>; failed: () => unknown } {
    const lines = this.shell.lines(argv, { signal: this.signal })[Symbol.asyncIterator]();
    let failure: unknown;
    const first = lines.next().then((line) => (line.done === true ? undefined : line.value));
    const whole = async (): Promise<void> => {
      try {
        await first;
        while ((await lines.next()).done !== true);
        failure ??= new Error(`${argv[0] ?? ''} ended`);
      } catch (thrown) {
        failure ??= thrown;
      }
    };
    this.#all.push(whole());
    return { first: first.catch(() => undefined), failed: () => failure };
  }

  async ended(): Promise<void> {
    await Promise.all(this.#all);
  }
}

async function makeLayer(
  shell: Shell,
  disk: InsideDisk,
  scratch: string,
  signal: AbortSignal,
): Promise<void> {
  if (!disk.path.startsWith('/') || !FORMAT.test(disk.format) || !FORMAT.test(disk.target.toLowerCase()))
    throw new OffshootError('invalid-input', {
      publicMessage: `The disk ${disk.target} can’t be named to QEMU.`,
      context: { disk },
    });
  const layer = `${scratch}/${disk.target}.qcow2`;
  try {
    await shell.run(
      ['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', disk.path, '-F', disk.format, '--', layer],
      { signal },
    );
  } catch (thrown) {
    throw meaning(thrown, disk.path);
  }
  await shell.writeFile(`${scratch}/${disk.target}.raw`, '', 0o600);
}

function exportOf(disk: InsideDisk, { scratch, shared, window }: Asked): string[] {
  const layer = {
    driver: 'qcow2',
    // Flushes of a layer that is thrown away, or synced as a whole before it counts, only cost time.
    cache: { 'no-flush': true },
    file: { driver: 'file', filename: `${scratch}/${disk.target}.qcow2`, cache: { 'no-flush': true } },
    backing: {
      driver: disk.format,
      'read-only': true,
      'force-share': shared,
      file: { driver: 'file', filename: disk.path },
    },
  };
  const node = window ? { driver: 'raw', ...window, file: layer } : layer;
  const name = `disk-${disk.target}`;
  return [
    '--blockdev',
    JSON.stringify({ ...node, 'node-name': name }),
    '--export',
    JSON.stringify({
      type: 'fuse',
      id: `export-${disk.target}`,
      'node-name': name,
      mountpoint: `${scratch}/${disk.target}.raw`,
      writable: true,
      'allow-other': 'off',
    }),
  ];
}

/** The daemon writes its id once everything is exported. */
async function served(
  shell: Shell,
  pidFile: string,
  daemon: { failed: () => unknown },
  paths: string,
  signal: AbortSignal,
): Promise<number> {
  return until(signal, async () => {
    const failed = daemon.failed();
    if (failed !== undefined) throw meaning(named(failed, ['qemu-storage-daemon'], shell), paths);
    const pid = Number((await shell.readText(pidFile))?.trim());
    return pid > 0 ? pid : undefined;
  });
}

/** Asks until there is an answer. Throws `timeout` after READY_MS. */
async function until<T>(signal: AbortSignal, ask: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + READY_MS;
  for (;;) {
    signal.throwIfAborted();
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() >= deadline)
      throw new OffshootError('timeout', {
        publicMessage: 'The program that serves the disks did not begin to.',
        retryable: true,
      });
    await sleep(POLL_MS);
  }
}

function inNamespace(shell: Shell, pid: number, signal: AbortSignal): Session['run'] {
  return async (argv, options) => {
    try {
      return await shell.run(['nsenter', `--mount=/proc/${pid}/ns/mnt`, '--', ...argv], {
        signal,
        dieWithParent: true,
        env: { PATH: SBIN },
        ...options,
      });
    } catch (thrown) {
      throw named(thrown, argv, shell);
    }
  };
}

/** A program that `nsenter` or `env` did not find. */
function named(thrown: unknown, [program = '']: readonly string[], shell: Shell): unknown {
  return /^((nsenter|unshare): failed to execute|env:) .*: No such file/m.test(stderrOf(thrown))
    ? programMissing(program, shell.where)
    : thrown;
}

async function holdMounts(
  helpers: Helpers,
  daemon: number,
  scratch: string,
  shell: Shell,
  signal: AbortSignal,
): Promise<Mounts & { pid: number }> {
  const folder = `${scratch}/mount`;
  await shell.mkdir(folder);
  const within = (pid: number): string[] => ['nsenter', `--mount=/proc/${pid}/ns/mnt`, '--'];
  const holder = helpers.start([...within(daemon), 'unshare', '--mount', 'sh', '-c', HOLD]);
  const pid = Number(await holder.first);
  if (!(pid > 0)) throw toOffshootError(holder.failed());
  return {
    folder,
    pid,
    run: inNamespace(shell, pid, signal),
    serve: async (argv) => {
      const server = helpers.start([...within(pid), 'env', `PATH=${SBIN}`, ...argv]);
      await until(signal, async () => {
        const failed = server.failed();
        if (failed !== undefined) throw named(failed, argv, shell);
        const mounted = await shell.readText(`/proc/${pid}/mountinfo`);
        return mounted?.includes(` ${escaped(folder)} `) === true ? true : undefined;
      });
    },
  };
}

/** As proc(5) writes paths in mountinfo. */
const escaped = (path: string): string =>
  path.replaceAll(/[ \t\n\\]/g, (one) => `\\${one.charCodeAt(0).toString(8).padStart(3, '0')}`);

/** Gets no signal: it is done after an abort too. */
async function unmounted(shell: Shell, pid: number, folder: string): Promise<void> {
  // 32: nothing is mounted there.
  await shell.run(['nsenter', `--mount=/proc/${pid}/ns/mnt`, '--', 'umount', '--', folder], {
    okCodes: [0, 32],
  });
}

function meaning(thrown: unknown, path: string): OffshootError {
  const error = toOffshootError(thrown);
  const said = stderrOf(error);
  if (/Failed to get .* lock|another process/i.test(said))
    return new OffshootError('busy', {
      publicMessage: `The disk ${path} is in use, so its files can’t be looked at or changed.`,
      remedy: 'Stop the guest that uses it, then try again.',
      retryable: true,
      context: error.context,
      cause: error,
    });
  if (/encrypt\.key-secret|'key-secret'/.test(said))
    return new OffshootError('source-encrypted', {
      publicMessage: `The disk ${path} is encrypted.`,
      remedy: 'Its files can’t be looked at or changed from outside.',
      context: error.context,
      cause: error,
    });
  if (/No such file|Could not open|Could not read|not in .* format/i.test(said))
    return new OffshootError('source-unreadable', {
      publicMessage: `The disk ${path} can’t be opened.`,
      remedy: 'See that its file and those it stands on are there: qemu-img info --backing-chain.',
      context: error.context,
      cause: error,
    });
  return error;
}
