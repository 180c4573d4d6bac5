/** Where things are kept and served, from the environment and the command line. */
import { access, constants, mkdir, stat, statfs } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OffshootError } from '@offshoot/clone-core/errors';
import { z } from 'zod';
import type { FleetPlace } from './fleet.ts';
import { freePort, portIsFree } from './ports.ts';

/** Less than this and the sample guest, PostgreSQL and a clone do not fit, bytes. */
const LEAST_FREE = 2 * 1024 ** 3;
const FIRST_PORT = 3000;
/** A socket's path has at most this many bytes (unix(7)); the longest one in the data folder is PostgreSQL's. */
const LONGEST_SOCKET = 107;
const POSTGRES_SOCKET = '/postgres/run/.s.PGSQL.5432';

export interface StartConfig {
  /** The repository. */
  repository: string;
  /** Everything that Offshoot keeps: databases, disks, logs, secrets. */
  data: string;
  /** Address to listen on. */
  listen: string;
  port: number;
  /** Do everything once, stop again. */
  once: boolean;
  /** Make the sample template and the first clone. */
  sample: boolean;
  databaseUrl: string | undefined;
  redisUrl: string | undefined;
  isRoot: boolean;
  /** Left out: nothing but the web listens on a port. */
  fleet?: FleetPlace | undefined;
}

const schema = z.object({
  OFFSHOOT_DATA: z.string().startsWith('/', 'OFFSHOOT_DATA is an absolute path.').optional(),
  PORT: z.coerce
    .number({ error: 'PORT is a number.' })
    .int('PORT is a whole number.')
    .min(1, 'PORT is 1 to 65535.')
    .max(65_535, 'PORT is 1 to 65535.')
    .optional(),
  HOST: z.string().min(1).optional(),
  OFFSHOOT_FLEET_ADDRESS: z
    .string()
    .regex(/^[A-Za-z0-9.:-]+$/, 'OFFSHOOT_FLEET_ADDRESS is a name or an address of this machine.')
    .optional(),
  OFFSHOOT_FLEET_POSTGRES_PORT: z.coerce.number().int().min(1).max(65_535).default(7461),
  OFFSHOOT_FLEET_REDIS_PORT: z.coerce.number().int().min(1).max(65_535).default(7462),
  OFFSHOOT_ONCE: z.enum(['0', '1'], { error: 'OFFSHOOT_ONCE is 0 or 1.' }).default('0'),
  OFFSHOOT_SAMPLE: z.enum(['0', '1'], { error: 'OFFSHOOT_SAMPLE is 0 or 1.' }).default('1'),
  DATABASE_URL: z.string().min(1).optional(),
  REDIS_URL: z.string().min(1).optional(),
});

/** Reads and checks the settings; makes the data folder. @throws OffshootError with one sentence and its remedy. */
export async function readStartConfig(env: NodeJS.ProcessEnv, argv: readonly string[]): Promise<StartConfig> {
  const parsed = schema.safeParse(env);
  if (!parsed.success) {
    throw new OffshootError('invalid-input', {
      publicMessage: parsed.error.issues.map((issue) => issue.message).join(' '),
    });
  }
  const unknown = argv.filter((word) => word !== '--once');
  if (unknown.length > 0) {
    throw new OffshootError('invalid-input', {
      publicMessage: `npm start does not know ${unknown.join(' ')}.`,
      remedy: 'It takes --once only.',
    });
  }
  const settings = parsed.data;
  const address = settings.OFFSHOOT_FLEET_ADDRESS;
  // Machines that join come to the web too.
  const listen = settings.HOST ?? (address === undefined ? '127.0.0.1' : '0.0.0.0');
  const isRoot = process.getuid?.() === 0;
  const data =
    settings.OFFSHOOT_DATA ?? (isRoot ? '/var/lib/offshoot' : join(homedir(), '.local/share/offshoot'));
  if (settings.DATABASE_URL === undefined) refuseLongPath(data);
  await prepareFolder(data, isRoot);
  return {
    repository: join(dirname(fileURLToPath(import.meta.url)), '../../..'),
    data,
    listen,
    port: await choosePort(settings.PORT, listen),
    once: settings.OFFSHOOT_ONCE === '1' || argv.includes('--once'),
    sample: settings.OFFSHOOT_SAMPLE === '1',
    databaseUrl: settings.DATABASE_URL,
    redisUrl: settings.REDIS_URL,
    isRoot,
    fleet:
      address === undefined
        ? undefined
        : {
            address,
            postgresPort: settings.OFFSHOOT_FLEET_POSTGRES_PORT,
            redisPort: settings.OFFSHOOT_FLEET_REDIS_PORT,
          },
  };
}

function refuseLongPath(data: string): void {
  const most = LONGEST_SOCKET - POSTGRES_SOCKET.length;
  if (Buffer.byteLength(data) <= most) return;
  throw new OffshootError('invalid-input', {
    publicMessage: `The path of the data folder has ${Buffer.byteLength(data)} characters; the sockets in it allow ${most} at most.`,
    remedy: 'Set OFFSHOOT_DATA to a shorter path.',
    field: 'OFFSHOOT_DATA',
  });
}

async function prepareFolder(data: string, isRoot: boolean): Promise<void> {
  try {
    if (isRoot) await refuseClosedFolders(data);
    // Guests and PostgreSQL run as other users: they must be able to pass through, not to look around.
    await mkdir(data, { recursive: true, mode: 0o711 });
    await access(data, constants.W_OK);
    if (isRoot) await refuseClosedFolders(data); // the umask may have closed what was made just now
  } catch (cause) {
    if (cause instanceof OffshootError) throw cause;
    throw new OffshootError('permission', {
      publicMessage: `Offshoot can’t write to its data folder ${data}.`,
      remedy: 'Set OFFSHOOT_DATA to a folder that this account may write to.',
      cause,
    });
  }
  const space = await statfs(data);
  const free = space.bavail * space.bsize;
  if (free < LEAST_FREE) {
    throw new OffshootError('no-space', {
      publicMessage: `Only ${(free / 1024 ** 3).toFixed(1)} GiB are free where Offshoot keeps its data (${data}); it needs 2 GiB.`,
      remedy: 'Free some space, or set OFFSHOOT_DATA to a folder on another disk.',
    });
  }
}

/** Throws `permission` when other users can't pass through the folder or one above it. What is not there yet is not asked. */
async function refuseClosedFolders(data: string): Promise<void> {
  for (let folder = data; ; folder = dirname(folder)) {
    if (await isClosed(folder)) {
      throw new OffshootError('permission', {
        publicMessage: `Guests and PostgreSQL run as users of their own, who can’t get to the data folder ${data}: ${folder} is closed to them.`,
        remedy: `Set OFFSHOOT_DATA to a folder elsewhere, or run: chmod o+x ${folder}`,
        field: 'OFFSHOOT_DATA',
      });
    }
    if (folder === dirname(folder)) return;
  }
}

async function isClosed(folder: string): Promise<boolean> {
  try {
    return ((await stat(folder)).mode & 0o001) === 0;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}

async function choosePort(asked: number | undefined, listen: string): Promise<number> {
  if (asked === undefined) return freePort(FIRST_PORT, listen);
  if (await portIsFree(asked, listen)) return asked;
  throw new OffshootError('in-use', {
    publicMessage: `Port ${asked} is taken by another program.`,
    remedy: 'Set PORT to a free one, or leave it unset to have one chosen.',
  });
}
