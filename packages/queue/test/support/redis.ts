/** A private redis-server for tests, on a Unix socket in a folder of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

export interface TestRedis {
  url: string;
  flushAll(): Promise<void>;
  /** Ends the server (its data is lost) and starts another on the same socket. */
  restart(): Promise<void>;
  stopServer(): Promise<void>;
  /** STOP: connections stay, and nothing is answered any more. */
  freeze(): void;
  thaw(): void;
  startServer(): Promise<void>;
  close(): Promise<void>;
}

/** Starts a server and waits until it answers. Stops exactly that process on `close`. */
export async function startRedis(): Promise<TestRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'offshoot-redis-'));
  const socket = join(folder, 'redis.sock');
  let server: ChildProcess | undefined;
  const startServer = async (): Promise<void> => {
    server = spawn(
      'redis-server',
      [
        '--port',
        '0',
        '--unixsocket',
        socket,
        '--dir',
        folder,
        '--save',
        '',
        '--appendonly',
        'no',
        '--maxmemory-policy',
        'noeviction',
      ],
      { stdio: 'ignore' },
    );
    await answering(socket, server);
  };
  const stopServer = async (): Promise<void> => {
    const ended = server;
    server = undefined;
    if (!ended || ended.exitCode !== null) return;
    const gone = new Promise((resolve) => ended.once('exit', resolve));
    ended.kill('SIGTERM');
    ended.kill('SIGCONT');
    await gone;
  };
  await startServer();
  return {
    url: `unix://${socket}`,
    startServer,
    stopServer,
    freeze: () => void server?.kill('SIGSTOP'),
    thaw: () => void server?.kill('SIGCONT'),
    async flushAll() {
      const redis = new Redis(socket);
      await redis.flushall();
      redis.disconnect();
    },
    async restart() {
      await stopServer();
      await startServer();
    },
    async close() {
      await stopServer();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function answering(socket: string, server: ChildProcess): Promise<void> {
  let failed: Error | undefined;
  server.once('error', (error) => (failed = error));
  const deadline = Date.now() + 5000;
  for (;;) {
    if (failed) throw failed;
    const redis = new Redis(socket, {
      lazyConnect: true,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
    });
    redis.on('error', () => undefined);
    try {
      await redis.connect();
      await redis.ping();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(20);
    } finally {
      redis.disconnect();
    }
  }
}
