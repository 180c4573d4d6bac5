/** The web and the worker: built when their sources changed, then run as services. */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OffshootError } from '@offshoot/clone-core/errors';
import { execa } from 'execa';
import { startService, untilReady, type Service } from './child.ts';
import type { StartConfig } from './config.ts';

export interface PortalEnvironment {
  DATABASE_URL: string;
  REDIS_URL: string;
  BETTER_AUTH_SECRET: string;
  OFFSHOOT_IDENTITY_KEY: string;
  OFFSHOOT_SEAL_SECRET: string;
  OFFSHOOT_FLEET_POSTGRES?: string;
  OFFSHOOT_FLEET_REDIS?: string;
  OFFSHOOT_FLEET_CA?: string;
  /** What machines that join try KVM with. */
  OFFSHOOT_SAMPLE_IMAGE?: string;
}

/** Where the private services are for other machines; nothing where they are one's own, which one's own settings say. */
export function fleetEnvironment({
  fleet,
  data,
  databaseUrl,
  redisUrl,
}: StartConfig): Partial<PortalEnvironment> {
  if (!fleet) return {};
  const at = fleet.address.includes(':') ? `[${fleet.address}]` : fleet.address;
  const ours = databaseUrl === undefined || redisUrl === undefined;
  return {
    ...(databaseUrl === undefined ? { OFFSHOOT_FLEET_POSTGRES: `${at}:${fleet.postgresPort}` } : {}),
    ...(redisUrl === undefined ? { OFFSHOOT_FLEET_REDIS: `${at}:${fleet.redisPort}` } : {}),
    ...(ours ? { OFFSHOOT_FLEET_CA: join(data, 'tls', 'ca.pem') } : {}),
  };
}

const webFolder = (config: StartConfig): string => join(config.repository, 'apps/web');
const marker = (config: StartConfig): string => join(webFolder(config), '.next', 'offshoot-sources');

/** `git`'s own digest of what is there now, or of the file list with sizes and times where this is no checkout. */
async function sourcesDigest(config: StartConfig): Promise<string> {
  const files = await execa(
    'find',
    [
      'apps',
      'packages',
      'package-lock.json',
      '-type',
      'f',
      '-not',
      '-path',
      '*/node_modules/*',
      '-not',
      '-path',
      '*/.next/*',
      '-not',
      '-path',
      '*/.turbo/*',
      '-not',
      '-path',
      '*/dist/*',
      '-not',
      '-path',
      '*/generated/*',
      '-not',
      '-path',
      '*/test/*',
      '-not',
      '-path',
      '*/e2e/*',
      '-not',
      '-path',
      '*/test-results/*',
      '-not',
      '-name',
      'next-env.d.ts',
      '-printf',
      '%p\\0',
    ],
    { cwd: config.repository },
  );
  const hash = createHash('sha256').update(process.version);
  for (const file of files.stdout.split('\0').filter(Boolean).toSorted()) {
    hash.update(file).update(await readFile(join(config.repository, file)));
  }
  return hash.digest('hex');
}

/** Builds web and worker unless the last build was of these very sources. Resolves to whether it built. */
export async function build(config: StartConfig): Promise<boolean> {
  const digest = await sourcesDigest(config);
  try {
    if ((await readFile(marker(config), 'utf8')) === digest) return false;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  const logFile = join(config.data, 'logs', 'build.log');
  const done = await execa('npm', ['run', 'build'], {
    cwd: config.repository,
    reject: false,
    all: true,
    stdin: 'ignore',
    env: { NODE_ENV: 'production', TURBO_TELEMETRY_DISABLED: '1', NEXT_TELEMETRY_DISABLED: '1', CI: '1' },
  });
  await writeFile(logFile, done.all);
  if (done.exitCode !== 0) {
    throw new OffshootError('command-failed', {
      publicMessage: `The portal could not be built. The end of ${logFile}:\n${done.all.trimEnd().split('\n').slice(-12).join('\n')}`,
      remedy: 'Mend what it says, then start again.',
    });
  }
  await writeFile(marker(config), digest);
  return true;
}

/** Serves the production build; resolves when it answers. */
export async function startWeb(
  config: StartConfig,
  portal: PortalEnvironment,
): Promise<Service & { url: string }> {
  const logFile = join(config.data, 'logs', 'web.log');
  const shown = config.listen === '0.0.0.0' || config.listen === '::' ? '127.0.0.1' : config.listen;
  const url = `http://${shown.includes(':') ? `[${shown}]` : shown}:${config.port}`;
  const service = await startService({
    name: 'web',
    argv: [
      process.execPath,
      join(config.repository, 'node_modules/next/dist/bin/next'),
      'start',
      '-p',
      String(config.port),
      '-H',
      config.listen,
    ],
    cwd: webFolder(config),
    env: { ...process.env, ...portal, NODE_ENV: 'production', NEXT_TELEMETRY_DISABLED: '1' },
    logFile,
  });
  await untilReady(service, logFile, 'The web', () => responds(`${url}/api/health`));
  return { ...service, url };
}

async function responds(url: string): Promise<boolean> {
  try {
    // Degraded is an answer too: the worker is not up yet.
    await fetch(url, { signal: AbortSignal.timeout(5000) });
    return true;
  } catch (error) {
    if (error instanceof TypeError || (error instanceof DOMException && error.name === 'TimeoutError'))
      return false;
    throw error;
  }
}

export interface WorkerHost {
  uri: string;
  store: string;
  accelerator: 'kvm' | 'tcg';
}

/** Starts this machine's worker; resolves when it takes work. */
export async function startWorker(
  config: StartConfig,
  portal: PortalEnvironment,
  host: WorkerHost,
): Promise<Service> {
  const logFile = join(config.data, 'logs', 'worker.log');
  // What signs certificates stays with the web.
  const { OFFSHOOT_IDENTITY_KEY: _key, ...shared } = portal;
  let ready = false;
  const service = await startService({
    name: 'worker',
    argv: [process.execPath, '--enable-source-maps', join(config.repository, 'apps/worker/dist/main.js')],
    cwd: config.repository,
    env: {
      ...process.env,
      ...shared,
      OFFSHOOT_LIBVIRT_URI: host.uri,
      OFFSHOOT_STORE: host.store,
      OFFSHOOT_ACCELERATOR: host.accelerator,
      // Other hosts take bases from this one, and give it theirs.
      ...(config.fleet
        ? { OFFSHOOT_PEER_ADDRESS: process.env['OFFSHOOT_PEER_ADDRESS'] ?? config.fleet.address }
        : {}),
    },
    logFile,
    ipc: true,
  });
  service.child.on('message', () => (ready = true));
  await untilReady(service, logFile, 'The worker', () => Promise.resolve(ready));
  service.child.disconnect();
  return service;
}

/** Runs the web's administration command and reads the line of JSON that it prints. */
export async function admin(
  config: StartConfig,
  portal: PortalEnvironment,
  command: 'ensure-admin' | 'login-link',
): Promise<unknown> {
  const done = await execa(
    process.execPath,
    ['--import', 'tsx', join(webFolder(config), 'src/cli/admin.ts'), command],
    {
      cwd: config.repository,
      env: { ...portal },
      stdin: 'ignore',
    },
  );
  return JSON.parse(done.stdout.trim().split('\n').at(-1) ?? '');
}
