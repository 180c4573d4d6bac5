import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  compareSample,
  compareWhole,
  SAMPLE_BLOCKS,
  undetectedShare,
  type Side,
} from '../../src/disks/compare.ts';
import { driftOf } from '../../src/disks/drift.ts';
import type { Extent } from '../../src/disks/map.ts';

const KIB = 1024;
const BLOCK = 64 * KIB;
const never = new AbortController().signal;

/** A disk in memory. `holes`: blocks that the map knows to be zeroes, and that are not to be read. */
function side(content: Buffer, holes: readonly number[] = []): Side & { read: number } {
  const extents: Extent[] = [];
  for (let start = 0; start < content.length; start += BLOCK)
    extents.push({
      start,
      length: Math.min(BLOCK, content.length - start),
      depth: 0,
      zero: holes.includes(start / BLOCK),
      present: true,
    });
  const made = {
    read: 0,
    extents,
    reader: {
      sizeBytes: content.length,
      read: (offset: number, length: number) => {
        if (offset + length > content.length) return Promise.reject(new Error('beyond the end'));
        made.read += length;
        return Promise.resolve(content.subarray(offset, offset + length));
      },
      close: () => undefined,
    },
  };
  return made;
}

const whole = (mine: Side, theirs: Side) =>
  compareWhole(mine, theirs, { signal: never, onBytes: () => undefined });

describe('comparing every byte', () => {
  it('finds nothing between equal disks, and digests them as sha256sum would', async () => {
    const content = randomBytes(3 * 1024 * KIB + 512);
    const found = await whole(side(content), side(Buffer.from(content)));
    expect(found).toEqual({
      equal: true,
      sizeBytes: content.length,
      digest: createHash('sha256').update(content).digest('hex'),
      differingBlocks: 0,
      differingBytes: 0,
    });
  });

  it('counts the blocks that differ and says where the first byte does', async () => {
    const content = randomBytes(4 * 1024 * KIB);
    const other = Buffer.from(content);
    for (const at of [BLOCK * 7 + 123, BLOCK * 7 + 900, BLOCK * 40, content.length - 1])
      other[at] = (other[at] ?? 0) ^ 0xff;
    expect(await whole(side(content), side(other))).toMatchObject({
      equal: false,
      differingBlocks: 3,
      differingBytes: 3 * BLOCK,
      firstDifference: BLOCK * 7 + 123,
    });
  });

  it('does not read what both sides know to be zeroes, and reads it where only one does', async () => {
    const content = Buffer.alloc(4 * 1024 * KIB);
    const blocks = content.length / BLOCK;
    const all = Array.from({ length: blocks }, (_, index) => index);
    const [mine, theirs] = [side(content, all), side(content, all)];
    expect(await whole(mine, theirs)).toMatchObject({
      equal: true,
      digest: createHash('sha256').update(content).digest('hex'),
    });
    expect([mine.read, theirs.read]).toEqual([0, 0]);
    const written = Buffer.from(content);
    written[BLOCK] = 1;
    expect(await whole(mine, side(written))).toMatchObject({
      equal: false,
      differingBlocks: 1,
      firstDifference: BLOCK,
    });
    expect(await whole(side(written), mine)).toMatchObject({ equal: false, firstDifference: BLOCK });
  });

  it('counts what the longer disk has beyond the shorter one', async () => {
    const content = randomBytes(1024 * KIB);
    const longer = Buffer.concat([content, Buffer.alloc(BLOCK * 2 + 5)]);
    const found = {
      equal: false,
      differingBlocks: 3,
      differingBytes: BLOCK * 2 + 5,
      firstDifference: content.length,
    };
    expect(await whole(side(content), side(longer))).toMatchObject({
      ...found,
      otherSizeBytes: longer.length,
    });
    expect(await whole(side(longer), side(content))).toMatchObject({
      ...found,
      sizeBytes: longer.length,
      digest: createHash('sha256').update(longer).digest('hex'),
    });
  });

  it('reports bytes that only rise, up to the size, and stops when told to', async () => {
    const content = randomBytes(2 * 1024 * KIB);
    const seen: number[] = [];
    await compareWhole(side(content), side(content), { signal: never, onBytes: (done) => seen.push(done) });
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(seen.at(-1)).toBe(content.length);
    const reason = new Error('enough');
    await expect(
      compareWhole(side(content), side(content), {
        signal: AbortSignal.abort(reason),
        onBytes: () => undefined,
      }),
    ).rejects.toBe(reason);
  });
});

