/**
 * The whole portal as `npm start` brings it up, in a data folder of its own: PostgreSQL, Redis, web, a worker of this
 * machine's libvirt, the sample template and its first clone. And guests on the host to clone from.
 */
import { randomUUID } from 'node:crypto';
import { chmod, copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { openDatabase } from '@offshoot/db/client';
import { makeDisk, GIB, MIB } from '@offshoot/tools/lab/disks';
import { defineGuest, removeGuest } from '@offshoot/tools/lab/host';
import { ensureSampleImage } from '@offshoot/tools/sample-guest';
import { execa } from 'execa';

const repository = join(import.meta.dirname, '../../../..');
/** Sample images are kept from run to run. */
const cache = join(repository, 'node_modules/.cache/offshoot');
const SCRATCH = process.env['OFFSHOOT_TEST_SCRATCH'] ?? '/var/tmp';

/** What tests need to know of the stack. Plain data: it goes to the test processes through the environment. */
export interface StackFacts {
  url: string;
  /** Signs in once. */
  loginUrl: string;
  email: string;
  password: string;
  databaseUrl: string;
  /** Where the disks of what the portal makes are. */
  store: string;
  /** Scratch folder of this run that QEMU's user can pass through. */
  folder: string;
  /** Every guest's name of this run begins with it. */
  prefix: string;
  /** Stopped guests on the host that the portal did not make. */
  large: string;
  small: string;
}

export interface Stack extends StackFacts {
  close: () => Promise<void>;
}

export async function startStack(say: (line: string) => void): Promise<Stack> {
  const folder = await mkdtemp(join(SCRATCH, 'offshoot-e2e-'));
  await chmod(folder, 0o711);
  const data = join(folder, 'data');
  const password = randomUUID();
  await provideSample(join(data, 'cache'));
  const child = execa(process.execPath, ['--import', 'tsx', join(repository, 'tools/src/start/main.ts')], {
    cwd: repository,
    env: { OFFSHOOT_DATA: data, OFFSHOOT_SAMPLE: '1', OFFSHOOT_ADMIN_PASSWORD: password },
    stdin: 'ignore',
    reject: false,
    all: true,
  });
  const prefix = `e2e-${randomUUID().slice(0, 4)}-`;
  const [large, small] = [`${prefix}large`, `${prefix}small`];
  const close = async (databaseUrl?: string): Promise<void> => {
    const made = databaseUrl === undefined ? [] : await madeGuests(databaseUrl);
    child.kill('SIGTERM');
    await child;
    for (const name of [...made, large, small]) await removeGuest(name);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const [loginUrl] = await Promise.all([
      announced(child.all, say),
      makeSource(join(folder, 'large.qcow2'), large, 3 * GIB),
      makeSource(join(folder, 'small.qcow2'), small, 32 * MIB),
    ]);
    const run = await readRun(data);
    return {
      ...run,
      loginUrl,
      email: 'admin@offshoot.local',
      password,
      store: join(data, 'store'),
      folder,
      prefix,
      large,
      small,
      close: () => close(run.databaseUrl),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function provideSample(target: string): Promise<void> {
  const image = await ensureSampleImage(cache);
  await mkdir(target, { recursive: true, mode: 0o711 });
  await chmod(join(target, '..'), 0o711);
  await copyFile(image, join(target, basename(image)));
}

async function makeSource(disk: string, name: string, bytes: number): Promise<void> {
  await makeDisk(disk, bytes);
  await defineGuest(name, { disks: [{ path: disk }] });
}

/** Resolves with the one-time login that the start prints when everything stands. */
function announced(output: Readable, say: (line: string) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    const lines: string[] = [];
    const reader = createInterface({ input: output });
    reader.on('line', (line) => {
      lines.push(line);
      if (line.trim() !== '') say(line);
      const login = /One-time login\s+(\S+)/.exec(line)?.[1];
      if (login !== undefined) resolve(login);
    });
    reader.on('close', () => reject(new Error(`The portal did not start:\n${lines.join('\n')}`)));
  });
}

async function readRun(data: string): Promise<{ url: string; databaseUrl: string }> {
  const { default: run } = (await import(join(data, 'run.json'), { with: { type: 'json' } })) as {
    default: { url: string; databaseUrl: string };
  };
  return { url: run.url, databaseUrl: run.databaseUrl };
}

/** Names of the guests that this portal made and that are still there. */
async function madeGuests(databaseUrl: string): Promise<string[]> {
  const db = openDatabase(databaseUrl);
  try {
    const rows = await db.prisma.guest.findMany({ where: { managed: true }, select: { name: true } });
    return rows.map(({ name }) => name);
  } finally {
    await db.close();
  }
}
