/** Decisions from a seed: the same seed and path give the same choices. Not for secrets. */
import { createHash } from 'node:crypto';

export interface Random {
  /** At least 0, below 1. */
  next(): number;
  /** A whole number, both ends included. */
  between(low: number, high: number): number;
  chance(probability: number): boolean;
  /** @throws RangeError when there is nothing to pick from. */
  pick<T>(from: readonly T[]): T;
  /** As `pick`, by weight. @throws RangeError when all weights are 0. */
  weighted<T>(from: readonly { weight: number; value: T }[]): T;
}

/**
 * A stream of its own for each path: what one part of a run draws does not shift what another draws. Mulberry32, a
 * generator of 32 bits of state.
 */
export function randomFrom(seed: number, ...path: readonly (string | number)[]): Random {
  let state = createHash('sha256')
    .update([seed, ...path].join('/'))
    .digest()
    .readUInt32LE(0);
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1));
  const weighted = <T>(from: readonly { weight: number; value: T }[]): T => {
    const total = from.reduce((sum, { weight }) => sum + weight, 0);
    let at = next() * total;
    for (const { weight, value } of from) {
      at -= weight;
      if (at < 0) return value;
    }
    throw new RangeError('nothing to pick from');
  };
  return {
    next,
    between,
    weighted,
    chance: (probability) => next() < probability,
    pick: (from) => weighted(from.map((value) => ({ weight: 1, value }))),
  };
}
