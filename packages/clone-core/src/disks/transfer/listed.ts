/**
 * A file whose list of blocks is known and trusted: what is here is taken from here, the rest is asked for at once, and
 * every block is checked before it is written. Then the whole is what was sealed, without hashing it once more.
 */
import { createHash } from 'node:crypto';
import { OffshootError } from '../../errors.ts';
import { blocksIn, HASH, hashAt, type BlockList } from './block-list.ts';
import { BLOCK } from './frames.ts';
import { isZeroHash, type KnownBlocks, type Place } from './known-blocks.ts';
import type { Landing } from './landing.ts';

/** Read from here at once, blocks. */
const RUN = 16;

/** Gathers a list that comes in parts. */
export class Gathering {
  private readonly hashes: Buffer;
  private position = 0;

  constructor(private readonly bytes: number) {
    this.hashes = Buffer.alloc(blocksIn(bytes) * HASH);
  }

  /** The list once all of it is here. `part`: as in a frame. False: it is not what follows. */
  add(part: Buffer): BlockList | boolean {
    const at = Number(part.readBigUInt64BE(0)) * HASH;
    if (at !== this.position || at + part.length - 8 > this.hashes.length) return false;
    part.copy(this.hashes, at, 8);
    this.position += part.length - 8;
    return this.position < this.hashes.length || { bytes: this.bytes, hashes: this.hashes };
  }
}

interface Run {
  /** Where it goes, number of the first block. */
  block: number;
  count: number;
  content: Promise<Buffer>;
  there: boolean;
}

interface ListedParts {
  /** Trusted. */
  list: BlockList;
  known: KnownBlocks;
  landing: Landing;
  /** Of the file that is being written. */
  path: string;
  /** What that was when it was begun, where it began as another file. */
  began: BlockList | undefined;
  signal: AbortSignal;
}

export class Listed {
  /** A bit a block: to come from elsewhere. */
  private readonly asked: Buffer;
  reused = 0;
  /** Called when something was written. */
  written: () => void = () => undefined;

  constructor(private readonly parts: ListedParts) {
    this.asked = Buffer.alloc(Math.ceil(blocksIn(parts.list.bytes) / 8));
  }

  get list(): BlockList {
    return this.parts.list;
  }

  /** What to ask for from where the file stands on, as in a frame. */
  take(): Buffer {
    const first = Math.floor(this.parts.landing.position / BLOCK);
    const count = blocksIn(this.list.bytes) - first;
    const body = Buffer.alloc(8 + Math.ceil(Math.max(0, count) / 8));
    body.writeBigUInt64BE(BigInt(first), 0);
    this.asked.fill(0);
    for (let at = 0; at < count; at++) {
      const hash = hashAt(this.list, first + at);
      if (isZeroHash(hash, this.lengthOf(first + at)) || this.parts.known.place(hash)) continue;
      this.set(body.subarray(8), at);
      this.set(this.asked, first + at);
    }
    return body;
  }

  private set(bits: Buffer, at: number): void {
    bits[at >> 3] = (bits[at >> 3] ?? 0) | (1 << (at & 7));
  }

  private isAsked(block: number): boolean {
    return ((this.asked[block >> 3] ?? 0) & (1 << (block & 7))) !== 0;
  }

  private lengthOf(block: number): number {
    return Math.min(BLOCK, this.list.bytes - block * BLOCK);
  }

  /** What came; before it, what is here. False: it is not what the list says. */
  async put(offset: number, content: readonly Buffer[]): Promise<boolean> {
    await this.fill(offset);
    let block = offset / BLOCK;
    let hash = createHash('sha256');
    let missing = this.lengthOf(block);
    for (let piece of content) {
      while (piece.length > 0) {
        const part = piece.subarray(0, missing);
        hash.update(part);
        missing -= part.length;
        piece = piece.subarray(part.length);
        if (missing > 0) continue;
        if (!hash.digest().equals(hashAt(this.list, block))) return false;
        block++;
        hash = createHash('sha256');
        missing = this.lengthOf(block);
        if (missing <= 0 && piece.length > 0) return false;
      }
    }
    if (missing !== this.lengthOf(block)) return false;
    await this.parts.landing.append(offset, content);
    this.written();
    return true;
  }

  /** What is here, from where the file stands to that offset. */
  async fill(until: number): Promise<void> {
    let next = this.run(Math.floor(this.parts.landing.position / BLOCK), until);
    while (next) {
      this.parts.signal.throwIfAborted();
      const { block, count, content, there } = next;
      const bytes = await content;
      // The next one is read while this one is hashed and written.
      next = this.run(block + count, until);
      for (let at = 0; at < count; at++) {
        const hash = hashAt(this.list, block + at);
        const piece = bytes.subarray(at * BLOCK, at * BLOCK + this.lengthOf(block + at));
        if (
          piece.length === this.lengthOf(block + at) &&
          createHash('sha256').update(piece).digest().equals(hash)
        )
          continue;
        this.parts.known.forget(hash);
        if (there) this.parts.began?.hashes.fill(0, (block + at) * HASH, (block + at + 1) * HASH);
        throw new OffshootError('host-unreachable', {
          publicMessage: 'A block that was here is not what it was; it is fetched too.',
          retryable: true,
        });
      }
      await this.parts.landing.append(block * BLOCK, [bytes], there);
      this.reused += bytes.length;
      this.written();
    }
  }

  /** Blocks that follow each other here as they do there. */
  private run(block: number, until: number): Run | undefined {
    if (block * BLOCK >= until || this.isAsked(block)) return undefined;
    const hash = hashAt(this.list, block);
    const place = this.placeOf(block);
    if (!place || isZeroHash(hash, this.lengthOf(block)))
      return {
        block,
        count: 1,
        content: Promise.resolve(Buffer.alloc(this.lengthOf(block))),
        there: false,
      };
    let count = 1;
    let length = this.lengthOf(block);
    while (count < RUN && (block + count) * BLOCK < until && this.follows(place, block, count)) {
      length += this.lengthOf(block + count);
      count++;
    }
    const content = readAll(place, length);
    content.catch(() => undefined); // awaited in its turn
    return { block, count, content, there: place.path === this.parts.path && place.block === block };
  }

  /** Where the block is here; in its own place, if it can be, where it need not be written. */
  private placeOf(block: number): Place | undefined {
    const { began, known, landing, path } = this.parts;
    const hash = hashAt(this.list, block);
    return began && hashAt(began, block).equals(hash)
      ? { file: landing.file, path, block }
      : known.place(hash);
  }

  private follows(place: Place, block: number, count: number): boolean {
    if (this.isAsked(block + count)) return false;
    const next = this.placeOf(block + count);
    return next?.path === place.path && next.block === place.block + count;
  }
}

/** Shorter when the file is. */
async function readAll({ file, block }: Place, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, block * BLOCK + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return buffer.subarray(0, done);
}
