/** File operations on this machine, for the local shell. */
import { constants, promises as fs, type Stats } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileError, MAX_COLLECTED, temporaryPath } from './failures.ts';
import type { FileStat, Shell } from './shell.ts';

export type LocalFiles = Omit<Shell, 'run' | 'lines' | 'dial' | 'close'>;

const WHERE = 'this machine';

/** File operations of `Shell` on this machine. */
export function localFiles(): LocalFiles {
  return {
    where: WHERE,
    stat: (path) => missingAsUndefined(path, async () => describe(await fs.stat(path))),
    readText: (path) => missingAsUndefined(path, () => readSmall(path)),
    readAt: (path, offset, length) => missingAsUndefined(path, () => readPart(path, offset, length)),
    writeFile: (path, content, mode = 0o644) => onFile(path, () => writeAtomically(path, content, mode)),
    mkdir: (path) => onFile(path, () => makeFolder(path)),
    rename: (from, to) =>
      onFile(from, async () => {
        await fs.rename(from, to);
        await syncPath(dirname(to));
        if (dirname(from) !== dirname(to)) await syncPath(dirname(from));
      }),
    remove: (path) =>
      onFile(path, async () => {
        await unlinked(temporaryPath(path));
        return unlinked(path);
      }),
    sync: (path) =>
      onFile(path, async () => {
        await syncPath(path);
        await syncPath(dirname(path));
      }),
    chmod: (path, mode) => onFile(path, () => fs.chmod(path, mode)),
    list: (directory) => onFile(directory, () => fs.readdir(directory)),
    filesystem: (path) => onFile(path, () => filesystemOf(path)),
  };
}

function errnoOf(thrown: unknown): string {
  if (typeof thrown === 'object' && thrown !== null && 'code' in thrown) return String(thrown.code);
  return '';
}

async function onFile<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (thrown) {
    throw fileError(errnoOf(thrown), path, WHERE, thrown);
  }
}

function missingAsUndefined<T>(path: string, action: () => Promise<T>): Promise<T | undefined> {
  return onFile(path, async () => {
    try {
      return await action();
    } catch (thrown) {
      if (errnoOf(thrown) === 'ENOENT' || errnoOf(thrown) === 'ENOTDIR') return undefined;
      throw thrown;
    }
  });
}

function describe(stats: Stats): FileStat {
  return {
    type: stats.isFile()
      ? 'file'
      : stats.isDirectory()
        ? 'directory'
        : stats.isBlockDevice()
          ? 'block'
          : 'other',
    size: stats.size,
    allocated: stats.blocks * 512,
    mode: stats.mode & 0o7777,
    inode: stats.ino,
    modifiedMs: Math.floor(stats.mtimeMs),
  };
}

/** Node 20 calls a full filesystem ENOENT when it makes parents too: then each folder is made by itself, for its own error. */
async function makeFolder(path: string): Promise<void> {
  try {
    await fs.mkdir(path, { recursive: true });
  } catch (thrown) {
    if (errnoOf(thrown) !== 'ENOENT') throw thrown;
    const parent = dirname(path);
    if (parent !== path) await makeFolder(parent);
    try {
      await fs.mkdir(path);
    } catch (again) {
      if (errnoOf(again) !== 'EEXIST') throw again;
    }
  }
}

async function readSmall(path: string): Promise<string> {
  const file = await fs.open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size > MAX_COLLECTED) throw fileError('EFBIG', path, WHERE, undefined);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

async function readPart(path: string, offset: number, length: number): Promise<Buffer> {
  const file = await fs.open(path, 'r');
  try {
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await file.read(buffer, 0, length, offset);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function writeAtomically(path: string, content: string | Buffer, mode: number): Promise<void> {
  const temporary = temporaryPath(path);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
  try {
    const file = await fs.open(temporary, flags, 0o600);
    try {
      await file.writeFile(content);
      await file.chmod(mode); // after the content: neither the umask nor a moment of wider access decides
      await file.sync();
    } finally {
      await file.close();
    }
    await fs.rename(temporary, path);
  } catch (thrown) {
    await unlinked(temporary);
    throw thrown;
  }
  await syncPath(dirname(path));
}

async function syncPath(path: string): Promise<void> {
  const handle = await fs.open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function unlinked(path: string): Promise<boolean> {
  try {
    await fs.unlink(path);
    return true;
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT' || errnoOf(thrown) === 'ENOTDIR') return false;
    throw thrown;
  }
}

async function filesystemOf(path: string): Promise<{ type: string; totalBytes: number; freeBytes: number }> {
  const existing = await nearestExisting(path);
  const stats = await fs.statfs(existing);
  const mounts = await fs.readFile('/proc/self/mountinfo', 'utf8');
  return {
    type: typeFromMountinfo(mounts, existing) ?? 'unknown',
    totalBytes: stats.blocks * stats.bsize,
    freeBytes: stats.bavail * stats.bsize, // bavail, not bfree: what is kept for root is not ours to plan with
  };
}

/** Real path of the path itself or of its nearest ancestor: a store is asked about before it is made. */
async function nearestExisting(path: string): Promise<string> {
  for (let at = resolve(path); ; at = dirname(at)) {
    try {
      return await fs.realpath(at);
    } catch (thrown) {
      if (errnoOf(thrown) !== 'ENOENT' || at === dirname(at)) throw thrown;
    }
  }
}

/**
 * Filesystem type of the mount that holds `path`: the last of the longest matching mount points.
 * Fields as in proc(5): id, parent, device, root, mount point, options, optional fields, `-`, type, source, options.
 */
export function typeFromMountinfo(mountinfo: string, path: string): string | undefined {
  let best: { length: number; type: string } | undefined;
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const escaped = left.split(' ')[4];
    const type = right.split(' ')[0];
    if (escaped === undefined || type === undefined) continue;
    const point = escaped.replace(/\\(\d{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const inside = point === '/' || path === point || path.startsWith(`${point}/`);
    if (inside && (best === undefined || point.length >= best.length)) best = { length: point.length, type };
  }
  return best?.type;
}
