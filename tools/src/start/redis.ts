/** A private redis-server on a Unix socket in the data folder. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { OffshootError } from '@offshoot/clone-core/errors';
import { openQueues } from '@offshoot/queue/jobs';
import { startService, untilReady, type Service } from './child.ts';
import type { StartConfig } from './config.ts';

/** Uses REDIS_URL, or starts a private server: append-only, never evicting, reachable only through its socket. */
export async function startRedisService(
  config: StartConfig,
): Promise<{ url: string; service: Service | undefined }> {
  if (config.redisUrl !== undefined) {
    if (await answers(config.redisUrl)) return { url: config.redisUrl, service: undefined };
    throw new OffshootError('host-unreachable', {
      publicMessage: 'The Redis of REDIS_URL does not answer.',
      remedy: 'Start it or correct REDIS_URL; unset, Offshoot starts its own.',
    });
  }
  const folder = join(config.data, 'redis');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const socket = join(folder, 'redis.sock');
  const logFile = join(config.data, 'logs', 'redis.log');
  const service = await startService({
    name: 'Redis',
    argv: [
      'redis-server',
      '--port',
      '0',
      '--unixsocket',
      socket,
      '--unixsocketperm',
      '700',
      '--dir',
      folder,
      '--appendonly',
      'yes',
      '--save',
      '',
      '--maxmemory-policy',
      'noeviction',
      '--daemonize',
      'no',
    ],
    logFile,
  });
  const url = `unix://${encodeURI(socket)}`;
  await untilReady(service, logFile, 'Redis', () => answers(url));
  return { url, service };
}

async function answers(url: string): Promise<boolean> {
  const queues = openQueues(url);
  try {
    await queues.ping();
    return true;
  } catch (error) {
    if (error instanceof OffshootError) return false;
    throw error;
  } finally {
    await queues.close();
  }
}
