/** A LISTEN connection of its own that comes back after a restart of PostgreSQL. Internal to this package. */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

export interface Listener {
  onNotify(payload: string): void;
  /** After each (re)connection, once LISTEN is in force: catch up on what was missed. May use the connection. */
  onConnect?(client: pg.Client): void | Promise<void>;
  /** After a connection broke. */
  onBreak?(error: Error): void;
}

/** First and longest pause between attempts to connect, milliseconds. */
const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 1000;

/**
 * Listens until the signal aborts. Resolves when listening is in force for the first time; rejects when the very first
 * connection fails. Later breaks are reported to `onBreak` and repaired.
 */
export async function listen(
  url: string,
  channel: string,
  listener: Listener,
  signal: AbortSignal,
): Promise<{ ended: Promise<void> }> {
  const first = await connect(url, channel, listener);
  return { ended: keep(first, url, channel, listener, signal) };
}

interface Connection {
  client: pg.Client;
  broken: Promise<Error>;
}

async function connect(url: string, channel: string, listener: Listener): Promise<Connection> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000, keepAlive: true });
  const broken = new Promise<Error>((resolve) => {
    client.once('error', resolve);
    client.once('end', () => resolve(new Error('the connection ended')));
  });
  // A second error event of a dying connection must not become an uncaught one.
  client.on('error', () => undefined);
  client.on('notification', (message) => listener.onNotify(message.payload ?? ''));
  try {
    await client.connect();
    await client.query(`LISTEN ${pg.escapeIdentifier(channel)}`);
    await listener.onConnect?.(client);
  } catch (error) {
    await client.end();
    throw error;
  }
  return { client, broken };
}

async function keep(
  first: Connection,
  url: string,
  channel: string,
  listener: Listener,
  signal: AbortSignal,
): Promise<void> {
  const stopped = new Promise<undefined>((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  let connection: Connection | undefined = first;
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    if (connection) {
      const error = await Promise.race([connection.broken, stopped]);
      if (error === undefined) {
        await connection.client.end();
        return;
      }
      connection = undefined;
      listener.onBreak?.(error);
    }
    if (signal.aborted) return;
    try {
      connection = await connect(url, channel, listener);
      pause = FIRST_PAUSE_MS;
    } catch (error) {
      listener.onBreak?.(error instanceof Error ? error : new Error(String(error)));
      await Promise.race([sleep(pause, undefined, { ref: false }), stopped]);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }
}