describe('comparing a sample', () => {
  const sample = (mine: Side, theirs: Side, seed = 'a') =>
    compareSample(mine, theirs, { signal: never, onBytes: () => undefined, seed });

  it('takes everything when there is little, and gives no digest', async () => {
    const content = randomBytes(10 * BLOCK);
    const other = Buffer.from(content);
    other[3 * BLOCK + 1] = (other[3 * BLOCK + 1] ?? 0) ^ 1;
    expect(await sample(side(content), side(other))).toEqual({
      equal: false,
      sizeBytes: content.length,
      sampled: { blocks: 10, of: 10 },
      differingBlocks: 1,
      differingBytes: BLOCK,
      firstDifference: 3 * BLOCK + 1,
    });
  });

  it('picks as many blocks as it says, the same for the same seed, only where there may be data', async () => {
    const blocks = 3000;
    const content = Buffer.alloc(blocks * BLOCK, 7);
    const holes = Array.from({ length: 1000 }, (_, index) => 500 + index);
    const spied = async (seed: string) => {
      const mine = side(content, holes);
      const offsets: number[] = [];
      const reader: Side['reader'] = {
        ...mine.reader,
        read: (offset, length) => {
          offsets.push(offset / BLOCK);
          return mine.reader.read(offset, length);
        },
      };
      return { found: await sample({ ...mine, reader }, side(content, holes), seed), offsets };
    };
    const [first, again, other] = [await spied('a'), await spied('a'), await spied('b')];
    expect(first.found.sampled).toEqual({ blocks: SAMPLE_BLOCKS, of: 2000 });
    expect(new Set(first.offsets).size).toBe(SAMPLE_BLOCKS);
    expect(first.offsets.some((block) => block >= 500 && block < 1500)).toBe(false);
    expect(again.offsets).toEqual(first.offsets);
    expect(other.offsets).not.toEqual(first.offsets);
    // Half of the blocks on either side of the hole's end are as likely as the other half.
    expect(first.offsets.filter((block) => block < 500).length).toBeGreaterThan(180);
    expect(first.offsets.filter((block) => block >= 1500).length).toBeGreaterThan(680);
  });

  it('says what it proves', () => {
    expect(undetectedShare(1024, 1024)).toBe(0);
    expect(undetectedShare(1024, 100_000)).toBeCloseTo(0.0029, 4);
  });
});

describe('drift', () => {
  const extent = (start: number, length: number, depth: number, present = true): Extent => ({
    start,
    length,
    depth,
    zero: false,
    present,
  });

  it('counts what the overlay says, by cell; the base’s own is none', () => {
    const size = 512 * BLOCK;
    const drift = driftOf(
      { target: 'vda', virtualBytes: size },
      [
        extent(0, BLOCK * 2, 0),
        extent(BLOCK * 2, BLOCK * 8, 1),
        extent(BLOCK * 10, BLOCK / 2, 0),
        extent(BLOCK * 11, size - BLOCK * 11, 1, false),
      ],
      1,
    );
    expect(drift.changedBytes).toBe(BLOCK * 2.5);
    expect(drift.cells).toHaveLength(512);
    expect(drift.cells.flatMap((percent, cell) => (percent > 0 ? [[cell, percent]] : []))).toEqual([
      [0, 100],
      [1, 100],
      [10, 50],
    ]);
  });

  it('counts every file above the base, and a disk smaller than its cells', () => {
    expect(
      driftOf(
        { target: 'vda', virtualBytes: BLOCK * 4 },
        [extent(0, BLOCK, 0), extent(BLOCK, BLOCK, 1), extent(BLOCK * 2, BLOCK * 2, 2)],
        2,
      ),
    ).toMatchObject({ changedBytes: BLOCK * 2 });
    expect(driftOf({ target: 'vda', virtualBytes: 1024 }, [extent(0, 512, 0)], 1).cells).toEqual([100, 0]);
  });
});
