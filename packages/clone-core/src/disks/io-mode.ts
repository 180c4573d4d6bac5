/** Whether a copy goes past the page cache or through it: decided by what was faster on this store. */

/**
 * `direct` leaves the page cache to the guests and is faster where the disk answers many requests at once; `cached`
 * is faster where the disk below has a cache of its own. Which holds can't be seen from outside: both were measured
 * on like machines, with opposite results (docs/decisions).
 */
export type IoMode = 'direct' | 'cached';

/** After this many copies the other way is tried again: the load on a disk changes. */
const RETRY_AFTER = 25;
/** Of this many copies each way the fastest counts: the others shared the disk with something else. */
const REMEMBERED = 3;

export interface IoModes {
  /** The way for the next copy, with the reason for the log. */
  choose(): { mode: IoMode; why: string };
  /** Rate of a whole copy, synced, bytes per second. */
  measured(mode: IoMode, rate: number): void;
  /** The fastest of the latest copies each way, bytes per second. */
  rates(): Readonly<Partial<Record<IoMode, number>>>;
}

/** Remembers for one store, as long as its worker runs. */
export function ioModes(): IoModes {
  const latest: Record<IoMode, number[]> = { cached: [], direct: [] };
  let copies = 0;
  const fastest = (mode: IoMode): number | undefined =>
    latest[mode].length === 0 ? undefined : Math.max(...latest[mode]);
  const mib = (rate: number): string => `${Math.round(rate / 1024 ** 2)} MiB/s`;
  return {
    rates() {
      const [cached, direct] = [fastest('cached'), fastest('direct')];
      return { ...(cached === undefined ? {} : { cached }), ...(direct === undefined ? {} : { direct }) };
    },
    measured(mode, rate) {
      latest[mode] = [...latest[mode], rate].slice(-REMEMBERED);
      copies++;
    },
    choose() {
      const [cached, direct] = [fastest('cached'), fastest('direct')];
      if (cached === undefined) return { mode: 'cached', why: 'not measured on this store yet' };
      if (direct === undefined) return { mode: 'direct', why: 'not measured on this store yet' };
      // The first copy of a worker meets a cold machine, which says little of the store.
      if (latest.cached.length === 1 && direct > cached)
        return { mode: 'cached', why: 'measured only once on this store' };
      const faster: IoMode = direct >= cached ? 'direct' : 'cached';
      const said = `direct ${mib(direct)}, cached ${mib(cached)} at best lately`;
      if (copies > 0 && copies % RETRY_AFTER === 0) {
        return { mode: faster === 'direct' ? 'cached' : 'direct', why: `measuring it again: ${said}` };
      }
      return { mode: faster, why: said };
    },
  };
}
