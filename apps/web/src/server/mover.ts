/** Gives clones of hosts that fell silent to others, as long as they have not begun. */
import { setTimeout as sleep } from 'node:timers/promises';
import { moveFromSilent } from '@offshoot/db/placement';
import { log } from './log.ts';
import { db, queues } from './services.ts';

const EVERY_MS = 5000;

/** Looks every few seconds until the signal aborts. Several webs may do it at once. */
export async function runMover(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      const { jobs, moved } = await moveFromSilent(db());
      if (moved > 0) log.warn({ moved }, 'clones were moved from hosts that do not answer');
      await Promise.all(jobs.map((job) => queues().enqueueOperation(job)));
    } catch (error) {
      // What was moved is in the database: the new host's worker finds it.
      log.warn({ err: error }, 'clones of silent hosts could not be moved; trying again');
    }
    await sleep(EVERY_MS, undefined, { ref: false });
  }
}
