/** How much of an overlay is its own, and where. Pure. */
import type { DriftDisk } from '../contract.ts';
import { merged, type Extent } from './map.ts';

/** Cells of the picture. */
export const DRIFT_CELLS = 512;

/**
 * What the files above the base say of the disk. `baseDepth`: the base's place in the chain, 1 for a plain overlay.
 * A discarded place counts as changed: the guest does not see the base's content there any more.
 */
export function driftOf(
  disk: { target: string; virtualBytes: number },
  extents: readonly Extent[],
  baseDepth: number,
): DriftDisk {
  const { target, virtualBytes } = disk;
  const ranges = merged(extents, (extent) => extent.present && extent.depth < baseDepth);
  const count = Math.max(1, Math.min(DRIFT_CELLS, Math.ceil(virtualBytes / 512)));
  const size = virtualBytes / count;
  const changed = Array.from({ length: count }, () => 0);
  let changedBytes = 0;
  for (const { start, end } of ranges) {
    changedBytes += end - start;
    const last = Math.min(count - 1, Math.ceil(end / size) - 1);
    for (let cell = Math.floor(start / size); cell <= last; cell++)
      changed[cell] =
        (changed[cell] ?? 0) + Math.max(0, Math.min(end, (cell + 1) * size) - Math.max(start, cell * size));
  }
  return {
    target,
    virtualBytes,
    changedBytes,
    cells: changed.map((bytes) => Math.min(100, Math.ceil((bytes / size) * 100))),
  };
}
