/** A simulated driver from a host's configuration. */
import type { Shell } from '../../shell/shell.ts';
import { scaledClock } from './clock.ts';
import { simulatedDriver, type SimulatedDriver } from './driver.ts';
import type { Fault } from './faults.ts';
import type { Speed } from './own-files.ts';
import { sampleState, SimulatedHost } from './host.ts';

/** Options of a simulated host, as configured. Pure JSON. */
export interface SimulatedConfig {
  /** Same seed, same host and same faults. Default 1. */
  seed?: number;
  /** Example guests that exist at the beginning. Default 3. */
  guests?: number;
  /** Share of them that runs, 0 to 1. Default 0. */
  running?: number;
  /** How much faster than real its time runs. Default 1. */
  timeFactor?: number;
  speed?: Partial<Speed>;
  faults?: Fault[];
  /** JSON file that keeps the host between worker restarts; one worker per file. Unset: in memory only. */
  stateFile?: string;
}

export function configuredSimulation(store: string, config: SimulatedConfig, shell: Shell): SimulatedDriver {
  const { seed = 1, guests = 3, running = 0, timeFactor = 1, speed = {}, faults = [], stateFile } = config;
  const initial = sampleState({ store, guests, seed, running });
  const host = new SimulatedHost(initial, stateFile === undefined ? undefined : { shell, path: stateFile });
  return simulatedDriver({ host, clock: scaledClock(timeFactor), seed, speed, faults });
}
