/**
 * The workers of many simulated hosts in one process, for load tests. Each host has what its own worker would have
 * (inventory, lanes, previews, reconciler, heartbeats), from the same code; they share one pool to PostgreSQL, and none
 * holds its host's lock, which would take a connection each.
 */
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { lanes } from '@offshoot/clone-core/contract';
import { makeDriver, type SimulatedConfig } from '@offshoot/clone-core/drivers';
import { OffshootError } from '@offshoot/clone-core/errors';
import { localShell } from '@offshoot/clone-core/shell/local';
import { openDatabase, type Db } from '@offshoot/db/client';
import { registerHost } from '@offshoot/db/inventory';
import { openQueues, type Queues } from '@offshoot/queue/jobs';
import { serveLane, servePreviews, type Served } from '@offshoot/queue/serve';
import { pino, type Logger } from 'pino';
import { keepAttesting } from '../../src/attest-loop.ts';
import type { ServedHost } from '../../src/host.ts';
import { keepInventory } from '../../src/inventory-loop.ts';
import { createProcessor } from '../../src/processor.ts';
import { readsOf } from '../../src/reads.ts';
import { Running } from '../../src/running.ts';
import { every, fullLanes, keepClaims, reconcile } from '../../src/upkeep.ts';

/** As in worker.ts, milliseconds. */
const HEARTBEAT_MS = 2000;
const RECONCILE_MS = 2000;
const CONCURRENCY = { interactive: 4, bulk: 1 };
/** Hosts begin one after the other over this long, so that their clocks are spread as those of real hosts are, milliseconds. */
const SPREAD_MS = 5000;

export interface FleetOptions {
  databaseUrl: string;
  redisUrl: string;
  hostIds: readonly string[];
  /** The same for every host, but for its seed. */
  simulated: SimulatedConfig;
  poolSize: number;
}

export interface SimulatedFleet {
  /** Takes work from now on; before, operations only queue. Resolves when every lane is served. */
  openLanes(): Promise<void>;
  /** Looks at every host so many times, `atOnce` of them at a time, beside what they do by their own clocks. */
  look(times: number, atOnce: number): Promise<void>;
  close(): Promise<void>;
}

/** Resolves when every host has registered and its guests are in the inventory. */
export async function openSimulatedFleet(options: FleetOptions): Promise<SimulatedFleet> {
  const db = openDatabase(options.databaseUrl, { poolSize: options.poolSize });
  const queues = openQueues(options.redisUrl);
  const stop = new AbortController();
  // Each host's clocks listen for it, as those of each worker do to a signal of its own.
  setMaxListeners(0, stop.signal);
  const log = pino({ level: 'error' });
  const shared = { db, queues, redisUrl: options.redisUrl, signal: stop.signal, log };
  const pause = SPREAD_MS / options.hostIds.length;
  const hosts: OneHost[] = [];
  for (const [index, id] of options.hostIds.entries()) {
    hosts.push(await oneHost(shared, id, { ...options.simulated, seed: index + 1 }));
    await sleep(pause);
  }
  await Promise.all(hosts.map((host) => host.listed));
  return {
    async openLanes() {
      for (const host of hosts) {
        host.openLanes();
        await sleep(0);
      }
    },
    async look(times, atOnce) {
      for (let turn = 0; turn < times; turn++) {
        const waiting = [...hosts];
        const looking = async (): Promise<void> => {
          for (let host = waiting.pop(); host; host = waiting.pop()) await host.look();
        };
        await Promise.all(Array.from({ length: atOnce }, looking));
      }
    },
    async close() {
      stop.abort(new OffshootError('busy', { publicMessage: 'The fleet stops.', retryable: true }));
      await Promise.all(hosts.map((host) => host.close()));
      await queues.close();
      await db.close();
    },
  };
}

interface Shared {
  db: Db;
  queues: Queues;
  redisUrl: string;
  signal: AbortSignal;
  log: Logger;
}

interface OneHost {
  listed: Promise<void>;
  look(): Promise<void>;
  openLanes(): void;
  close(): Promise<void>;
}

async function oneHost(shared: Shared, id: string, simulated: SimulatedConfig): Promise<OneHost> {
  const { db, queues, redisUrl, signal, log } = shared;
  const shell = localShell();
  const driver = makeDriver({ kind: 'simulated', store: '/simulated', simulated }, shell);
  const host: ServedHost = { id, driver, shell, peers: undefined };
  const running = new Running();
  await registerHost(db, {
    id,
    name: id,
    kind: 'simulated',
    simulated: true,
    workerVersion: '0.1.0',
  });
  const onDuty = (): boolean => true;
  const inventory = keepInventory(db, host, onDuty, signal, log);
  const ring = async (jobs: Parameters<Queues['enqueueOperation']>[0][]): Promise<void> => {
    for (const job of jobs) await queues.enqueueOperation(job);
  };
  const operation = createProcessor({
    db,
    driver,
    hostId: id,
    workerId: `${id}/${process.pid}`,
    running,
    onDuty,
    stopping: signal,
    ring: (jobs) => ring([...jobs]),
    changed: inventory.changed,
    log,
  });
  keepAttesting(db, host, onDuty, signal, log);
  const onError = (error: Error): void => log.warn({ err: error, host: id }, 'queue');
  const served: Served[] = [
    servePreviews(redisUrl, { hostId: id, concurrency: 4, answers: readsOf(db, driver, id), onError }),
  ];
  const full = fullLanes(running, CONCURRENCY);
  return {
    listed: inventory.now(),
    look: inventory.now,
    openLanes() {
      for (const lane of lanes)
        served.push(
          serveLane(redisUrl, { hostId: id, lane, concurrency: CONCURRENCY[lane], operation, onError }),
        );
      every(HEARTBEAT_MS, 'heartbeat', () => keepClaims(db, running), signal, log);
      every(
        RECONCILE_MS,
        'reconciling',
        () => reconcile(db, id, running, (jobs) => ring([...jobs]), full()),
        signal,
        log,
      );
    },
    async close() {
      running.abortAll(new OffshootError('busy', { publicMessage: 'The fleet stops.', retryable: true }));
      await Promise.all(served.map((each) => each.close()));
      await shell.close();
    },
  };
}
