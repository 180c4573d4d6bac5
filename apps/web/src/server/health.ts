import { version } from '../../package.json';
import { log } from './log.ts';
import { db, queues } from './services.ts';
import { hostState, type HostState } from './views/host.ts';

/** Milliseconds that one part may take to answer before it counts as down. */
const PART_TIMEOUT_MS = 3000;

export interface Health {
  status: 'ok' | 'degraded';
  database: 'ok' | 'down';
  redis: 'ok' | 'down';
  hosts: { id: string; state: HostState; lastSeenSeconds: number | null }[];
  version: string;
}

/** Asks every part. `ok` when database and Redis answer and no host is silent or in trouble. */
export async function health(): Promise<Health> {
  const [hosts, redis] = await Promise.all([readHosts(), within(() => queues().ping())]);
  const all = hosts !== undefined && redis !== undefined && hosts.every((host) => host.state === 'online');
  return {
    status: all ? 'ok' : 'degraded',
    database: hosts === undefined ? 'down' : 'ok',
    redis: redis === undefined ? 'down' : 'ok',
    hosts: hosts ?? [],
    version,
  };
}

async function readHosts(): Promise<Health['hosts'] | undefined> {
  const rows = await within(() =>
    db().prisma.host.findMany({
      select: { id: true, problem: true, heartbeatAt: true },
      orderBy: { id: 'asc' },
    }),
  );
  if (rows === undefined) return undefined;
  const now = Date.now();
  return rows.map((row) => ({
    id: row.id,
    state: hostState(row, now),
    lastSeenSeconds:
      row.heartbeatAt === null ? null : Math.max(0, Math.round((now - row.heartbeatAt.getTime()) / 1000)),
  }));
}

/** The answer, or undefined when it failed or took too long. A void answer becomes true. */
async function within<T>(ask: () => Promise<T>): Promise<(T extends void ? true : T) | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in time')), PART_TIMEOUT_MS);
  });
  try {
    const answer = await Promise.race([ask(), late]);
    return (answer ?? true) as T extends void ? true : T;
  } catch (error) {
    log.warn({ err: error }, 'a part does not answer the health check');
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
