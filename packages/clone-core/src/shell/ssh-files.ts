/** File operations on a host over SSH: each one remote argv (GNU coreutils, findutils, util-linux). */
import { posix } from 'node:path';
import { OffshootError } from '../errors.ts';
import { fileError, temporaryPath } from './failures.ts';
import type { FileStat, Shell } from './shell.ts';

type Run = Shell['run'];
export type SshFiles = Omit<Shell, 'where' | 'run' | 'lines' | 'dial' | 'close'>;

/** What programs print under LC_ALL=C for a system error. */
const ERRNO: readonly (readonly [words: string, errno: string])[] = [
  ['No such file or directory', 'ENOENT'],
  ['Directory nonexistent', 'ENOENT'], // dash, of a redirection
  ['Not a directory', 'ENOTDIR'],
  ['Is a directory', 'EISDIR'],
  ['Permission denied', 'EACCES'],
  ['Operation not permitted', 'EPERM'],
  ['Read-only file system', 'EROFS'],
  ['No space left on device', 'ENOSPC'],
  ['Disk quota exceeded', 'EDQUOT'],
  ['Device or resource busy', 'EBUSY'],
  ['Text file busy', 'ETXTBSY'],
  ['File exists', 'EEXIST'],
  ['Directory not empty', 'ENOTEMPTY'],
];

/** `$1` temporary, `$2` path, `$3` mode, `$4` bytes, `$5` folder. The size tells a whole input from a cut connection. */
const WRITE = `rm -f -- "$1" && umask 077 && cat >"$1" && [ "$(stat -c %s -- "$1")" = "$4" ] && chmod -- "$3" "$1" && sync -- "$1" && mv -fT -- "$1" "$2" && sync -- "$5" && exit 0; rm -f -- "$1"; exit 1`;
const REMOVE = `rm -f -- "$2"; if [ -e "$1" ] || [ -L "$1" ]; then rm -- "$1" && echo removed; fi`;
const FILESYSTEM = `p=$1; while [ ! -e "$p" ] && [ "$p" != / ]; do p=$(dirname -- "$p"); done; stat -f -c '%S %b %a' -- "$p" && findmnt -n -o FSTYPE -T "$p"`;

const TYPES: Readonly<Record<number, FileStat['type']>> = {
  0o100000: 'file',
  0o040000: 'directory',
  0o060000: 'block',
};

export function sshFiles(run: Run, where: string): SshFiles {
  const onFile = async (path: string, argv: readonly string[], input?: string | Buffer): Promise<string> => {
    try {
      return (await run(argv, input === undefined ? {} : { input })).stdout;
    } catch (thrown) {
      throw fileFailure(thrown, path, where);
    }
  };
  const missingAsUndefined = async <T>(
    path: string,
    argv: readonly string[],
    read: (stdout: string) => T,
  ): Promise<T | undefined> => {
    try {
      return read(await onFile(path, argv));
    } catch (thrown) {
      if (thrown instanceof OffshootError && thrown.code === 'not-found' && 'errno' in thrown.context)
        return undefined;
      throw thrown;
    }
  };
  const folder = (path: string): string => posix.dirname(path);
  return {
    stat: (path) =>
      missingAsUndefined(path, ['stat', '-L', '-c', '%f %s %b %B %i %.3Y', '--', path], parseStat),
    readText: (path) => missingAsUndefined(path, ['cat', '--', path], (text) => text),
    async writeFile(path, content, mode = 0o644) {
      const bytes = Buffer.byteLength(content);
      await onFile(
        path,
        ['sh', '-c', WRITE, 'sh', temporaryPath(path), path, mode.toString(8), String(bytes), folder(path)],
        content,
      );
    },
    mkdir: async (path) => void (await onFile(path, ['mkdir', '-p', '--', path])),
    async rename(from, to) {
      await onFile(from, ['mv', '-fT', '--', from, to]);
      await onFile(to, ['sync', '--', ...new Set([folder(to), folder(from)])]);
    },
    remove: async (path) =>
      (await onFile(path, ['sh', '-c', REMOVE, 'sh', path, temporaryPath(path)])) !== '',
    sync: async (path) => void (await onFile(path, ['sync', '--', path, folder(path)])),
    chmod: async (path, mode) => void (await onFile(path, ['chmod', '--', mode.toString(8), path])),
    async list(directory) {
      const names = await onFile(directory, [
        'find',
        '-H',
        directory,
        '-mindepth',
        '1',
        '-maxdepth',
        '1',
        '-printf',
        '%f\\0',
      ]);
      return names.split('\0').slice(0, -1);
    },
    async filesystem(path) {
      const [numbers = '', type = 'unknown'] = (await onFile(path, ['sh', '-c', FILESYSTEM, 'sh', path]))
        .trim()
        .split('\n');
      const [size = 0, total = 0, free = 0] = numbers.split(' ').map(Number);
      return { type, totalBytes: size * total, freeBytes: size * free };
    },
  };
}

function fileFailure(thrown: unknown, path: string, where: string): unknown {
  if (!(thrown instanceof OffshootError) || thrown.code !== 'command-failed') return thrown;
  const stderr = String(thrown.context['stderr']);
  const errno = ERRNO.find(([words]) => stderr.includes(`: ${words}`))?.[1];
  return errno === undefined ? thrown : fileError(errno, path, where, thrown);
}

function parseStat(line: string): FileStat {
  const [hex = '', size, blocks, blockSize, inode, seconds] = line.trim().split(' ');
  const mode = Number.parseInt(hex, 16);
  return {
    type: TYPES[mode & 0o170000] ?? 'other',
    size: Number(size),
    allocated: Number(blocks) * Number(blockSize),
    mode: mode & 0o7777,
    inode: Number(inode),
    modifiedMs: Math.floor(Number(seconds) * 1000),
  };
}
