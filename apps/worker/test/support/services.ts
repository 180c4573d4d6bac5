/**
 * What a test of the whole way needs: a private PostgreSQL and Redis, and real worker processes. Reused by the tests
 * of real hypervisors: pass another environment to `startWorker`.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { openDatabase, type Db } from '@offshoot/db/client';
import { freshDatabase } from '@offshoot/db/testing/postgres';
import { activeWorkers, admitWorker, revokeWorkers } from '@offshoot/db/workers';
import { openAccess, type Access } from '@offshoot/queue/access';
import { openQueues, type Queues } from '@offshoot/queue/jobs';
import { startRedis, type TestRedis } from '@offshoot/queue/testing/redis';

export type { PostgresUrl } from '@offshoot/db/testing/global-setup';
export { startPostgres, type TestServer } from '@offshoot/db/testing/postgres';
export { startRedis, type TestRedis } from '@offshoot/queue/testing/redis';

export interface TestWorker {
  pid: number;
  /** Resolves when it serves its host; rejects when it ends before. */
  ready: Promise<void>;
  /** Everything it logged so far. */
  log(): string;
  /** KILL: it gets no chance to tidy up. */
  kill(): Promise<void>;
  /** TERM; resolves with its exit code. */
  stop(): Promise<number | null>;
  exited: Promise<number | null>;
}

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** Has Node read another version from the worker's package.json: the sources of today under another number. */
const asVersion = (version: string): string[] => {
  const hook = `export const load = (url, context, next) => url.split('?')[0].endsWith('/apps/worker/package.json')
    ? { format: 'json', source: '{"version":${JSON.stringify(version)}}', shortCircuit: true } : next(url, context);`;
  const begin = `import { register } from 'node:module'; register('data:text/javascript,${encodeURIComponent(hook).replaceAll("'", '%27')}');`;
  return ['--import', `data:text/javascript,${encodeURIComponent(begin)}`];
};

/** Starts a worker process from source. `env` is the whole of its configuration (PATH is added). */
export function startWorker(env: Readonly<Record<string, string>>, version?: string): TestWorker {
  const child: ChildProcess = fork(main, [], {
    execArgv: ['--import', 'tsx', ...(version === undefined ? [] : asVersion(version))],
    env: { PATH: process.env['PATH'], TMPDIR: process.env['TMPDIR'], ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  const ready = new Promise<void>((resolve, reject) => {
    child.on('message', () => resolve());
    void exited.then((code) =>
      reject(new Error(`the worker ended with ${code} before it was ready:\n${text}`)),
    );
  });
  // Only who waits for it cares.
  ready.catch(() => undefined);
  const end = (signal: NodeJS.Signals): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    return exited;
  };
  return {
    pid: child.pid ?? 0,
    ready,
    exited,
    log: () => text,
    stop: () => end('SIGTERM'),
    async kill() {
      await end('SIGKILL');
    },
  };
}

export interface Rig {
  db: Db;
  databaseUrl: string;
  queues: Queues;
  redis: TestRedis;
  /** Starts a worker of host `h1` on this rig's services, and waits until it serves. */
  worker(env?: Readonly<Record<string, string>>): Promise<TestWorker>;
  /** As `worker`, without waiting. `version`: what it says of itself. */
  launch(env?: Readonly<Record<string, string>>, version?: string): TestWorker;
  close(): Promise<void>;
}

/** Signs in as a host's own worker, not as the portal. */
export interface WorkerUrls {
  DATABASE_URL: string;
  REDIS_URL: string;
}

/** A credential for the host, in PostgreSQL and in Redis. */
export async function credentialFor(
  rig: Pick<Rig, 'db' | 'databaseUrl' | 'redis'>,
  access: Access,
  hostId: string,
  hostName = hostId,
): Promise<WorkerUrls> {
  const credential = await admitWorker(rig.db, { hostId, hostName, kind: 'libvirt', machine: null });
  await access.admit([credential]);
  const database = new URL(rig.databaseUrl);
  database.username = credential.role;
  database.password = credential.password;
  return {
    DATABASE_URL: database.toString(),
    REDIS_URL: `${rig.redis.url}?user=${credential.role}&password=${credential.password}`,
  };
}

export interface RigOptions {
  /** Its workers sign in with credentials of their hosts, as ones that joined do; else as the portal. */
  joined?: boolean;
}

/** A fresh database on the given PostgreSQL, a Redis of its own, and workers with the given configuration. */
export async function openRig(
  postgresUrl: string,
  hostEnv: Readonly<Record<string, string>>,
  options: RigOptions = {},
): Promise<Rig> {
  const database = await freshDatabase(postgresUrl);
  const redis = await startRedis();
  const db = openDatabase(database.url);
  const queues = openQueues(redis.url);
  const joined = options.joined ?? process.env['OFFSHOOT_TEST_JOINED'] === '1';
  const access = openAccess(
    redis.url,
    () => activeWorkers(db),
    () => undefined,
  );
  const urls: WorkerUrls = joined
    ? await credentialFor({ db, databaseUrl: database.url, redis }, access, 'h1', 'Host 1')
    : { DATABASE_URL: database.url, REDIS_URL: redis.url };
  const workers: TestWorker[] = [];
  let closed = false;
  const launch: Rig['launch'] = (env = {}, version) => {
    const host = { OFFSHOOT_HOST_ID: 'h1', OFFSHOOT_HOST_NAME: 'Host 1' };
    const worker = startWorker({ ...urls, ...host, ...hostEnv, ...env }, version);
    workers.push(worker);
    return worker;
  };
  return {
    db,
    databaseUrl: database.url,
    queues,
    redis,
    launch,
    async worker(env) {
      const worker = launch(env);
      await worker.ready;
      return worker;
    },
    async close() {
      if (closed) return;
      closed = true;
      await Promise.all(workers.map((worker) => worker.kill()));
      access.close();
      for (const { hostId } of await activeWorkers(db)) await revokeWorkers(db, hostId);
      await queues.close();
      await db.close();
      await database.drop();
      await redis.close();
    },
  };
}
