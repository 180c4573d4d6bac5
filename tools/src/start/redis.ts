/** A private redis-server on a Unix socket in the data folder. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OffshootError } from '@offshoot/clone-core/errors';
import { openQueues } from '@offshoot/queue/jobs';
import { startService, untilReady, type Service } from './child.ts';
import type { StartConfig } from './config.ts';
import { bindTo, fleetTls } from './fleet.ts';
import { redisSecret } from './secrets.ts';

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
  const fleet = await listening(config, folder);
  const service = await startService({
    name: 'Redis',
    argv: [
      'redis-server',
      ...fleet.argv,
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
  const url = `unix://${encodeURI(socket)}${fleet.query}`;
  await untilReady(service, logFile, 'Redis', () => answers(url));
  return { url, service };
}

/** For workers of other machines: TLS, and nobody without a password. That of the portal is in a file, not on the command line. */
async function listening(config: StartConfig, folder: string): Promise<{ argv: string[]; query: string }> {
  if (!config.fleet) return { argv: [], query: '' };
  const tls = await fleetTls(config.data, config.fleet);
  const password = await redisSecret(config.data);
  const file = join(folder, 'redis.conf');
  await writeFile(file, `requirepass ${password}\n`, { mode: 0o600 });
  const bind = bindTo(config.fleet);
  return {
    argv: [
      file,
      '--tls-port',
      String(config.fleet.redisPort),
      '--bind',
      ...(bind === '*' ? ['*', '-::*'] : [bind]),
      '--tls-cert-file',
      tls.certificate,
      '--tls-key-file',
      tls.key,
      '--tls-ca-cert-file',
      tls.ca,
      '--tls-auth-clients',
      'no',
    ],
    query: `?password=${password}`,
  };
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
