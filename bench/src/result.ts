import type { Portal } from './portal.ts';

/** One row of the comparison table, as `--json` writes it. Every figure is the median of the same run. */
export interface BenchResult {
  id: string;
  /** Unit of `ours` and of `peers`: 's', 'ms', 'subscribers'. */
  unit: string;
  ours: number;
  /** What a user would otherwise run, measured in the same run. */
  peers: Record<string, number>;
  /** `ours` ÷ the peer named by `of`. */
  ratio: number | null;
  of: string | null;
  runs: number;
  notes: string;
  /** Further figures of the bench, by name. */
  [extra: string]: unknown;
}

export interface Bench {
  id: string;
  /** One line: what is measured against what. */
  title: string;
  run(lab: Lab): Promise<BenchResult>;
}

/** What every bench is given. */
export interface Lab {
  /** Folder for this run's files, on the filesystem of the portal's store. */
  scratch: string;
  runs: number;
  say(line: string): void;
  /** The portal with this data folder, started when first wanted, then with this in its environment. */
  portal(data?: string, environment?: NodeJS.ProcessEnv): Promise<Portal>;
  stopPortal(data: string): Promise<void>;
}

/** Median of a non-empty list. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Quantile `q` (0…1) by linear interpolation between the closest ranks. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) throw new Error('no values to take a quantile of');
  const position = (sorted.length - 1) * q;
  const low = sorted[Math.floor(position)] ?? Number.NaN;
  const high = sorted[Math.ceil(position)] ?? Number.NaN;
  return low + (high - low) * (position - Math.floor(position));
}

export const round = (value: number, digits = 3): number => Number(value.toFixed(digits));
