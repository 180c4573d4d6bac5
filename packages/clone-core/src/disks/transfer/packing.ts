/** Compresses what is sent when the link, not the processor, is what holds it up, and while that gains anything. */
import { promisify } from 'node:util';
import { constants, deflateRaw, inflateRaw } from 'node:zlib';
import { packings } from './frames.ts';

const deflate = promisify(deflateRaw);
const inflate = promisify(inflateRaw);

/** Slower links than this are worth it, bytes per second. A faster one may only seem slow on a busy machine, which compressing keeps busy. */
const SLOW_LINK = 20e6;
/** Judged over at least this much, bytes. */
const JUDGED = 8 * 1024 ** 2;
/** Less gain than this is none: the receiver works for it too. */
const WORTH = 0.9;
/** Pieces that go as they are after one that did not gain. */
const PAUSE = 16;

export class Packer {
  private sentBytes = 0;
  private sentMs = 0;
  private packing = false;
  private skip = 0;

  async pack(piece: Buffer): Promise<{ packing: number; bytes: Buffer }> {
    if (!this.packing || this.skip-- > 0) return { packing: packings.plain, bytes: piece };
    this.skip = 0;
    const bytes = await deflate(piece, { level: constants.Z_BEST_SPEED });
    if (bytes.length < piece.length * WORTH) return { packing: packings.deflate, bytes };
    this.skip = PAUSE;
    return { packing: packings.plain, bytes: piece };
  }

  /** Measures how fast the link takes what is written. */
  async timed(bytes: number, write: () => Promise<void>): Promise<void> {
    const begun = performance.now();
    await write();
    this.sentMs += performance.now() - begun;
    this.sentBytes += bytes;
    if (this.sentBytes < JUDGED) return;
    this.packing = this.sentBytes / (this.sentMs / 1000) < SLOW_LINK;
    this.sentBytes = 0;
    this.sentMs = 0;
  }
}

/** `most`: longer content than that is not believed. Rejects when it can't be unpacked. */
export const unpacked = async (packing: number, pieces: Buffer[], most: number): Promise<Buffer[]> =>
  packing === packings.deflate ? [await inflate(Buffer.concat(pieces), { maxOutputLength: most })] : pieces;
