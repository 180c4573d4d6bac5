/** Where the content of a disk is, as `qemu-img map` reads it: metadata only, whatever the disk's size. */
import { z } from 'zod';
import { OffshootError } from '../errors.ts';
import type { Shell } from '../shell/shell.ts';

/** A stretch of a disk as the guest sees it. Bytes. */
export interface Extent {
  start: number;
  length: number;
  /** Which file of the chain says what is here: 0 is the disk's own. */
  depth: number;
  /** Reads as zeroes, without a look at any data. */
  zero: boolean;
  /** Some file of the chain says something of this place. */
  present: boolean;
}

const lineSchema = z.object({
  start: z.number(),
  length: z.number(),
  depth: z.number(),
  zero: z.boolean(),
  present: z.boolean(),
});

/**
 * Extents from the first byte to the last. `live`: without locks, for the disk of a running guest, whose newest
 * metadata may still be in QEMU's memory. Throws `command-failed` when the image can't be read.
 */
export async function readMap(
  shell: Shell,
  disk: { path: string; format: string; live?: boolean },
  signal: AbortSignal,
): Promise<Extent[]> {
  const extents: Extent[] = [];
  let rest = '';
  const take = (line: string): void => {
    // One extent a line, within brackets and commas: [{ … },\n{ … }]
    const text = line.replace(/^\s*\[?/, '').replace(/[\],\s]*$/, '');
    if (text === '') return;
    const { start, length, depth, zero, present } = lineSchema.parse(JSON.parse(text));
    extents.push({ start, length, depth, zero, present });
  };
  await shell.run(
    ['qemu-img', 'map', ...(disk.live ? ['-U'] : []), '--output=json', '-f', disk.format, '--', disk.path],
    {
      signal,
      timeoutMs: 0,
      dieWithParent: true,
      onStdout: (chunk) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        lines.forEach(take);
      },
    },
  );
  take(rest);
  const last = extents.at(-1);
  if (!last)
    throw new OffshootError('internal', {
      publicMessage: 'qemu-img says nothing of the disk’s content.',
      context: { ...disk },
    });
  return extents;
}

/** Extents put together where they follow each other, of those that `keep` keeps. */
export function merged(
  extents: readonly Extent[],
  keep: (extent: Extent) => boolean,
): { start: number; end: number }[] {
  const ranges: { start: number; end: number }[] = [];
  for (const extent of extents) {
    if (!keep(extent) || extent.length === 0) continue;
    const end = extent.start + extent.length;
    const last = ranges.at(-1);
    if (last?.end === extent.start) last.end = end;
    else ranges.push({ start: extent.start, end });
  }
  return ranges;
}
