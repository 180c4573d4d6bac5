/** How failures of commands and files become errors people can act on. Shared by the local and the SSH shell. */
import { OffshootError, type ErrorCode } from '../errors.ts';

/** Most of a program's output that is kept, bytes. */
export const MAX_COLLECTED = 16 * 1024 * 1024;
/** Most of a program's standard error that is kept (its end), characters. */
const MAX_STDERR = 64 * 1024;
/** Between TERM and KILL, milliseconds. */
export const GRACE_MS = 1000;
export const DEFAULT_TIMEOUT_MS = 60_000;

/** Debian packages of programs that drivers run; a remedy names them. */
const PACKAGES: Readonly<Record<string, string>> = {
  virsh: 'libvirt-clients',
  'virt-install': 'virtinst',
  'qemu-img': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  nbdcopy: 'libnbd-bin',
  'qemu-storage-daemon': 'qemu-system-common',
  debugfs: 'e2fsprogs',
  e2fsck: 'e2fsprogs',
  sfdisk: 'fdisk',
  'ntfs-3g': 'ntfs-3g',
  setpriv: 'util-linux',
  nsenter: 'util-linux',
  unshare: 'util-linux',
  blkid: 'util-linux',
  findmnt: 'util-linux',
  'cloud-localds': 'cloud-image-utils',
  xorriso: 'xorriso',
};

/** Why an abort came, as an Error to reject with. */
export function reasonOf(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  if (reason instanceof OffshootError) return reason;
  if (reason instanceof Error && reason.name !== 'AbortError') return reason;
  return new OffshootError('cancelled', { publicMessage: 'It was cancelled.', cause: reason });
}

export function programMissing(program: string, where: string): OffshootError {
  const name = program.slice(program.lastIndexOf('/') + 1);
  const packageName = PACKAGES[name];
  return new OffshootError('not-found', {
    publicMessage: `The program ${name} is not installed on ${where}.`,
    remedy: packageName
      ? `Install the package ${packageName} there (apt-get install ${packageName}).`
      : `Install ${name} there, or put it on the PATH of the worker.`,
    context: { program },
  });
}

export interface FailedCommand {
  argv: readonly string[];
  where: string;
  code?: number | undefined;
  signal?: string | undefined;
  stderr: string;
}

/** `command-failed`: the last line of stderr is what the user sees, everything is in the context. */
export function commandFailed(failed: FailedCommand): OffshootError {
  const program = failed.argv[0] ?? '';
  const name = program.slice(program.lastIndexOf('/') + 1);
  const how = failed.signal
    ? `was ended by ${failed.signal}`
    : `failed (exit code ${failed.code ?? 'unknown'})`;
  const said = failed.stderr.trim().split('\n').at(-1)?.slice(0, 500) ?? '';
  return new OffshootError('command-failed', {
    retryable: failed.signal !== undefined,
    publicMessage: `${name} ${how} on ${failed.where}${said ? `: ${said}` : '.'}`,
    context: { argv: [...failed.argv], code: failed.code, signal: failed.signal, stderr: failed.stderr },
  });
}

export function commandTimedOut(argv: readonly string[], where: string, ms: number): OffshootError {
  return new OffshootError('timeout', {
    publicMessage: `${argv[0] ?? ''} on ${where} did not finish within ${ms / 1000} s and was ended.`,
    retryable: true,
    context: { argv: [...argv], timeoutMs: ms },
  });
}

export function tooMuchOutput(argv: readonly string[], where: string): OffshootError {
  return new OffshootError('command-failed', {
    publicMessage: `${argv[0] ?? ''} on ${where} wrote more than ${MAX_COLLECTED / 1024 / 1024} MiB and was ended.`,
    context: { argv: [...argv] },
  });
}

/** Refuses what no process can be given: an empty argv or a NUL byte. */
export function checkArgv(argv: readonly string[]): void {
  if (argv.length > 0 && argv[0] !== '' && !argv.some((word) => word.includes('\0'))) return;
  throw new OffshootError('invalid-input', {
    publicMessage: 'A command line is empty or holds a NUL byte.',
    context: { argv: [...argv] },
  });
}

const FILE_ERRORS: Readonly<Record<string, { code: ErrorCode; say: string; remedy?: string }>> = {
  ENOENT: { code: 'not-found', say: 'There is no' },
  ENOTDIR: { code: 'not-found', say: 'There is no' },
  EACCES: { code: 'permission', say: 'No permission for', remedy: 'Give the worker’s user access to it.' },
  EPERM: { code: 'permission', say: 'No permission for', remedy: 'Give the worker’s user access to it.' },
  EROFS: { code: 'permission', say: 'The filesystem is read-only at', remedy: 'Mount it writable.' },
  ENOSPC: {
    code: 'no-space',
    say: 'No space is left for',
    remedy: 'Free space on that filesystem, then retry.',
  },
  EDQUOT: {
    code: 'no-space',
    say: 'The quota is used up for',
    remedy: 'Raise the quota or free space, then retry.',
  },
  EEXIST: { code: 'in-use', say: 'There already is' },
  EBUSY: { code: 'busy', say: 'In use by something else:' },
  ETXTBSY: { code: 'busy', say: 'In use by something else:' },
};

/** Words for a failed file operation, from the system's error code. */
export function fileError(errno: string, path: string, where: string, cause: unknown): OffshootError {
  const known = FILE_ERRORS[errno] ?? {
    code: 'command-failed' as const,
    say: `The system says ${errno || 'no'} to`,
  };
  return new OffshootError(known.code, {
    publicMessage: `${known.say} ${path} on ${where}.`,
    ...(known.remedy ? { remedy: known.remedy } : {}),
    retryable: known.code === 'busy',
    cause,
    context: { path, errno },
  });
}

/** Collects the end of a text that may be long. */
export class Tail {
  private kept = '';

  add(chunk: string): void {
    this.kept = (this.kept + chunk).slice(-MAX_STDERR);
  }

  get text(): string {
    return this.kept;
  }
}

/** Where `writeFile` writes before it renames; one name per path, so that a later run or `remove` clears a cut one. */
export const temporaryPath = (path: string): string => `${path}.offshoot-writing`;

/** Words in which `setpriv` reports that the program itself can't be run. */
const SETPRIV_FAILED = /^setpriv: failed to execute (.*): (No such file or directory|Permission denied)\s*$/;

/** With `dieWithParent`, a missing program shows only in setpriv's words. */
export function setprivFailure(stderr: string, where: string): OffshootError | undefined {
  const match = SETPRIV_FAILED.exec(stderr);
  const [, program = '', why] = match ?? [];
  if (!match) return undefined;
  return why === 'Permission denied'
    ? fileError('EACCES', program, where, undefined)
    : programMissing(program, where);
}
