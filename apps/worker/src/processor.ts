/** From a doorbell to an ended operation: claim, inspect, plan, save, execute, finish. */
import type { AnyDriver } from '@offshoot/clone-core/drivers';
import type { OperationKind } from '@offshoot/clone-core/contract';
import { OffshootError, toOffshootError } from '@offshoot/clone-core/errors';
import { execute, startsWithRecord, type Outcome, type StartingPoint } from '@offshoot/clone-core/execute';
import type { Plan } from '@offshoot/clone-core/driver';
import type { Db } from '@offshoot/db/client';
import { macsTakenElsewhere } from '@offshoot/db/inventory';
import { journalFor } from '@offshoot/db/journal';
import {
  claim,
  finish,
  giveBack,
  markStale,
  resolveRequest,
  savePlan,
  type Claim,
} from '@offshoot/db/operations';
import type { JobRef } from '@offshoot/db/types';
import type { Logger } from 'pino';
import { planBeside } from './ids.ts';
import type { Running } from './running.ts';
import { during, Tenure } from './tenure.ts';

export interface ProcessorParts {
  db: Db;
  driver: AnyDriver;
  workerId: string;
  /** The host it serves: an operation that went to another one meanwhile is not claimed. */
  hostId: string;
  running: Running;
  /** Whether this worker holds its host's lock: without it nothing new is claimed. */
  onDuty(): boolean;
  /** Aborted when the worker stops: work is given back, not undone. */
  stopping: AbortSignal;
  /** Rings for operations that waited for this one. */
  ring(jobs: readonly JobRef[]): Promise<void>;
  /** Called after an operation changed the host. */
  changed: () => void;
  log: Logger;
}

export const cancelled = (): OffshootError => new OffshootError('cancelled', { publicMessage: 'Cancelled.' });

/** Makes the function that performs one operation by its id. It rejects for nothing that the row already says. */
export function createProcessor(parts: ProcessorParts): (operationId: string) => Promise<void> {
  const { db, workerId, hostId, running, stopping, log } = parts;
  return async (operationId) => {
    if (stopping.aborted || running.has(operationId) || !parts.onDuty()) return;
    const tenure = new Tenure();
    const held = await claim(db, { operationId, workerId, hostId });
    if (!held) return;
    const signal = running.add(held, tenure);
    const line = log.child({ operationId, kind: held.kind, title: held.title, attempt: held.attempts });
    line.info({ resumed: held.resume !== undefined }, 'operation claimed');
    try {
      if (stopping.aborted) throw toOffshootError(stopping.reason);
      const outcome = await during(tenure, () => perform(parts, held, signal));
      if (outcome === 'stale') {
        line.info('plan was stale');
        return;
      }
      const jobs = await finish(db, held, outcome);
      if (outcome.state === 'failed') {
        line.warn(
          { err: outcome.error, context: outcome.error.context, undo: outcome.undo },
          'operation failed',
        );
      } else {
        line.info({ state: outcome.state }, 'operation ended');
      }
      await parts.ring(jobs);
      parts.changed();
    } catch (thrown) {
      const error = toOffshootError(thrown);
      line.warn({ err: error, context: error.context }, 'operation left for another worker');
      // A claim that is another worker's by now is not touched by this.
      await giveBack(db, [held], { totalMs: 4000 });
    } finally {
      running.remove(operationId);
    }
  };
}

async function perform(parts: ProcessorParts, held: Claim, signal: AbortSignal): Promise<Outcome | 'stale'> {
  const { db, driver, running, stopping } = parts;
  if (held.cancelRequested) running.abort(held.operationId, cancelled());
  const planned = held.resume ?? (await planAfresh(parts, held, signal));
  if (planned === 'stale' || 'state' in planned) return planned;
  return execute(planned.plan, driver, journalFor(db, held, { stop: stopping }), {
    operationId: held.operationId,
    signal,
    from: planned.from,
  });
}

type Planned = { plan: Plan; from: StartingPoint } | Outcome | 'stale';

async function planAfresh(
  { db, driver }: ProcessorParts,
  held: Claim,
  signal: AbortSignal,
): Promise<Planned> {
  let plan: Plan;
  try {
    if (signal.aborted) throw toOffshootError(signal.reason);
    const request = await resolveRequest(db, held);
    const facts = await driver.inspect(request, signal);
    plan = await planBeside(
      (ids) => driver.plan(request, facts, ids),
      (macs) => macsTakenElsewhere(db, held.hostId, macs),
    );
    if (signal.aborted) throw toOffshootError(signal.reason);
  } catch (thrown) {
    const error = toOffshootError(signal.aborted ? signal.reason : thrown);
    // Aborted by anything but a cancel: the worker stops, or has lost the claim. The operation is for another.
    if (signal.aborted && error.code !== 'cancelled') throw error;
    return endedBeforePlan(error);
  }
  if (held.agreedFingerprint !== null && held.agreedFingerprint !== plan.fingerprint) {
    await markStale(db, held, plan, stalePlan(held.kind));
    return 'stale';
  }
  const first = plan.steps[0];
  const begins = first !== undefined && startsWithRecord(first);
  await savePlan(db, held, plan, { begins });
  return { plan, from: { nextStep: 0, recorded: begins } };
}

/** Nothing was begun: there is nothing to undo. */
function endedBeforePlan(error: OffshootError): Outcome {
  if (error.code === 'cancelled') return { state: 'cancelled', undo: { undone: [], leftBehind: [] } };
  return { state: 'failed', error, undo: { undone: [], leftBehind: [] }, result: {} };
}

const sources: Partial<Record<OperationKind, string>> = {
  clone: 'The source',
  refresh: 'The guest, its source',
  import: 'The image',
};
const again: Partial<Record<OperationKind, string>> = {
  clone: 'clone again',
  capture: 'capture it again',
  import: 'import it again',
  reset: 'reset it again',
  refresh: 'refresh it again',
  restore: 'put it back again',
  revert: 'go back again',
  snapshot: 'take the snapshot again',
  'remove-snapshot': 'remove the snapshot again',
  promote: 'detach it again',
  migrate: 'move it again',
  transfer: 'bring it again',
  export: 'export it again',
};

const stalePlan = (kind: OperationKind): OffshootError =>
  new OffshootError('stale-plan', {
    publicMessage: `${sources[kind] ?? 'The guest'} or its host changed after you saw the preview, so nothing was done.`,
    remedy: `Look at the new preview and ${again[kind] ?? 'ask for it again'}.`,
  });
