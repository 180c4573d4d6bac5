/**
 * Compares what two guests see on a disk. The bytes flow through this process, because no native tool both counts
 * differences and digests in one pass; what both sides know to be zeroes is not read (docs/decisions/0017).
 */
import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { COMPARED_BLOCK_BYTES as BLOCK, type VerifiedDisk } from '../contract.ts';
import { merged, type Extent } from './map.ts';
import type { NbdReader } from './nbd.ts';

/** Read at once from each side, bytes: a multiple of the block. */
const CHUNK = 1024 ** 2;
/** Chunks, or sampled blocks, under way at once: both disks are kept busy. */
const AHEAD = 4;
/** Sampled blocks of a disk. */
export const SAMPLE_BLOCKS = 1024;

export interface Side {
  reader: NbdReader;
  extents: readonly Extent[];
}

interface Options {
  signal: AbortSignal;
  /** Bytes of this disk that are done with, of `VerifiedDisk.sizeBytes` (`whole`) or of the sample. */
  onBytes: (done: number) => void;
}

type Found = Omit<VerifiedDisk, 'target'>;

/** Every byte of both sides, and the digest of the first. */
export async function compareWhole(mine: Side, theirs: Side, options: Options): Promise<Found> {
  const { signal, onBytes } = options;
  const sizeBytes = mine.reader.sizeBytes;
  const common = Math.min(sizeBytes, theirs.reader.sizeBytes);
  const [myZeroes, theirZeroes] = [zeroes(mine.extents), zeroes(theirs.extents)];
  const hash = createHash('sha256');
  const nothing = Buffer.alloc(CHUNK);
  const tally = new Tally();
  const read = (offset: number): Promise<[Buffer | undefined, Buffer | undefined]> => {
    const length = Math.min(CHUNK, sizeBytes - offset);
    const shared = Math.max(0, Math.min(CHUNK, common - offset));
    return Promise.all([
      myZeroes(offset, length) ? undefined : mine.reader.read(offset, length),
      shared === 0 || theirZeroes(offset, shared) ? undefined : theirs.reader.read(offset, shared),
    ]);
  };
  const ahead: { offset: number; data: ReturnType<typeof read> }[] = [];
  let next = 0;
  const fill = (): void => {
    for (; ahead.length < AHEAD && next < sizeBytes; next += CHUNK) {
      const data = read(next);
      data.catch(() => undefined); // awaited in its turn
      ahead.push({ offset: next, data });
    }
  };
  for (fill(); ; fill()) {
    const chunk = ahead.shift();
    if (!chunk) break;
    signal.throwIfAborted();
    const { offset } = chunk;
    const length = Math.min(CHUNK, sizeBytes - offset);
    const [own, other] = await chunk.data;
    const content = own ?? nothing.subarray(0, length);
    hash.update(content);
    if (own ?? other) tally.compare(content, other ?? nothing, offset, Math.min(length, common - offset));
    // Long stretches of zeroes await nothing: others in this process must get their turn.
    else await turn();
    onBytes(offset + length);
  }
  tally.lengths(sizeBytes, theirs.reader.sizeBytes);
  return found(mine, theirs, tally, { digest: hash.digest('hex') });
}

/**
 * `SAMPLE_BLOCKS` random blocks, each as likely as any other, of those that are not known to be zeroes on both sides;
 * all of them when there are no more. The same seed picks the same blocks.
 */
export async function compareSample(
  mine: Side,
  theirs: Side,
  options: Options & { seed: string },
): Promise<Found> {
  const { signal, onBytes, seed } = options;
  const common = Math.min(mine.reader.sizeBytes, theirs.reader.sizeBytes);
  const total = Math.ceil(common / BLOCK);
  const candidates = dataBlocks([mine.extents, theirs.extents], total);
  const blocks = pick(candidates, SAMPLE_BLOCKS, seed);
  const tally = new Tally();
  for (let at = 0; at < blocks.length; at += AHEAD) {
    signal.throwIfAborted();
    await Promise.all(
      blocks.slice(at, at + AHEAD).map(async (block) => {
        const offset = block * BLOCK;
        const length = Math.min(BLOCK, common - offset);
        const [own, other] = await Promise.all([
          mine.reader.read(offset, length),
          theirs.reader.read(offset, length),
        ]);
        tally.compare(own, other, offset, length);
      }),
    );
    onBytes(Math.min(at + AHEAD, blocks.length) * BLOCK);
  }
  tally.lengths(mine.reader.sizeBytes, theirs.reader.sizeBytes);
  return found(mine, theirs, tally, { sampled: { blocks: blocks.length, of: countOf(candidates) } });
}

