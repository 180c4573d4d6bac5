import type { Claim } from '@offshoot/db/operations';
import { expect, it } from 'vitest';
import { Running } from '../../src/running.ts';
import { fullLanes } from '../../src/upkeep.ts';

it('a lane with all it may run is rung for now and then only; one with room always', () => {
  const running = new Running();
  const full = fullLanes(running, { interactive: 2, bulk: 1 });
  const claimed = (operationId: string, lane: Claim['lane']) =>
    running.add({ operationId, lane } as unknown as Claim);
  claimed('a', 'bulk');
  claimed('b', 'interactive');
  const turns = Array.from({ length: 11 }, () => full());
  expect(turns.map((isFull) => isFull('bulk'))).toEqual([false, ...Array<boolean>(9).fill(true), false]);
  expect(turns.some((isFull) => isFull('interactive'))).toBe(false);
  claimed('c', 'interactive');
  expect(turns[1]?.('interactive')).toBe(true);
  running.remove('a');
  expect(turns[1]?.('bulk')).toBe(false);
});
