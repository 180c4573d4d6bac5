/** PostgreSQL, Redis and libvirt of a chaos run, and how each is restarted. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { startLibvirt, type Libvirt } from '../start/libvirt.ts';
import { startPostgresService } from '../start/postgres.ts';
import { startRedisService } from '../start/redis.ts';
import type { StartConfig } from '../start/config.ts';
import { argvOf, childrenOf, signal } from './processes.ts';

export interface Services {
  databaseUrl: string;
  redisUrl: string;
  libvirtUri: string;
  /** This run started libvirt, so this run may restart it. */
  readonly ownLibvirt: boolean;
  /** `fast` ends sessions in order; `immediate` is a crash, with recovery at the next start. */
  restartPostgres(how: 'fast' | 'immediate'): Promise<void>;
  /** TERM and a new start; `lost`: on an empty folder. */
  restartRedis(data: 'kept' | 'lost'): Promise<void>;
  flushRedis(): Promise<void>;
  /** Guests run on meanwhile. */
  restartLibvirt(how: 'TERM' | 'KILL'): Promise<void>;
}

/** Starts all three; whoever calls stops them with `stopServices`. */
export async function startServices(
  folder: string,
  repository: string,
  say: (line: string) => void,
): Promise<Services> {
  const isRoot = process.getuid?.() === 0;
  const config: StartConfig = {
    repository,
    data: folder,
    listen: '127.0.0.1',
    port: 0,
    once: true,
    sample: false,
    databaseUrl: undefined,
    redisUrl: undefined,
    isRoot,
  };
  const logs = join(folder, 'logs');
  await mkdir(logs, { recursive: true, mode: 0o700 });
  let postgres = await startPostgresService(config);
  let redis = await startRedisService(config);
  let libvirt = await startLibvirt({ isRoot, logs, say });
  const daemonOf = (one: Libvirt) => one.services.find(({ name }) => name === 'libvirtd');
  const turns = { postgres: inTurn(), redis: inTurn(), libvirt: inTurn() };
  const ownLibvirt = daemonOf(libvirt) !== undefined;
  return {
    databaseUrl: postgres.url,
    redisUrl: redis.url,
    libvirtUri: libvirt.uri,
    ownLibvirt,
    restartPostgres: (how) =>
      turns.postgres(async () => {
        const server = postgres.service;
        if (server?.pid === undefined) return;
        signal(server.pid, how === 'immediate' ? 'SIGQUIT' : 'SIGINT');
        await server.ended;
        postgres = await startPostgresService(config);
      }),
    restartRedis: (data) =>
      turns.redis(async () => {
        await redis.service?.stop();
        if (data === 'lost')
          await rm(join(folder, 'redis', 'appendonlydir'), { recursive: true, force: true });
        redis = await startRedisService(config);
      }),
    flushRedis: () =>
      turns.redis(async () => {
        const client = new Redis(join(folder, 'redis', 'redis.sock'));
        await client.flushall();
        client.disconnect();
      }),
    restartLibvirt: (how) =>
      turns.libvirt(async () => {
        const daemon = daemonOf(libvirt);
        if (!daemon) return;
        // It runs below tini, which goes when it goes; so do guests, as orphans, and they live on.
        if (how === 'KILL' && daemon.pid !== undefined) {
          for (const pid of await childrenOf(daemon.pid))
            if ((await argvOf(pid))?.[0] === 'libvirtd') signal(pid, 'SIGKILL');
        } else await daemon.stop();
        await daemon.ended;
        libvirt = await startLibvirt({ isRoot, logs, say });
      }),
  };
}

/** Two faults of a round may restart the same service: one after the other. */
function inTurn(): (work: () => Promise<void>) => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  return (work) => {
    last = last.then(work);
    return last;
  };
}
