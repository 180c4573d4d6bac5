import { randomBytes } from 'node:crypto';
import { open, writeFile } from 'node:fs/promises';
import { execa } from 'execa';

const MIB = 1024 * 1024;
const CHUNK = 4 * MIB;

/**
 * Makes a qcow2 image holding `dataBytes` of mixed data in `virtualBytes`: runs of incompressible bytes, of text and
 * of small records, with holes between them, as a used system disk has. Content differs at every offset.
 */
export async function makeMixedDisk(path: string, dataBytes: number, virtualBytes: number): Promise<void> {
  const raw = `${path}.raw`;
  const noise = randomBytes(16 * MIB);
  const text = Buffer.alloc(CHUNK, 'The quick brown guest jumps over the lazy host, and logs that it did.\n');
  const file = await open(raw, 'w');
  try {
    await file.truncate(virtualBytes);
    const chunks = Math.ceil(dataBytes / CHUNK);
    const stride = Math.floor(virtualBytes / chunks / MIB) * MIB;
    for (let index = 0; index < chunks; index++) {
      const chunk = Buffer.alloc(CHUNK);
      if (index % 4 === 3) text.copy(chunk);
      else noise.copy(chunk, 0, (index * 8191) % (12 * MIB));
      // A stamp in every 4 KiB: no two blocks of the disk are alike, and none is all zeros.
      for (let at = 0; at < CHUNK; at += 4096) chunk.writeDoubleLE(index * CHUNK + at + 1, at);
      await file.write(chunk, 0, CHUNK, Math.min(index * stride, virtualBytes - CHUNK));
    }
  } finally {
    await file.close();
  }
  await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, path]);
  await execa('rm', ['--', raw]);
  await execa('sync', [path]);
}

/** Writes back and drops the page cache, so that the next read comes from the disk. Root only; false when refused. */
export async function coldCache(): Promise<boolean> {
  await execa('sync');
  try {
    await writeFile('/proc/sys/vm/drop_caches', '3');
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'EACCES' || error.code === 'EPERM'))
      return false;
    throw error;
  }
}

/** Seconds that `work` takes from a cold cache until it returns; `work` syncs what it wrote. */
export async function coldSeconds(work: () => Promise<unknown>): Promise<number> {
  await coldCache();
  const from = performance.now();
  await work();
  return (performance.now() - from) / 1000;
}

/** Throws unless the guest-visible content of both images is equal, block by block. */
export async function assertSameContent(one: string, other: string): Promise<void> {
  await execa('qemu-img', ['compare', '-U', one, other]);
}
