/** Whether a copy goes past the page cache or through it: decided by what was faster on this store. */

/**
 * `direct` leaves the page cache to the guests and is faster where the disk answers many requests at once; `cached`
 * is faster where the disk below has a cache of its own. Which holds can't be seen from outside: both were measured
 * on like machines, with opposite results (docs/decisions).
 */
export type IoMode = 'direct' | 'cached';

/** After this many copies the other way is tried again: the load on a disk changes. */
const RETRY_AFTER = 25;
/** Weight of the newest copy in the remembered rate. */
const NEWEST = 0.4;

export interface IoModes {
  /** The way for the next copy, with the reason for the log. */
  choose(): { mode: IoMode; why: string };
  /** Rate of a whole copy, synced, bytes per second. */
  measured(mode: IoMode, rate: number): void;
  /** Remembered rates, bytes per second. */
  rates(): Readonly<Partial<Record<IoMode, number>>>;
}

/** Remembers for one store, as long as its worker runs. */
export function ioModes(): IoModes {
  const rates: Partial<Record<IoMode, number>> = {};
  let copies = 0;
  const mib = (rate: number): string => `${Math.round(rate / 1024 ** 2)} MiB/s`;
  return {
    rates: () => rates,
    measured(mode, rate) {
      const before = rates[mode];
      rates[mode] = before === undefined ? rate : before + (rate - before) * NEWEST;
      copies++;
    },
    choose() {
      if (rates.cached === undefined) return { mode: 'cached', why: 'not measured on this store yet' };
      if (rates.direct === undefined) return { mode: 'direct', why: 'not measured on this store yet' };
      const faster: IoMode = rates.direct >= rates.cached ? 'direct' : 'cached';
      const said = `direct ${mib(rates.direct)}, cached ${mib(rates.cached)} lately`;
      if (copies > 0 && copies % RETRY_AFTER === 0) {
        return { mode: faster === 'direct' ? 'cached' : 'direct', why: `measuring it again: ${said}` };
      }
      return { mode: faster, why: said };
    },
  };
}
