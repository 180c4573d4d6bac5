/** Compression begins on a slow link, and not where it gains nothing. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { packings } from '../../src/disks/transfer/frames.ts';
import { Packer, unpacked } from '../../src/disks/transfer/packing.ts';

const MIB = 1024 ** 2;
const text = Buffer.alloc(256 * 1024, 'The quick brown guest jumps over the lazy host.\n');
const noise = randomBytes(256 * 1024);
const slow = () => sleep(1000);
const quick = () => Promise.resolve();

it('leaves everything as it is while nothing is known of the link, and on a fast one', async () => {
  const packer = new Packer();
  expect((await packer.pack(text)).packing).toBe(packings.plain);
  await packer.timed(16 * MIB, quick);
  expect((await packer.pack(text)).packing).toBe(packings.plain);
});

it('on a slow link packs what gets smaller, and comes back to what does not later', async () => {
  const packer = new Packer();
  await packer.timed(16 * MIB, slow);
  const packed = await packer.pack(text);
  expect(packed.packing).toBe(packings.deflate);
  expect(packed.bytes.length).toBeLessThan(text.length / 10);
  expect(Buffer.concat(await unpacked(packed.packing, [packed.bytes], MIB)).equals(text)).toBe(true);
  expect((await packer.pack(noise)).packing).toBe(packings.plain);
  expect((await packer.pack(text)).packing).toBe(packings.plain);
  for (let piece = 0; piece < 16; piece++) await packer.pack(text);
  expect((await packer.pack(text)).packing).toBe(packings.deflate);
  // The link got faster.
  await packer.timed(16 * MIB, quick);
  expect((await packer.pack(text)).packing).toBe(packings.plain);
});

it('does not unpack more than was asked for', async () => {
  const packer = new Packer();
  await packer.timed(16 * MIB, slow);
  const { packing, bytes } = await packer.pack(text);
  await expect(unpacked(packing, [bytes], 1000)).rejects.toThrow();
});
