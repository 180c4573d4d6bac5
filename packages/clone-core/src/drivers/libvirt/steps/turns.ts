/** Jobs of a guest, one after the other: libvirt has room for one, and for the outcome of the last one only. */
import { pause } from './reporting.ts';

/** Between two looks whether it is our turn, milliseconds. */
const LOOK_MS = 50;

export interface Turns {
  /** Performs `work` when no other work on this guest is under way here; rejects with the signal's reason while it waits. */
  take<T>(uuid: string, signal: AbortSignal, work: () => Promise<T>): Promise<T>;
}

/** For all steps of one driver that begin jobs: a host has one worker, which is why turns in its memory are enough. */
export function turns(): Turns {
  const taken = new Set<string>();
  return {
    async take(uuid, signal, work) {
      while (taken.has(uuid)) await pause(LOOK_MS, signal);
      taken.add(uuid);
      try {
        return await work();
      } finally {
        taken.delete(uuid);
      }
    },
  };
}
