/** One worker for one host, put together from its parts. */
import { lanes, type Lane } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { openDatabase, type Db } from '@offshoot/db/client';
import { isDue, registerHost, reportHost, thinSamples } from '@offshoot/db/inventory';
import { collectUnusedBases, giveBack, healCopies } from '@offshoot/db/operations';
import { registerPeer } from '@offshoot/db/peers';
import type { JobRef } from '@offshoot/db/types';
import { openQueues } from '@offshoot/queue/jobs';
import { serveLane, servePreviews } from '@offshoot/queue/serve';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { keepAttesting } from './attest-loop.ts';
import type { WorkerConfig } from './config.ts';
import { takeDuty } from './duty.ts';
import { openHost } from './host.ts';
import { keepInventory } from './inventory-loop.ts';
import { createProcessor } from './processor.ts';
import { needProtocol } from './protocol.ts';
import { readsOf } from './reads.ts';
import { Running } from './running.ts';
import { every, fullLanes, hearCancels, keepClaims, reconcile, removeLeftovers } from './upkeep.ts';

const HEARTBEAT_MS = 2000;
const RECONCILE_MS = 2000;
/** Bases are collected when their last child goes; this finds what that missed, milliseconds. */
const COLLECT_MS = 60_000;
/** How often one of all workers folds old samples of hosts together, seconds. */
const THIN_SECONDS = 300;
const PREVIEWS_AT_ONCE = 4;
/** How long a stop waits for running steps to let go, and then for connections to close, milliseconds. */
const STOP_PATIENCE_MS = 5000;
/** The same where neither PostgreSQL nor Redis lets it in any more, milliseconds. */
const REFUSED_PATIENCE_MS = 250;

/** Serves the host until `stop` aborts, then gives work back and closes. Resolves when all is closed. */
export async function runWorker(
  config: WorkerConfig,
  version: string,
  stop: AbortSignal,
  log: Logger,
  onReady: () => void,
): Promise<void> {
  const db = openDatabase(config.DATABASE_URL);
  const host = await openHost(config, db);
  const queues = openQueues(config.REDIS_URL);
  const running = new Running();
  const stopping = new AbortController();
  const workerId = `${config.OFFSHOOT_HOST_ID}/${process.pid}/${randomUUID().slice(0, 8)}`;
  const duty = takeDuty(db, host.id, running, stopping.signal, log);
  const halt = AbortSignal.any([stop, duty.refusal]);
  const patience = (): number => (duty.refusal.aborted ? REFUSED_PATIENCE_MS : STOP_PATIENCE_MS);
  try {
    if (!(await duty.begun(halt))) {
      duty.refusal.throwIfAborted();
      return;
    }
    await needProtocol(db, host.id, version);
    await registerHost(db, {
      id: host.id,
      name: config.OFFSHOOT_HOST_NAME,
      kind: config.OFFSHOOT_HOST_KIND,
      simulated: host.driver.info.simulated,
      workerVersion: version,
    });
    await host.peers?.open(log, host.driver);
    if (!host.peers) await registerPeer(db, host.id, null);
    const ring = async (jobs: readonly JobRef[]): Promise<void> => {
      for (const job of jobs) {
        try {
          await queues.enqueueOperation(job);
        } catch (error) {
          // The reconciler rings again; the row is the truth. Another host's queue is closed to a worker that joined:
          // that host's own reconciler rings.
          if (job.hostId !== host.id) continue;
          log.warn({ err: error, operationId: job.operationId }, 'a doorbell could not be rung');
          return;
        }
      }
    };
    const inventory = keepInventory(db, host, () => duty.held, stopping.signal, log);
    const operation = createProcessor({
      db,
      driver: host.driver,
      workerId,
      hostId: host.id,
      running,
      onDuty: () => duty.held,
      stopping: stopping.signal,
      ring,
      changed: inventory.changed,
      log,
    });
    const cancels = await hearCancels(db, running, stopping.signal);
    every(HEARTBEAT_MS, 'heartbeat', () => keepClaims(db, running), stopping.signal, log);
    const concurrency: Record<Lane, number> = {
      interactive: config.OFFSHOOT_LANES_INTERACTIVE,
      bulk: config.OFFSHOOT_LANES_BULK,
    };
    const full = fullLanes(running, concurrency);
    const reconciler = every(
      RECONCILE_MS,
      'reconciling',
      async () => {
        if (!duty.held) return;
        await ring(await healCopies(db, host.id));
        await reconcile(db, host.id, running, ring, full());
      },
      stopping.signal,
      log,
    );
    const collector = every(
      COLLECT_MS,
      'collecting bases',
      async () => {
        if (!duty.held) return;
        await ring(await collectUnusedBases(db, host.id));
        await removeLeftovers(db, host, stopping.signal, log);
        if (await isDue(db, 'samples', THIN_SECONDS)) await thinSamples(db);
      },
      stopping.signal,
      log,
    );
    keepAttesting(db, host, () => duty.held, stopping.signal, log);
    const laneServers = lanes.map((lane) =>
      serveLane(config.REDIS_URL, {
        hostId: host.id,
        lane,
        concurrency: concurrency[lane],
        operation,
        onError: (error) => log.warn({ err: error, lane }, 'queue'),
      }),
    );
    const previews = servePreviews(config.REDIS_URL, {
      hostId: host.id,
      concurrency: PREVIEWS_AT_ONCE,
      answers: readsOf(db, host.driver, host.id),
      onError: (error) => log.warn({ err: error }, 'previews'),
    });
    const servers = [...laneServers, previews];
    await Promise.all([inventory.now(), reconciler.now(), collector.now()]);
    onReady();
    await aborted(halt);
    const reason = new OffshootError('busy', {
      publicMessage: 'The worker stops; another one goes on.',
      retryable: true,
    });
    stopping.abort(reason);
    running.abortAll(reason);
    await Promise.race([
      Promise.all(servers.map((server) => server.close())),
      sleep(patience(), undefined, { ref: false }),
    ]);
    duty.refusal.throwIfAborted();
    const left = running.claims();
    if (left.length > 0) await giveBack(db, left, { totalMs: 2000 });
    await sayGoodbye(db, host.id, log);
    await cancels.ended;
  } finally {
    stopping.abort();
    await duty.ended;
    const close = async (): Promise<void> => {
      await host.peers?.close();
      await queues.close();
      await host.shell.close();
      await db.close();
    };
    // All that matters is written: a Redis that restarts at this moment must not keep a worker from going.
    const waited = new AbortController();
    await Promise.race([close(), sleep(patience(), undefined, { signal: waited.signal })]);
    waited.abort();
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Tells the Hosts page at once; without a database it learns from the heartbeat's silence. */
async function sayGoodbye(db: Db, hostId: string, log: Logger): Promise<void> {
  try {
    await reportHost(db, hostId, { problem: 'Its worker was stopped.' });
  } catch (error) {
    log.warn({ err: error }, 'the stop could not be reported');
  }
}
