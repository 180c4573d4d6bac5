/** Blocks that are on this host already, in older bases or in a copy that was cut short: found by their digest. */
import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { blocksIn, hashAt, type BlockList } from './block-list.ts';
import { BLOCK } from './frames.ts';

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

export interface Place {
  file: FileHandle;
  path: string;
  /** Number of the block in its file. */
  block: number;
}

export class KnownBlocks {
  private readonly files: { file: FileHandle; path: string; first: number }[] = [];
  /** Key → number of the block, counted through all files. */
  private readonly places = new Map<number, number>();
  private blocks = 0;

  get size(): number {
    return this.places.size;
  }

  /** Takes in a file whose digests are those. */
  async add(path: string, list: BlockList): Promise<void> {
    this.files.push({ file: await open(path, 'r'), path, first: this.blocks });
    const count = blocksIn(list.bytes);
    for (let block = 0; block < count; block++) {
      const key = keyOf(hashAt(list, block));
      if (!this.places.has(key)) this.places.set(key, this.blocks + block);
    }
    this.blocks += count;
  }

  /** Where the block with that digest should be. What is there must be hashed before it is used. */
  place(hash: Buffer): Place | undefined {
    const place = this.places.get(keyOf(hash));
    if (place === undefined) return undefined;
    const found = this.files.findLast(({ first }) => first <= place);
    return found && { file: found.file, path: found.path, block: place - found.first };
  }

  /** The block with that digest, read and checked; undefined when there is none, or it is not what it was. */
  async read(hash: Buffer, length: number): Promise<Buffer | undefined> {
    const place = this.place(hash);
    if (!place) return undefined;
    const block = Buffer.allocUnsafe(length);
    const { bytesRead } = await place.file.read(block, 0, length, place.block * BLOCK);
    return bytesRead === length && hashOf(block).equals(hash) ? block : undefined;
  }

  /** Takes it for not here any more. */
  forget(hash: Buffer): void {
    this.places.delete(keyOf(hash));
  }

  async close(): Promise<void> {
    for (const { file } of this.files.splice(0)) await file.close();
    this.places.clear();
    this.blocks = 0;
  }
}