/** With 95 % probability, a sample without a difference means that less than this share of the blocks differs. */
export const undetectedShare = (sampled: number, of: number): number =>
  sampled >= of ? 0 : 1 - 0.05 ** (1 / sampled);

function found(
  mine: Side,
  theirs: Side,
  tally: Tally,
  more: Pick<VerifiedDisk, 'digest' | 'sampled'>,
): Found {
  const [sizeBytes, otherSizeBytes] = [mine.reader.sizeBytes, theirs.reader.sizeBytes];
  return {
    equal: tally.bytes === 0,
    sizeBytes,
    ...(otherSizeBytes === sizeBytes ? {} : { otherSizeBytes }),
    ...more,
    differingBlocks: tally.blocks,
    differingBytes: tally.bytes,
    ...(tally.first === undefined ? {} : { firstDifference: tally.first }),
  };
}

/** Counts blocks that differ. */
class Tally {
  blocks = 0;
  bytes = 0;
  first: number | undefined;

  compare(own: Buffer, other: Buffer, offset: number, length: number): void {
    if (length <= 0 || own.compare(other, 0, length, 0, length) === 0) return;
    for (let at = 0; at < length; at += BLOCK) {
      const end = Math.min(at + BLOCK, length);
      if (own.compare(other, at, end, at, end) === 0) continue;
      let byte = at;
      while (own[byte] === other[byte]) byte++;
      this.differ(offset + byte, end - at);
    }
  }

  /** What the longer disk has beyond the shorter one. */
  lengths(a: number, b: number): void {
    if (a === b) return;
    const [from, to] = [Math.min(a, b), Math.max(a, b)];
    this.differ(from, to - from);
    this.blocks += Math.ceil((to - from) / BLOCK) - 1;
  }

  private differ(at: number, bytes: number): void {
    this.blocks++;
    this.bytes += bytes;
    this.first = Math.min(this.first ?? at, at);
  }
}

/** Tells whether a stretch is known to be zeroes. Questions come in rising order. */
function zeroes(extents: readonly Extent[]): (offset: number, length: number) => boolean {
  const ranges = merged(extents, (extent) => extent.zero);
  let at = 0;
  return (offset, length) => {
    while ((ranges[at]?.end ?? Infinity) <= offset) at++;
    const range = ranges[at];
    return range !== undefined && range.start <= offset && offset + length <= range.end;
  };
}

interface Run {
  first: number;
  /** One past the last block. */
  end: number;
}

/** Blocks that hold anything but known zeroes on some side. */
function dataBlocks(sides: readonly (readonly Extent[])[], total: number): Run[] {
  const runs = sides
    .flatMap((extents) => merged(extents, (extent) => !extent.zero))
    .map(({ start, end }) => ({
      first: Math.floor(start / BLOCK),
      end: Math.min(total, Math.ceil(end / BLOCK)),
    }))
    .filter((run) => run.first < run.end)
    .toSorted((a, b) => a.first - b.first);
  const joined: Run[] = [];
  for (const run of runs) {
    const last = joined.at(-1);
    if (last && run.first <= last.end) last.end = Math.max(last.end, run.end);
    else joined.push(run);
  }
  return joined;
}

const countOf = (runs: readonly Run[]): number => runs.reduce((sum, run) => sum + run.end - run.first, 0);

/** That many different blocks of the runs, in rising order. */
function pick(runs: readonly Run[], count: number, seed: string): number[] {
  const total = countOf(runs);
  const numbers =
    total <= count ? Array.from({ length: total }, (_, index) => index) : draw(total, count, seed);
  const blocks: number[] = [];
  let before = 0;
  let at = 0;
  for (const run of runs) {
    const length = run.end - run.first;
    for (; at < numbers.length; at++) {
      const number = (numbers[at] ?? 0) - before;
      if (number >= length) break;
      blocks.push(run.first + number);
    }
    before += length;
  }
  return blocks;
}

/** Different numbers below `total`, rising; decided by the seed alone. */
function draw(total: number, count: number, seed: string): number[] {
  const drawn = new Set<number>();
  for (let n = 0; drawn.size < count; n++) {
    const digest = createHash('sha256').update(`${seed} ${n}`).digest();
    for (let at = 0; at + 6 <= digest.length && drawn.size < count; at += 6)
      drawn.add(Math.floor((digest.readUIntBE(at, 6) / 2 ** 48) * total));
  }
  return [...drawn].toSorted((a, b) => a - b);
}
