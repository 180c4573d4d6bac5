import type { BatchResult } from '@offshoot/db/types';
import { log } from './log.ts';
import { queues } from './services.ts';

export interface Accepted {
  batchId: string;
  operationIds: string[];
  /** The same click was seen before; nothing new was made. */
  repeated: boolean;
}

/** Milliseconds that a click waits for Redis to take a job; after that the reconciler rings. */
const RING_TIMEOUT_MS = 2000;

/**
 * Tells the workers of rows just inserted. When Redis is down the rows stand and the reconciler enqueues them, so
 * this never fails the click.
 */
export async function ring(result: BatchResult): Promise<Accepted> {
  const ringing = Promise.all(result.jobs.map((job) => queues().enqueueOperation(job)));
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('Redis takes too long')), RING_TIMEOUT_MS);
  });
  try {
    await Promise.race([ringing, late]);
  } catch (error) {
    log.warn({ err: error, batchId: result.batchId }, 'jobs were not enqueued; the reconciler will');
    ringing.catch(() => undefined);
  } finally {
    clearTimeout(timer);
  }
  return { batchId: result.batchId, operationIds: result.operationIds, repeated: result.repeated };
}
