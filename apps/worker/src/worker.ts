/** One worker for one host, put together from its parts. */
import { lanes, type Lane } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { openDatabase } from '@offshoot/db/client';
import { registerHost, reportHost } from '@offshoot/db/inventory';
import { giveBack } from '@offshoot/db/operations';
import type { JobRef } from '@offshoot/db/types';
import { openQueues } from '@offshoot/queue/jobs';
import { serveLane } from '@offshoot/queue/serve';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { WorkerConfig } from './config.ts';
import { lockHost, type HostLock } from './host-lock.ts';
import { openHost } from './host.ts';
import { keepInventory } from './inventory-loop.ts';
import { previewClone } from './preview.ts';
import { createProcessor } from './processor.ts';
import { Running } from './running.ts';
import { every, hearCancels, keepClaims, reconcile } from './upkeep.ts';

const HEARTBEAT_MS = 2000;
const RECONCILE_MS = 2000;
/** Previews are reads, but a host that hangs must not hold them for ever, milliseconds. */
const PREVIEW_PATIENCE_MS = 14_000;
/** How long a stop waits for running steps to let go, milliseconds. */
const STOP_PATIENCE_MS = 5000;

/** Serves the host until `stop` aborts, then gives work back and closes. Resolves when all is closed. */
export async function runWorker(
  config: WorkerConfig,
  version: string,
  stop: AbortSignal,
  log: Logger,
  onReady: () => void,
): Promise<void> {
  const db = openDatabase(config.DATABASE_URL);
  const host = await openHost(config);
  const queues = openQueues(config.REDIS_URL);
  const running = new Running();
  const stopping = new AbortController();
  const workerId = `${config.OFFSHOOT_HOST_ID}/${process.pid}/${randomUUID().slice(0, 8)}`;
  let lock: HostLock | undefined;
  try {
    lock = await lockHost(config.DATABASE_URL, host.id, stop, log);
    if (!lock) return;
    await registerHost(db, {
      id: host.id,
      name: config.OFFSHOOT_HOST_NAME,
      kind: config.OFFSHOOT_HOST_KIND,
      simulated: host.driver.info.simulated,
      workerVersion: version,
    });
    const ring = async (jobs: readonly JobRef[]): Promise<void> => {
      for (const job of jobs) {
        try {
          await queues.enqueueOperation(job);
        } catch (error) {
          // The reconciler rings again; the row is the truth.
          log.warn({ err: error, operationId: job.operationId }, 'a doorbell could not be rung');
          return;
        }
      }
    };
    const inventory = keepInventory(db, host, stopping.signal, log);
    const operation = createProcessor({
      db,
      driver: host.driver,
      workerId,
      running,
      stopping: stopping.signal,
      ring,
      changed: inventory.changed,
      log,
    });
    const cancels = await hearCancels(db, running, stopping.signal);
    every(HEARTBEAT_MS, 'heartbeat', () => keepClaims(db, workerId, running), stopping.signal, log);
    const reconciler = every(
      RECONCILE_MS,
      'reconciling',
      () => reconcile(db, host.id, running, ring),
      stopping.signal,
      log,
    );
    const concurrency: Record<Lane, number> = {
      interactive: config.OFFSHOOT_LANES_INTERACTIVE,
      bulk: config.OFFSHOOT_LANES_BULK,
    };
    const servers = lanes.map((lane) =>
      serveLane(config.REDIS_URL, {
        hostId: host.id,
        lane,
        concurrency: concurrency[lane],
        operation,
        preview: (request) =>
          previewClone(db, host.driver, request, AbortSignal.timeout(PREVIEW_PATIENCE_MS)),
        onError: (error) => log.warn({ err: error, lane }, 'queue'),
      }),
    );
    await Promise.all([inventory.now(), reconciler.now()]);
    onReady();
    await ended(stop, lock, config, host.id, log, (next) => {
      lock = next;
    });
    const reason = new OffshootError('lost-claim', {
      publicMessage: 'The worker stops; another one goes on.',
    });
    stopping.abort(reason);
    running.abortAll(
      new OffshootError('busy', { publicMessage: 'The worker stops; another one goes on.', retryable: true }),
    );
    await Promise.race([
      Promise.all(servers.map((server) => server.close())),
      sleep(STOP_PATIENCE_MS, undefined, { ref: false }),
    ]);
    const left = running.claims();
    if (left.length > 0) await giveBack(db, left, { totalMs: 2000 });
    await reportHost(db, host.id, { problem: 'Its worker was stopped.' });
    await cancels.ended;
  } finally {
    stopping.abort();
    await lock?.release();
    await queues.close();
    await host.shell.close();
    await db.close();
  }
}

/** Resolves when told to stop. A lock lost in a restart of PostgreSQL is taken again; someone else having it ends us. */
async function ended(
  stop: AbortSignal,
  first: HostLock,
  config: WorkerConfig,
  hostId: string,
  log: Logger,
  keep: (lock: HostLock) => void,
): Promise<void> {
  const told = new Promise<'stop'>((resolve) => {
    if (stop.aborted) resolve('stop');
    stop.addEventListener('abort', () => resolve('stop'), { once: true });
  });
  for (let lock = first; ;) {
    if ((await Promise.race([told, lock.lost.then(() => 'lost' as const)])) === 'stop') return;
    log.warn('the lock on the host was lost with its connection; taking it again');
    const next = await lockHost(config.DATABASE_URL, hostId, stop, log);
    if (!next) return;
    keep(next);
    lock = next;
  }
}
