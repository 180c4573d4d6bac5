/** A clone's drift from its base, in words. Pure. */
import type { DriftDisk } from '@offshoot/clone-core/contract';
import { formatBytes } from './format.ts';

/** "34 MiB of 8 GiB changed (0.42 %); the rest comes from the base." */
export function driftWords({ changedBytes, virtualBytes }: DriftDisk): string {
  if (changedBytes === 0) return 'Nothing has changed: all of it comes from the base.';
  const share = (changedBytes / virtualBytes) * 100;
  const percent = share < 0.01 ? 'less than 0.01 %' : `${Number(share.toPrecision(2))} %`;
  return `${formatBytes(changedBytes)} of ${formatBytes(virtualBytes)} changed (${percent}); the rest comes from the base.`;
}

/** The largest stretches that changed, as the picture shows them. */
export function placesWords({ cells, virtualBytes }: DriftDisk): string {
  const size = virtualBytes / cells.length;
  const stretches: { from: number; to: number; weight: number }[] = [];
  cells.forEach((percent, cell) => {
    if (percent === 0) return;
    const last = stretches.at(-1);
    if (last?.to === cell) {
      last.to = cell + 1;
      last.weight += percent;
    } else stretches.push({ from: cell, to: cell + 1, weight: percent });
  });
  if (stretches.length === 0) return 'Nowhere.';
  const largest = stretches
    .toSorted((a, b) => b.weight - a.weight)
    .slice(0, 3)
    .toSorted((a, b) => a.from - b.from)
    .map(({ from, to }) => `${formatBytes(from * size)} to ${formatBytes(to * size)}`);
  const places = stretches.length === 1 ? 'One place' : `${stretches.length} places`;
  return stretches.length <= 3
    ? `${places}: ${largest.join(', ')}.`
    : `${places}, most of it at ${largest.join(', ')}.`;
}
