/** One worker per host: an advisory lock on a connection of its own, taken again after a restart of PostgreSQL. */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Db } from './client.ts';

/** First key of the advisory locks; the second is the host id's hash. */
const LOCK_SPACE = 7_067_462;
const RETRY_MS = 1000;
const RECONNECT_MS = 100;

export interface HostLockCallbacks {
  /** The lock is ours; called again after each time it was taken back. */
  onHeld(): void;
  /** Another worker serves the host; tried again every second. Called once per spell. */
  onStandby(): void;
  /** The connection broke: the lock is nobody's until it is taken again. */
  onBroken(error: Error): void;
}

/** Takes and keeps the host's lock until the signal aborts; then lets it go and resolves. */
export async function holdHost(
  db: Pick<Db, 'url'>,
  hostId: string,
  callbacks: HostLockCallbacks,
  signal: AbortSignal,
): Promise<void> {
  const aborted = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const pause = (ms: number): Promise<unknown> =>
    Promise.race([sleep(ms, undefined, { ref: false }), aborted]);
  let standby = false;
  while (!signal.aborted) {
    const client = new pg.Client({
      connectionString: db.url,
      connectionTimeoutMillis: 5000,
      keepAlive: true,
    });
    const broken = new Promise<Error>((resolve) => {
      client.on('error', resolve);
      client.once('end', () => resolve(new Error('the connection ended')));
    });
    try {
      await client.connect();
      while (!signal.aborted) {
        const { rows } = await client.query<{ held: boolean }>(
          'SELECT pg_try_advisory_lock($1, hashtext($2)) AS held',
          [LOCK_SPACE, hostId],
        );
        if (rows[0]?.held === true) {
          standby = false;
          callbacks.onHeld();
          const error = await Promise.race([broken, aborted]);
          if (error) throw error;
        } else {
          if (!standby) callbacks.onStandby();
          standby = true;
          await pause(RETRY_MS);
        }
      }
      await client.end();
    } catch (error) {
      callbacks.onBroken(error instanceof Error ? error : new Error(String(error)));
      await Promise.race([client.end(), sleep(RECONNECT_MS, undefined, { ref: false })]);
      await pause(RECONNECT_MS);
    }
  }
}
