/** One worker a host: an advisory lock of PostgreSQL on a connection of its own. */
import pg from 'pg';
import type { Logger } from 'pino';
import { setTimeout as sleep } from 'node:timers/promises';

const RETRY_MS = 1000;

export interface HostLock {
  /** Settles when the lock may have been lost: the connection broke. */
  lost: Promise<void>;
  release(): Promise<void>;
}

/** Waits as a standby until no other worker serves the host. Resolves with undefined when the signal aborts first. */
export async function lockHost(
  url: string,
  hostId: string,
  signal: AbortSignal,
  log: Logger,
): Promise<HostLock | undefined> {
  for (let told = false; !signal.aborted;) {
    const lock = await tryLock(url, hostId, log);
    if (lock === 'away') {
      await sleep(RETRY_MS);
    } else if (lock !== undefined) {
      return lock;
    } else {
      if (!told)
        log.error(`Another worker serves the host ${hostId} already; this one waits as its standby.`);
      told = true;
      await sleep(RETRY_MS);
    }
  }
  return undefined;
}

async function tryLock(url: string, hostId: string, log: Logger): Promise<HostLock | 'away' | undefined> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000, keepAlive: true });
  const lost = new Promise<void>((resolve) => {
    client.on('error', () => resolve());
    client.once('end', () => resolve());
  });
  try {
    await client.connect();
    const { rows } = await client.query<{ locked: boolean }>(
      'SELECT pg_try_advisory_lock(7067462, hashtext($1)) AS locked',
      [hostId],
    );
    if (rows[0]?.locked === true) return { lost, release: () => client.end() };
    await client.end();
    return undefined;
  } catch (error) {
    log.warn({ err: error }, 'PostgreSQL does not answer; trying again');
    await client.end();
    return 'away';
  }
}
