/** Time of the simulated host: real, scaled, or moved by a test. */
import { reasonOf } from '../../shell/failures.ts';

export interface Clock {
  /** Milliseconds since the epoch, in the clock's own time. */
  now(): number;
  /** Resolves after that many milliseconds of the clock's time; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** Longest delay a timer of Node takes, milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Time that runs `factor` times as fast as real time. */
export function scaledClock(factor: number): Clock {
  const startedReal = Date.now();
  return {
    now: () => startedReal + (Date.now() - startedReal) * factor,
    sleep: (ms, signal) =>
      abortable(signal, (done) => {
        const timer = setTimeout(done, Math.min(ms / factor, LONGEST_TIMER));
        return () => clearTimeout(timer);
      }),
  };
}

export const realClock = (): Clock => scaledClock(1);

/** Time that jumps: every sleep ends at once and moves the clock. A load test is as fast as its machine. */
export function instantClock(start = Date.UTC(2026, 0, 1)): Clock {
  let now = start;
  return {
    now: () => now,
    sleep: (ms, signal) =>
      abortable(signal, (done) => {
        const immediate = setImmediate(() => {
          now += ms;
          done();
        });
        return () => clearImmediate(immediate);
      }),
  };
}

export interface ManualClock extends Clock {
  /** Moves the clock, and lets every sleep that is due end. */
  advance(ms: number): void;
  /** How many sleeps are waiting. */
  readonly sleeping: number;
}

/** Time that stands still until a test moves it. */
export function manualClock(start = Date.UTC(2026, 0, 1)): ManualClock {
  let now = start;
  const sleepers = new Set<{ at: number; done: () => void }>();
  return {
    now: () => now,
    get sleeping() {
      return sleepers.size;
    },
    advance(ms) {
      now += ms;
      for (const sleeper of sleepers) {
        if (sleeper.at > now) continue;
        sleepers.delete(sleeper);
        sleeper.done();
      }
    },
    sleep: (ms, signal) =>
      abortable(signal, (done) => {
        const sleeper = { at: now + ms, done };
        sleepers.add(sleeper);
        return () => sleepers.delete(sleeper);
      }),
  };
}

/** The same clock, on which everything takes `factor` times as long. */
export function slowedClock(clock: Clock, factor: number): Clock {
  return { now: () => clock.now(), sleep: (ms, signal) => clock.sleep(ms * factor, signal) };
}

/** Never resolves; rejects with the signal's reason. */
export function hang(signal: AbortSignal): Promise<never> {
  return new Promise<never>((_, reject) => {
    const onAbort = (): void => reject(reasonOf(signal));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

function abortable(signal: AbortSignal, begin: (done: () => void) => () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(reasonOf(signal));
      return;
    }
    const onAbort = (): void => {
      end();
      reject(reasonOf(signal));
    };
    const end = begin(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
