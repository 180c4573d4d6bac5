/** Disk images with content that the seed decides, and what is equal to what. */
import { createCipheriv, createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';

export const MIB = 1024 ** 2;

/** A raw image of that many bytes, no two blocks alike. The same key gives the same bytes. */
export async function writeRandom(path: string, bytes: number, key: string): Promise<void> {
  const secret = createHash('sha256').update(key).digest();
  const stream = createCipheriv('aes-128-ctr', secret.subarray(0, 16), secret.subarray(16));
  await writeFile(path, Buffer.concat([stream.update(Buffer.alloc(bytes)), stream.final()]));
}

export async function toQcow2(from: string, to: string): Promise<void> {
  await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', from, to]);
}

/** An empty overlay. */
export async function overlay(base: string, to: string): Promise<void> {
  await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base, to]);
}

export async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: MIB }), hash);
  return hash.digest('hex');
}

/** Undefined when a guest would see in the disk what is in the raw image; else what differs. */
export async function difference(disk: string, format: string, raw: string): Promise<string | undefined> {
  const done = await execa('qemu-img', ['compare', '-U', '-f', format, '-F', 'raw', disk, raw], {
    reject: false,
    all: true,
  });
  return done.exitCode === 0 ? undefined : done.all.trim();
}

/** Undefined when the image is sound; else what `qemu-img check` says. Leaked clusters waste space and harm nothing. */
export async function damage(disk: string, format: string): Promise<string | undefined> {
  if (format !== 'qcow2') return undefined;
  const done = await execa('qemu-img', ['check', '-U', '-f', format, disk], { reject: false, all: true });
  return done.exitCode === 0 || done.exitCode === 3 ? undefined : done.all.trim();
}

/** Paths of the image and of all it stands on. */
export async function chainOf(disk: string): Promise<string[]> {
  const { stdout } = await execa('qemu-img', ['info', '-U', '--backing-chain', '--output=json', disk]);
  return (JSON.parse(stdout) as { filename: string }[]).map(({ filename }) => filename);
}
