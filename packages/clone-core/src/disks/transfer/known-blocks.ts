/** Blocks that are on this host already, in older bases or in a copy that was cut short: found by their digest. */
import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { BLOCK } from './frames.ts';

/** Read at once while files are looked through, bytes. */
const CHUNK = 4 * 1024 ** 2;

export const hashOf = (block: Buffer): Buffer => createHash('sha256').update(block).digest();

/** The digest of a block of nothing but zeroes, by its length (a file's last one may be short). */
const zeroHashes = new Map<number, Buffer>();
export function isZeroHash(hash: Buffer, length: number): boolean {
  let zero = zeroHashes.get(length);
  if (!zero) {
    zero = hashOf(Buffer.alloc(length));
    zeroHashes.set(length, zero);
  }
  return zero.equals(hash);
}

/** Six bytes of the digest as a number: enough to find a block, which is hashed again before it is used. */
const keyOf = (hash: Buffer): number => hash.readUIntBE(0, 6);

export class KnownBlocks {
  private readonly files: FileHandle[] = [];
  /** Key → number of the block, counted through all files. */
  private readonly places = new Map<number, number>();
  private readonly firsts: number[] = [];
  private blocks = 0;

  get size(): number {
    return this.places.size;
  }

  /** Looks through a file: reads all of it. `onBytes`: how much of it is read. */
  async add(path: string, signal: AbortSignal, onBytes: (bytes: number) => void): Promise<void> {
    const file = await open(path, 'r');
    this.files.push(file);
    this.firsts.push(this.blocks);
    const chunk = Buffer.allocUnsafe(CHUNK);
    for (let offset = 0; ;) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(chunk, 0, CHUNK, offset);
      if (bytesRead === 0) break;
      for (let at = 0; at < bytesRead; at += BLOCK) {
        const key = keyOf(hashOf(chunk.subarray(at, Math.min(at + BLOCK, bytesRead))));
        if (!this.places.has(key)) this.places.set(key, this.blocks);
        this.blocks++;
      }
      offset += bytesRead;
      onBytes(offset);
    }
  }

  /** The block with that digest, read and checked; undefined when there is none, or it is not what it was. */
  async read(hash: Buffer, length: number): Promise<Buffer | undefined> {
    const place = this.places.get(keyOf(hash));
    if (place === undefined) return undefined;
    const at = this.firsts.findLastIndex((first) => first <= place);
    const [file, first] = [this.files[at], this.firsts[at]];
    if (!file || first === undefined) return undefined;
    const block = Buffer.allocUnsafe(length);
    const { bytesRead } = await file.read(block, 0, length, (place - first) * BLOCK);
    return bytesRead === length && hashOf(block).equals(hash) ? block : undefined;
  }

  async close(): Promise<void> {
    for (const file of this.files.splice(0)) await file.close();
    this.places.clear();
    this.firsts.length = 0;
    this.blocks = 0;
  }
}
