/**
 * A private portal: PostgreSQL, Redis, a worker of a simulated host, and the built web under `next start`. For
 * looking at pages, and for tests that need the whole.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, freshDatabase, startPostgres } from '@offshoot/db/testing/postgres';
import { startRedis } from '@offshoot/queue/testing/redis';

const web = fileURLToPath(new URL('../../', import.meta.url));
const repository = fileURLToPath(new URL('../../../../', import.meta.url));

export interface Stack {
  url: string;
  env: NodeJS.ProcessEnv;
  /** A path that signs in once. */
  loginLink(): Promise<string>;
  close(): Promise<void>;
}

/** Starts everything; `close` ends exactly that. The web must be built. `more`: settings of the web and its worker. */
export async function startStack(simulated: object, more: Record<string, string> = {}): Promise<Stack> {
  const folder = await mkdtemp(join(tmpdir(), 'offshoot-web-'));
  const server = await startPostgres();
  const database = await freshDatabase(server.url);
  const redis = await startRedis();
  const port = await freePort();
  const env: NodeJS.ProcessEnv = {
    NODE_ENV: 'production',
    PATH: process.env['PATH'] ?? '',
    HOME: process.env['HOME'] ?? folder,
    TMPDIR: tmpdir(),
    DATABASE_URL: database.url,
    REDIS_URL: redis.url,
    BETTER_AUTH_SECRET: 'a-secret-for-tests-only-0123456789abcdef',
    OFFSHOOT_ADMIN_PASSWORD: 'correct horse battery',
    OFFSHOOT_HOST_ID: 'sim-1',
    OFFSHOOT_HOST_NAME: 'sim-1',
    OFFSHOOT_HOST_KIND: 'simulated',
    OFFSHOOT_STORE: join(folder, 'store'),
    OFFSHOOT_SIMULATED: JSON.stringify(simulated),
    ...more,
  };
  await output(env, ['--import', 'tsx', 'apps/web/src/cli/admin.ts', 'ensure-admin']);
  const processes = [
    start(env, ['--import', 'tsx', 'apps/worker/src/main.ts'], repository),
    start(
      env,
      [join(repository, 'node_modules/next/dist/bin/next'), 'start', '-H', '127.0.0.1', '-p', String(port)],
      web,
    ),
  ];
  const url = `http://127.0.0.1:${port}`;
  const close = async (): Promise<void> => {
    await Promise.all(processes.map(end));
    await redis.close();
    await server.close();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await answering(`${url}/api/health`);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    url,
    env,
    async loginLink() {
      const line = await output(env, ['--import', 'tsx', 'apps/web/src/cli/admin.ts', 'login-link']);
      return (JSON.parse(line) as { path: string }).path;
    },
    close,
  };
}

function start(env: NodeJS.ProcessEnv, argv: readonly string[], cwd: string): ChildProcess {
  return spawn(process.execPath, argv, {
    cwd,
    env,
    stdio: ['ignore', process.env['SHOW_LOG'] ? 'inherit' : 'ignore', 'inherit'],
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await gone;
}

/** Standard output of a short program that must succeed. */
async function output(env: NodeJS.ProcessEnv, argv: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, argv, { cwd: repository, env, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${String(code)}`);
  return text;
}

/** Waits until health says ok. */
async function answering(url: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const last = await fetch(url).then(
      (response) => response.text().then((text) => ({ ok: response.ok && text.includes('"state"'), text })),
      (error: unknown) => ({ ok: false, text: String(error) }),
    );
    if (last.ok) return;
    if (Date.now() > deadline) throw new Error(`The portal is not well: ${last.text}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
