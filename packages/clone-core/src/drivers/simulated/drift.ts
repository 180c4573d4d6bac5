/** Drift of a simulated guest: as much as its overlay holds, at places that look like those of a real system. */
import type { CapturedBase, Drift } from '../../contract.ts';
import type { GuestRef } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { OVERLAY_BYTES, type SimulatedState } from './host.ts';
import { seededRandom } from './random.ts';

const CELLS = 512;

/** As `Driver.drift`. The same guest drifts at the same places. */
export function simulatedDrift(
  state: SimulatedState,
  guest: GuestRef,
  base: CapturedBase,
  at: string,
): Drift {
  const found = state.guests.find((each) => each.uuid === guest.uuid);
  if (!found)
    throw new OffshootError('not-found', {
      publicMessage: `The guest ${guest.name} is gone from its host.`,
      remedy: 'Look at the guest list: someone may have deleted it.',
    });
  const basePaths = new Set(base.disks.map((disk) => disk.path));
  const disks = found.disks.flatMap(({ target, path }) => {
    const file = state.files[path];
    if (file?.backing === undefined || !basePaths.has(file.backing)) return [];
    const changedBytes = Math.max(0, file.allocatedBytes - OVERLAY_BYTES);
    const cells = scatter(`${guest.uuid} ${target}`, changedBytes, file.virtualBytes);
    return [{ target, virtualBytes: file.virtualBytes, changedBytes, cells }];
  });
  if (disks.length === 0)
    throw new OffshootError('source-changed', {
      publicMessage: `The disks of ${guest.name} do not stand on their base any more.`,
      remedy: 'Nothing is shared, so there is nothing to measure a drift from.',
    });
  return { at, running: found.state !== 'stopped', disks };
}

/** Clumps of changed cells that together hold the changed bytes: logs and caches sit together. */
function scatter(seed: string, changedBytes: number, virtualBytes: number): number[] {
  const cells = Array.from({ length: CELLS }, () => 0);
  const size = virtualBytes / CELLS;
  const random = seededRandom(Number.parseInt(seed.replaceAll(/[^0-9a-f]/g, '').slice(0, 8), 16));
  for (let left = changedBytes; left > 0;) {
    const from = Math.floor(random() * CELLS * 0.6);
    const length = 1 + Math.floor(random() * 5);
    for (let at = from; at < Math.min(from + length, CELLS) && left > 0; at++) {
      const bytes = Math.min(left, size * (0.1 + random() * 0.5));
      left -= Math.max(bytes, size / 100);
      cells[at] = Math.min(100, (cells[at] ?? 0) + Math.ceil((bytes / size) * 100));
    }
  }
  return cells;
}
