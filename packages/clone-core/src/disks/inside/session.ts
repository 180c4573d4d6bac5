/**
 * Opens disks as raw files that only this work sees: `qemu-storage-daemon` serves them over FUSE in a mount namespace of
 * its own, so that nothing of it is left when it ends in whatever way. All writing goes into a layer over each disk.
 */
import { OffshootError, toOffshootError } from '../../errors.ts';
import type { RunOptions, RunResult, Shell } from '../../shell/shell.ts';
import { stderrOf } from '../stderr.ts';
import { Helpers, named, Space, unshared, until } from './namespace.ts';
import type { InsideDisk } from './types.ts';

/** Makes the folder `$1` for this account's eyes alone, and an empty file for each further argument; prints the account. */
const PREPARE =
  'umask 077 && mkdir -p -- "$1" && chmod 700 -- "$1" && shift && for file; do : > "$file" || exit 1; done && id -u';
const TARGET = /^[A-Za-z0-9-]{1,30}$/;
const FORMAT = /^[a-z0-9-]{1,30}$/;
export interface Session {
  readonly shell: Shell;
  readonly signal: AbortSignal;
  /** Folder of the host for temporary files, only for root's eyes. */
  readonly scratch: string;
  /** The disk as a raw file, for programs run by `run`. */
  fileOf(target: string): string;
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
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const helpers = new Helpers(shell, stop.signal);
  try {
    const uid = await prepare(shell, asked, signal);
    await Promise.all(disks.map((disk) => makeLayer(shell, disk, scratch, signal)));
    const pidFile = `${scratch}/daemon.pid`;
    const before = unshared(uid);
    const daemon = helpers.start([
      ...before,
      'qemu-storage-daemon',
      ...disks.flatMap((disk) => exportOf(disk, asked)),
      '--pidfile',
      pidFile,
    ]);
    // It writes its id once everything is exported.
    const pid = await until(signal, async () => {
      const failed = daemon.failed();
      if (failed !== undefined)
        throw meaning(
          named(failed, ['qemu-storage-daemon'], shell),
          disks.map(({ path }) => path).join(', '),
        );
      const said = Number((await shell.readText(pidFile))?.trim());
      return said > 0 ? said : undefined;
    });
    const space = new Space(shell, signal, pid, before.includes('--user'));
    const folder = `${scratch}/mount`;
    let inner: Promise<Space> | undefined;
    const mounts = async (): Promise<Mounts> => {
      await shell.mkdir(folder);
      const held = await (inner ??= space.child(helpers));
      return {
        folder,
        run: (argv, options) => held.run(argv, options),
        serve: (argv) => held.serve(helpers, argv, folder),
      };
    };
    const session: Session = {
      shell,
      signal,
      scratch,
      fileOf: (target) => `${scratch}/${target}.raw`,
      run: (argv, options) => space.run(argv, options),
      mounts,
    };
    try {
      return await use(session);
    } finally {
      // In order, so that what a filesystem still has to write is written.
      const held = await inner?.catch(() => undefined);
      await held?.unmount(folder);
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

/** Resolves to the account's number on the host. Throws as file operations of the shell do. */
async function prepare(shell: Shell, { disks, scratch }: Asked, signal: AbortSignal): Promise<number> {
  for (const disk of disks)
    if (!disk.path.startsWith('/') || !FORMAT.test(disk.format) || !TARGET.test(disk.target))
      throw new OffshootError('invalid-input', {
        publicMessage: `The disk ${disk.target} can’t be named to QEMU.`,
        context: { disk },
      });
  const files = disks.map(({ target }) => `${scratch}/${target}.raw`);
  try {
    const { stdout } = await shell.run(['sh', '-c', PREPARE, 'sh', scratch, ...files], { signal });
    return Number(stdout.trim());
  } catch (thrown) {
    const error = toOffshootError(thrown);
    const said = stderrOf(error);
    if (/Permission denied|Read-only file system/.test(said))
      throw new OffshootError('permission', {
        publicMessage: `The folder ${scratch} can’t be made.`,
        remedy: 'Give the user that runs the worker the right to write there.',
        cause: error,
      });
    throw /No space left/.test(said) ? hostFull(scratch, error) : thrown;
  }
}

const hostFull = (scratch: string, cause: unknown): OffshootError =>
  new OffshootError('no-space', {
    publicMessage: `The host has no room for temporary files in ${scratch}.`,
    remedy: 'Free some space there, then try again.',
    retryable: true,
    cause,
  });

async function makeLayer(
  shell: Shell,
  disk: InsideDisk,
  scratch: string,
  signal: AbortSignal,
): Promise<void> {
  const layer = `${scratch}/${disk.target}.qcow2`;
  try {
    await shell.run(
      ['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', disk.path, '-F', disk.format, '--', layer],
      { signal },
    );
  } catch (thrown) {
    throw meaning(thrown, disk.path);
  }
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
  if (/^unshare: .*(not permitted|denied)|^fuse: .*permitted/im.test(said))
    return new OffshootError('permission', {
      publicMessage: 'The worker may not make a namespace of its own on that host.',
      remedy: 'Run it as root there, or allow user namespaces; a container needs CAP_SYS_ADMIN.',
      context: error.context,
      cause: error,
    });
  if (/fuse/i.test(said) && !/Could not open/.test(said))
    return new OffshootError('not-found', {
      publicMessage:
        'That host can’t serve a disk as a file: QEMU there has no FUSE, or may not open /dev/fuse.',
      remedy: 'Load the module (modprobe fuse), and give a container the device /dev/fuse.',
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
