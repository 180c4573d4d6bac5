/** A portal that other machines can join: private services as `npm start` begins them, listening by TLS, and its doors over HTTP. */
import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { migrate } from '@offshoot/db/migrate';
import { freePort } from '@offshoot/db/testing/postgres';
import { stopServices } from '@offshoot/tools/start/child';
import { startPostgresService } from '@offshoot/tools/start/postgres';
import { startRedisService } from '@offshoot/tools/start/redis';
import { answerJoin } from '../../src/server/fleet/join.ts';
import { answerSample } from '../../src/server/fleet/program.ts';
import { closeServices } from '../../src/server/services.ts';
import { configure, signIn, type Calls } from './door.ts';

const repository = fileURLToPath(new URL('../../../../', import.meta.url));

/** The one file that machines download, away from the repository and its npm packages. */
async function buildWorker(folder: string): Promise<string> {
  await execa(process.execPath, [join(repository, 'apps/worker/build.mjs'), join(folder, 'program')]);
  return join(folder, 'program', 'offshoot-worker.mjs');
}

export interface Portal extends Calls {
  url: string;
  folder: string;
  ca: string;
  close(): Promise<void>;
}

export async function openPortal(): Promise<Portal> {
  const folder = await mkdtemp(join(tmpdir(), 'offshoot-join-'));
  await chmod(folder, 0o711); // PostgreSQL runs as another user
  await mkdir(join(folder, 'logs'));
  const fleet = { address: '127.0.0.1', postgresPort: await freePort(), redisPort: await freePort() };
  const config = {
    repository,
    data: folder,
    listen: '127.0.0.1',
    port: 0,
    once: true,
    sample: false,
    databaseUrl: undefined,
    redisUrl: undefined,
    isRoot: process.getuid?.() === 0,
    fleet,
  };
  const postgres = await startPostgresService(config);
  const redis = await startRedisService(config);
  await migrate(postgres.url);
  const ca = join(folder, 'tls', 'ca.pem');
  configure({
    DATABASE_URL: postgres.url,
    REDIS_URL: redis.url,
    OFFSHOOT_FLEET_POSTGRES: `127.0.0.1:${fleet.postgresPort}`,
    OFFSHOOT_FLEET_REDIS: `127.0.0.1:${fleet.redisPort}`,
    OFFSHOOT_FLEET_CA: ca,
    OFFSHOOT_SEAL_SECRET: 'only-for-tests-0123456789abcdefghij',
    OFFSHOOT_WORKER_FILE: await buildWorker(folder),
  });
  const calls = await signIn();
  const server = createServer((request, response) => {
    void (async () => {
      const body: Buffer[] = [];
      for await (const chunk of request as AsyncIterable<Buffer>) body.push(chunk);
      const answer =
        request.url === '/api/join'
          ? await answerJoin(
              new Request('http://portal.test/api/join', { method: 'POST', body: Buffer.concat(body) }),
            )
          : request.url === '/api/join/sample'
            ? await answerSample()
            : new Response('<html>', { status: 200 });
      response.writeHead(answer.status).end(Buffer.from(await answer.arrayBuffer()));
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    ...calls,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    folder,
    ca,
    async close() {
      server.closeAllConnections();
      server.close();
      await closeServices();
      await stopServices();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export interface Program {
  output(): string;
  ended: Promise<number | null>;
  /** Resolves when it serves its host; rejects when it ends before. */
  ready: Promise<void>;
  stop(): Promise<number | null>;
}

/** The worker's program, as a machine has it, with these words on its command line. */
export function worker(portal: Portal, args: readonly string[], env: Record<string, string> = {}): Program {
  const child = spawn(process.execPath, [join(portal.folder, 'program', 'offshoot-worker.mjs'), ...args], {
    cwd: portal.folder,
    env: { NODE_ENV: 'test', PATH: process.env['PATH'], TMPDIR: process.env['TMPDIR'], ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const ready = Promise.race([
    new Promise<void>((resolve) => child.once('message', () => resolve())),
    ended.then((code) => {
      throw new Error(`it ended with ${code} before it served:\n${text}`);
    }),
  ]);
  ready.catch(() => undefined);
  return {
    output: () => text,
    ended,
    ready,
    stop() {
      child.kill('SIGTERM');
      return ended;
    },
  };
}
