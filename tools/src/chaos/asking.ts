/** How a run asks for operations: as the web does, through the database package, then a ring. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { OffshootError, type ErrorCode } from '@offshoot/clone-core/errors';
import { requestCancel } from '@offshoot/db/operations';
import type { BatchResult } from '@offshoot/db/types';
import { patiently, type World } from './world.ts';

export interface Asked {
  /** "clone full ×2 of plain". */
  label: string;
  operationIds: string[];
  refused?: ErrorCode;
}

export interface Click {
  userId: null;
  idempotencyKey: string;
}

const GIVE_UP_MS = 60_000;

/** One click: sent again with the same key until the database answers, as a person would. A refusal is an answer. */
export async function click(
  world: World,
  label: string,
  send: (click: Click) => Promise<BatchResult>,
  key: string = randomUUID(),
): Promise<Asked> {
  const deadline = Date.now() + GIVE_UP_MS;
  for (;;) {
    try {
      const batch = await send({ userId: null, idempotencyKey: key });
      await ring(world, batch);
      return { label, operationIds: batch.operationIds };
    } catch (error) {
      if (!(error instanceof OffshootError)) throw error;
      if (error.code !== 'host-unreachable' || Date.now() > deadline)
        return { label, operationIds: [], refused: error.code };
      await sleep(100);
    }
  }
}

/** As the web does: a doorbell that can't be rung is the reconciler's business. */
async function ring(world: World, batch: BatchResult): Promise<void> {
  for (const job of batch.jobs) {
    try {
      await world.queues.enqueueOperation(job);
    } catch (error) {
      if (error instanceof OffshootError) return;
      throw error;
    }
  }
}

export async function cancel(world: World, operationId: string): Promise<void> {
  world.ledger.cancels.add(operationId);
  await patiently(() => requestCancel(world.db, operationId));
}
