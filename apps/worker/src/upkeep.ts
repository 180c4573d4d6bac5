/** The worker's clocks: keeping claims alive, hearing cancels, ringing again for what Redis forgot. */
import type { Lane } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Db } from '@offshoot/db/client';
import { heartbeat, inNoPlan, listRunnable, watchCancels } from '@offshoot/db/operations';
import type { JobRef } from '@offshoot/db/types';
import type { Logger } from 'pino';
import type { ServedHost } from './host.ts';
import { cancelled } from './processor.ts';
import type { Running } from './running.ts';
import { Tenure } from './tenure.ts';

/** Runs `work` every `ms` until the signal aborts, never twice at once; a failure is logged and the next turn comes. */
export function every(
  ms: number,
  what: string,
  work: () => Promise<void>,
  signal: AbortSignal,
  log: Logger,
): { now: () => Promise<void> } {
  let turn: Promise<void> | undefined;
  const now = (): Promise<void> => {
    turn ??= work()
      .catch((error: unknown) => log.warn({ err: error }, `${what} failed; trying again`))
      .finally(() => {
        turn = undefined;
      });
    return turn;
  };
  const timer = setInterval(() => void now(), ms);
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
  return { now };
}

/** One UPDATE for all claims. What it does not answer with was taken over by another worker: stop at once, undo nothing. */
export async function keepClaims(db: Db, running: Running): Promise<void> {
  const before = running.claims();
  if (before.length === 0) return;
  const askedAt = Tenure.now();
  const held = new Map((await heartbeat(db, before)).map((one) => [one.operationId, one]));
  for (const claim of before) {
    const kept = held.get(claim.operationId);
    if (kept?.token === claim.token) {
      // The cancel's notification may have been lost in a restart of PostgreSQL.
      running.confirm(claim.operationId, askedAt);
      if (kept.cancelRequested) running.abort(claim.operationId, cancelled());
    } else {
      running.abort(
        claim.operationId,
        new OffshootError('lost-claim', { publicMessage: 'Another worker has taken this operation over.' }),
      );
    }
  }
}

/** Aborts running operations within milliseconds of the click. */
export async function hearCancels(
  db: Db,
  running: Running,
  signal: AbortSignal,
): Promise<{ ended: Promise<void> }> {
  return watchCancels(db, (operationId) => running.abort(operationId, cancelled()), signal);
}

/**
 * Rings for every operation that should be worked on and is not: new ones whose doorbell Redis lost, and orphans.
 * @param isFull lanes that can take no more just now: ringing for them would only cost, and they are rung for later
 */
export async function reconcile(
  db: Db,
  hostId: string,
  running: Running,
  ring: (jobs: readonly JobRef[]) => Promise<void>,
  isFull: (lane: Lane) => boolean,
): Promise<void> {
  const runnable = await listRunnable(db, [hostId]);
  await ring(runnable.filter(({ operationId, lane }) => !running.has(operationId) && !isFull(lane)));
}

/** How often a full lane is rung for all the same: what Redis lost must not wait until a busy lane is empty. */
const FULL_EVERY = 10;

/** For `reconcile`, called once before each: which lanes have as many operations running as they may. */
export function fullLanes(
  running: Running,
  concurrency: Readonly<Record<Lane, number>>,
): () => (lane: Lane) => boolean {
  let turn = 0;
  return () => {
    const anyway = turn++ % FULL_EVERY === 0;
    return (lane) =>
      !anyway && running.claims().filter((claim) => claim.lane === lane).length >= concurrency[lane];
  };
}

/** In a folder that nobody goes on with nothing was written for so long, milliseconds. */
const ABANDONED_MS = 10 * 60_000;

/**
 * Removes what captures and imports left that ended without being able to: no operation that has not ended names it. A worker that
 * has lost its claim may still write for a moment, so what is young is left for a later look.
 */
export async function removeLeftovers(
  db: Db,
  { id, driver }: Pick<ServedHost, 'id' | 'driver'>,
  signal: AbortSignal,
  log: Logger,
): Promise<void> {
  const found = (await driver.leftovers?.list(signal)) ?? [];
  const old = found.filter(({ writtenMs }) => Date.now() - writtenMs > ABANDONED_MS);
  if (old.length === 0) return;
  const ids = old.map((each) => each.id);
  for (const gone of await inNoPlan(db, id, ids)) {
    await driver.leftovers?.remove(gone, signal);
    log.warn({ left: gone }, 'removed what an unfinished capture or import had left');
  }
}
