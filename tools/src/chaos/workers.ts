/** Worker processes of a chaos run: started, killed, stopped in their tracks, replaced. */
import { join } from 'node:path';
import type { Db } from '@offshoot/db/client';
import { startService, untilReady, type Service } from '../start/child.ts';
import { signal } from './processes.ts';

export const HOST_ID = 'chaos';

export interface Worker {
  pid: number;
  /** Serves the host, as far as it said. */
  readonly ready: boolean;
  readonly alive: boolean;
  ended: Promise<void>;
}

export interface Workers {
  /** Those that live, the oldest first; all but the one that holds the host's lock stand by. */
  readonly living: readonly Worker[];
  /** Process ids of all that ever lived: sessions under which nothing may be left. */
  readonly sessions: readonly number[];
  /** Starts one without waiting for it. */
  launch(): Promise<Worker>;
  /** At least one lives; resolves when one serves. */
  ensure(): Promise<void>;
  /** KILL, at once. */
  kill(worker: Worker): Promise<void>;
  /** TERM: it gives its work back. */
  dismiss(worker: Worker): Promise<void>;
  /** STOP and CONT. */
  freeze(worker: Worker): void;
  thaw(worker: Worker): void;
}

export interface WorkersOptions {
  repository: string;
  logs: string;
  environment: NodeJS.ProcessEnv;
}

/** How long a worker may take to serve, milliseconds. A standby waits for the other's end. */
const READY_MS = 60_000;

export function workersOf({ repository, logs, environment }: WorkersOptions): Workers {
  const all: (Worker & { service: Service; logFile: string })[] = [];
  const living = () => all.filter((worker) => worker.alive);
  const launch = async () => {
    const logFile = join(logs, `worker-${String(all.length + 1).padStart(3, '0')}.log`);
    let ready = false;
    let alive = true;
    const service = await startService({
      name: 'worker',
      // As npm start runs it: built. Starting from source takes two seconds more, each time.
      argv: [process.execPath, '--enable-source-maps', join(repository, 'apps/worker/dist/main.js')],
      cwd: repository,
      env: environment,
      logFile,
      ipc: true,
    });
    service.child.on('message', () => (ready = true));
    void service.ended.then(() => (alive = false));
    const worker = {
      pid: service.pid ?? 0,
      get ready() {
        return ready;
      },
      get alive() {
        return alive;
      },
      ended: service.ended,
      service,
      logFile,
    };
    all.push(worker);
    return worker;
  };
  const end = async (worker: Worker, name: NodeJS.Signals): Promise<void> => {
    if (worker.alive) signal(worker.pid, name);
    await worker.ended;
  };
  return {
    get living() {
      return living();
    },
    get sessions() {
      return all.map(({ pid }) => pid);
    },
    launch,
    async ensure() {
      if (living().some(({ ready }) => ready)) return;
      const [worker = await launch()] = living();
      const known = all.find(({ pid }) => pid === worker.pid);
      if (!known) return;
      await untilReady(
        known.service,
        known.logFile,
        'The worker',
        () => Promise.resolve(known.ready || living().some(({ ready }) => ready)),
        READY_MS,
      );
    },
    kill: (worker) => end(worker, 'SIGKILL'),
    async dismiss(worker) {
      signal(worker.pid, 'SIGTERM');
      await worker.ended;
    },
    freeze: (worker) => void signal(worker.pid, 'SIGSTOP'),
    thaw: (worker) => void signal(worker.pid, 'SIGCONT'),
  };
}

/**
 * Has the time pass that a claim lives without its worker: ten seconds of silence, which a run with hundreds of dead
 * workers can't wait for each time. Only of workers that are dead: one that lives keeps time by its own clock.
 */
export async function ageClaims(db: Db, pids: readonly number[]): Promise<void> {
  await db.pool.query(
    `UPDATE "operation" SET "heartbeatAt" = "heartbeatAt" - interval '11 seconds'
     WHERE "state" IN ('running', 'undoing') AND "claimedBy" LIKE ANY ($1::text[])`,
    [pids.map((pid) => `${HOST_ID}/${pid}/%`)],
  );
}
