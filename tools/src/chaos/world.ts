/** Everything that a chaos run has: real services, workers, a host, a store, sources, and what it expects of clones. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OffshootError } from '@offshoot/clone-core/errors';
import { openDatabase, type Db } from '@offshoot/db/client';
import { registerHost } from '@offshoot/db/inventory';
import { migrate } from '@offshoot/db/migrate';
import { openQueues, type Queues } from '@offshoot/queue/jobs';
import { execa } from 'execa';
import { stopServices } from '../start/child.ts';
import type { ChaosOptions } from './arguments.ts';
import { domains, virsh } from './host.ts';
import { startServices, type Services } from './services.ts';
import { Ledger } from './ledger.ts';
import { makeSources, sampleCache, type Source, type Sources } from './sources.ts';
import { makeStore, type Store } from './store.ts';
import { watchEvents, type Watch } from './watch.ts';
import { HOST_ID, workersOf, type Workers } from './workers.ts';

export interface World {
  options: ChaosOptions;
  folder: string;
  /** Every name of this run begins with it. */
  prefix: string;
  services: Services;
  workers: Workers;
  store: Store;
  sources: Sources;
  db: Db;
  queues: Queues;
  watch: Watch;
  ledger: Ledger;
  /** Sources of one round, beside the standing ones. */
  extras: Source[];
  /** Next number for a name. */
  count: number;
  /** From now on `close` leaves the folder. */
  keep(): void;
  close(): Promise<void>;
}

const STORE_BYTES = 4 * 1024 ** 3;
/** A real disk: a memory filesystem has neither the size nor the pace. */
export const SCRATCH = process.env['OFFSHOOT_TEST_SCRATCH'] ?? '/var/tmp';

const repository = join(import.meta.dirname, '../../..');

/** Starts everything. Whatever was begun is stopped again when a part does not start. */
export async function openWorld(options: ChaosOptions, say: (line: string) => void): Promise<World> {
  if (process.getuid?.() !== 0)
    throw new OffshootError('permission', {
      publicMessage: 'npm run chaos needs root: it mounts a small filesystem and uses qemu:///system.',
    });
  const folder = await mkdtemp(join(SCRATCH, 'offshoot-chaos-'));
  await chmod(folder, 0o711);
  let kept = options.keep;
  const keep = (): void => {
    kept = true;
  };
  const undo: (() => Promise<unknown>)[] = [
    async () => (kept ? undefined : rm(folder, { recursive: true, force: true })),
  ];
  const close = async (): Promise<void> => {
    for (const step of undo.toReversed()) await step();
    undo.length = 0;
  };
  try {
    return { ...(await open(options, folder, say, undo)), keep, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function open(
  options: ChaosOptions,
  folder: string,
  say: (line: string) => void,
  undo: (() => Promise<unknown>)[],
): Promise<Omit<World, 'keep' | 'close'>> {
  const prefix = `chaos-${randomBytes(2).toString('hex')}-`;
  say(`  building the worker`);
  await execa(process.execPath, [join(repository, 'apps/worker/build.mjs')]);
  say(`  starting PostgreSQL, Redis and libvirt in ${folder}`);
  undo.push(stopServices);
  const services = await startServices(folder, repository, say);
  const store = await makeStore(folder, STORE_BYTES);
  undo.push(() => store.close());
  undo.push(() => removeGuests(services.libvirtUri, prefix));
  say(`  making sources${options.sample ? ', booting the sample guest' : ''}`);
  const sources = await makeSources({
    uri: services.libvirtUri,
    folder: join(folder, 'images'),
    prefix,
    seed: options.seed,
    sampleCache: options.sample ? sampleCache(SCRATCH) : undefined,
  });
  await migrate(services.databaseUrl);
  const db = openDatabase(services.databaseUrl, { poolSize: 8 });
  undo.push(() => db.close());
  await registerHost(db, {
    id: HOST_ID,
    name: 'Chaos',
    kind: 'libvirt',
    simulated: false,
    workerVersion: '',
  });
  const queues = openQueues(services.redisUrl);
  undo.push(() => queues.close());
  const watch = await watchEvents(db);
  undo.push(() => watch.close());
  const workers = workersOf({
    repository,
    logs: join(folder, 'logs'),
    environment: {
      PATH: process.env['PATH'],
      TMPDIR: process.env['TMPDIR'],
      DATABASE_URL: services.databaseUrl,
      REDIS_URL: services.redisUrl,
      OFFSHOOT_HOST_ID: HOST_ID,
      OFFSHOOT_HOST_NAME: 'Chaos',
      OFFSHOOT_LIBVIRT_URI: services.libvirtUri,
      OFFSHOOT_STORE: store.path,
      OFFSHOOT_LANES_BULK: '2',
      // So few that a state kept on purpose has its clone made whole.
      OFFSHOOT_CHAIN_BUDGET: '3',
    },
  });
  undo.push(async () => {
    for (const worker of workers.living) workers.thaw(worker);
    await Promise.all(workers.living.map((worker) => workers.kill(worker)));
  });
  await workers.ensure();
  const ledger = new Ledger();
  return {
    options,
    folder,
    prefix,
    services,
    workers,
    store,
    sources,
    db,
    queues,
    watch,
    ledger,
    extras: [],
    count: 0,
  };
}

async function removeGuests(uri: string, prefix: string): Promise<void> {
  for (const domain of await domains(uri)) {
    if (!domain.name.startsWith(prefix)) continue;
    await execa('virsh', ['-q', '-c', uri, 'destroy', domain.uuid], { reject: false });
    await virsh(uri, 'undefine', domain.uuid, '--nvram', '--checkpoints-metadata', '--snapshots-metadata');
  }
}

const PATIENCE_MS = 30_000;

/** Repeats a read while PostgreSQL is being restarted; rejects with its last error when that takes too long. */
export async function patiently<T>(read: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await read();
    } catch (error) {
      if (error instanceof OffshootError || Date.now() > deadline) throw error;
      await sleep(50);
    }
  }
}
