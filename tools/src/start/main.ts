/** `npm start` on a machine that is ready (tools/start.mjs saw to it): every part of the portal, in order, on real parts. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { proveAccelerator } from '@offshoot/clone-core/drivers/accelerator';
import { OffshootError, toOffshootError } from '@offshoot/clone-core/errors';
import { localShell } from '@offshoot/clone-core/shell/local';
import { openDatabase } from '@offshoot/db/client';
import { migrate } from '@offshoot/db/migrate';
import { openQueues } from '@offshoot/queue/jobs';
import { execa } from 'execa';
import { ensureSampleImage } from '../sample-guest/build.ts';
import { ownServices, stopServices } from './child.ts';
import { readStartConfig, type StartConfig } from './config.ts';
import { takeFolder } from './instance.ts';
import { startLibvirt } from './libvirt.ts';
import { admin, build, fleetEnvironment, startWeb, startWorker, type PortalEnvironment } from './portal.ts';
import { startPostgresService } from './postgres.ts';
import { startRedisService } from './redis.ts';
import { isFirstStart, makeFirstClone, makeSampleTemplate, type SampleParts } from './sample.ts';
import { authSecret, identityKey, sealSecret } from './secrets.ts';
import { phase, ProgressLine, say, seconds } from './terminal.ts';

const begun = performance.now();

async function start(): Promise<void> {
  const config = await readStartConfig(process.env, process.argv.slice(2));
  const folder = await takeFolder(config.data);
  try {
    await mkdir(join(config.data, 'logs'), { recursive: true, mode: 0o700 });
    await run(config, folder);
  } finally {
    await stopServices();
    await folder.release();
  }
}

async function run(config: StartConfig, folder: Awaited<ReturnType<typeof takeFolder>>): Promise<void> {
  const told = signalled();
  const guarded = async (): Promise<void> => {
    const { url, login, ended } = await bringUp(config, folder);
    announce(config, url, login);
    if (config.once) return;
    const first = await Promise.race([told, ended]);
    if (first !== 'told') {
      throw new OffshootError('command-failed', {
        publicMessage: `${first} ended unexpectedly, so everything was stopped.`,
        remedy: `See ${join(config.data, 'logs')}, then start again.`,
      });
    }
  };
  await Promise.race([guarded(), told]);
  say('Stopping what was started here; guests keep running.');
}

/** Resolves at the first Ctrl-C or TERM; the second one ends at once. */
function signalled(): Promise<'told'> {
  return new Promise((resolve) => {
    let times = 0;
    const handle = (): void => {
      if (++times > 1) process.exit(130);
      resolve('told');
    };
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, handle);
  });
}

async function bringUp(config: StartConfig, folder: Awaited<ReturnType<typeof takeFolder>>) {
  await phase(
    'Portal built',
    () => build(config),
    (built) => (built ? '' : 'as it is'),
  );
  const postgres = await phase(
    'PostgreSQL',
    () => startPostgresService(config),
    ({ service }) => (service ? 'private' : 'DATABASE_URL'),
  );
  const redis = await phase(
    'Redis',
    () => startRedisService(config),
    ({ service }) => (service ? 'private' : 'REDIS_URL'),
  );
  await phase(
    'Migrations',
    () => migrate(postgres.url),
    (applied) => (applied.length === 0 ? 'up to date' : `${applied.length} applied`),
  );
  const { uri } = await phase(
    'libvirt',
    () => startLibvirt({ isRoot: config.isRoot, logs: join(config.data, 'logs'), say }),
    ({ uri }) => uri,
  );
  const image = await phase('Sample guest', () =>
    ensureSampleImage(join(config.data, 'cache'), (line) => say(`  ${line}`)),
  );
  const store = join(config.data, 'store');
  await mkdir(store, { recursive: true, mode: 0o711 });
  const shell = localShell();
  const accelerator = await phase(
    'Accelerator',
    () => proveAccelerator(shell, { image, store }),
    ({ name, detail }) => `${name} (${detail})`,
  );
  const portal: PortalEnvironment = {
    DATABASE_URL: postgres.url,
    REDIS_URL: redis.url,
    BETTER_AUTH_SECRET: await authSecret(config.data),
    OFFSHOOT_IDENTITY_KEY: await identityKey(config.data),
    OFFSHOOT_SEAL_SECRET: await sealSecret(config.data),
    OFFSHOOT_SAMPLE_IMAGE: image,
    ...fleetEnvironment(config),
  };
  const [web, , login] = await phase('Web and worker', () =>
    Promise.all([
      startWeb(config, portal),
      startWorker(config, portal, { uri, store, accelerator: accelerator.name }),
      administrator(config, portal),
    ]),
  );
  await folder.publish({ url: web.url, databaseUrl: postgres.url, redisUrl: redis.url });
  if (config.sample) await firstClone(config, portal, uri);
  const ended = Promise.race(ownServices().map((service) => service.ended.then(() => service.name)));
  return { url: web.url, login, ended };
}

async function firstClone(config: StartConfig, portal: PortalEnvironment, uri: string): Promise<void> {
  const db = openDatabase(portal.DATABASE_URL);
  const queues = openQueues(portal.REDIS_URL);
  try {
    if (!(await isFirstStart(db))) return;
    const line = new ProgressLine();
    const parts: SampleParts = {
      db,
      queues,
      data: config.data,
      network: await activeNetwork(uri),
      onProgress: (title, progress) => line.show(title, progress),
    };
    const version = await phase('Sample template', () =>
      makeSampleTemplate(parts, (text) => say(`  ${text}`)).finally(() => line.end()),
    );
    const result = await phase('First clone', () => makeFirstClone(parts, version).finally(() => line.end()));
    say(
      `  guest ${result.name} answers its agent after ${seconds(result.agentMs ?? 0)}${result.address === undefined ? '' : `, address ${result.address}`}`,
    );
  } finally {
    await queues.close();
    await db.close();
  }
}

async function activeNetwork(uri: string): Promise<string | undefined> {
  const listed = await execa('virsh', ['-c', uri, 'net-list', '--name'], { reject: false });
  return listed.exitCode === 0 && listed.stdout.split('\n').includes('default') ? 'default' : undefined;
}

/** Makes the administrator at the first start. Resolves with the path of a link that signs in once. */
async function administrator(config: StartConfig, portal: PortalEnvironment): Promise<string> {
  await admin(config, portal, 'ensure-admin');
  const { path } = (await admin(config, portal, 'login-link')) as { path: string };
  return path;
}

function announce(config: StartConfig, url: string, login: string): void {
  say(`
Offshoot is ready after ${seconds(performance.now() - begun)}.

  Address         ${url}
  One-time login  ${url}${login}
  (good once, for a day; a new one is printed at every start)

  Data            ${config.data}${config.once ? '' : '\n  Stop            Ctrl-C'}
`);
}

try {
  await start();
} catch (thrown) {
  const error = toOffshootError(thrown);
  process.stderr.write(`\n${error.publicMessage}${error.remedy === undefined ? '' : `\n${error.remedy}`}\n`);
  if (error.code === 'internal') process.stderr.write(`${String(error.context['thrown'])}\n`);
  process.exitCode = 1;
}
// What a phase that was interrupted still waits for must not keep us.
process.exit();
