/** Disk images with content, and what is equal to what. */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';

export const MIB = 1024 ** 2;
export const GIB = 1024 ** 3;

/** A qcow2 image of `bytes`, all of it allocated, no two blocks alike. */
export async function makeDisk(path: string, bytes: number): Promise<void> {
  const raw = `${path}.raw`;
  const chunk = randomBytes(8 * MIB);
  const file = await open(raw, 'w');
  try {
    for (let at = 0; at < bytes; at += chunk.length) {
      for (let block = 0; block < chunk.length; block += 4096) chunk.writeDoubleLE(at + block + 1, block);
      await file.write(chunk, 0, Math.min(chunk.length, bytes - at), at);
    }
  } finally {
    await file.close();
  }
  await execa('qemu-img', ['convert', '-m', '16', '-W', '-t', 'none', '-f', 'raw', '-O', 'qcow2', raw, path]);
  await rm(raw);
}

export async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 4 * MIB }), hash);
  return hash.digest('hex');
}

/** Throws unless a guest sees the same bytes in both. */
export async function assertSameContent(one: string, other: string): Promise<void> {
  await execa('qemu-img', ['compare', one, other]);
}
