/** A worker on this machine's libvirt with a store, a database and a Redis of its own; and guests for it to clone. */
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { listPathOf } from '@offshoot/clone-core/peers/block-list';
import type { OperationRow } from '@offshoot/db/types';
import {
  defineGuest,
  domains as allDomains,
  LIBVIRT_URI,
  removeGuest,
  virsh,
  type GuestWish,
} from '@offshoot/tools/lab/host';
import { expect } from 'vitest';
import { openRig, type Rig } from '../../support/services.ts';
import { processesWith } from './processes.ts';

/** A real disk: a memory filesystem has neither the size nor the pace. */
const SCRATCH = process.env['OFFSHOOT_TEST_SCRATCH'] ?? '/var/tmp';

export interface Lab extends Rig {
  /** Holds everything of this lab; QEMU's user may pass through. */
  folder: string;
  store: string;
  /** Every guest's name of this lab begins with it. */
  prefix: string;
  hostEnv(more?: Readonly<Record<string, string>>): Record<string, string>;
  /** Defines a guest; resolves with its inventory row's id when the worker has found it. */
  source(name: string, wish: GuestWish): Promise<string>;
  domains(): Promise<string[]>;
  /** Files of the store that belong to guests and bases. */
  files(): Promise<string[]>;
  /** Nothing is under way; host, store and inventory say the same; no process has to do with the store. */
  expectTidy(): Promise<void>;
}

export interface LabOptions {
  /** Default: a folder of the lab. */
  store?: string;
  bulk?: number;
}

export async function openLab(postgresUrl: string, options: LabOptions = {}): Promise<Lab> {
  const folder = await mkdtemp(join(SCRATCH, 'offshoot-lab-'));
  await chmod(folder, 0o711);
  const store = options.store ?? join(folder, 'store');
  await mkdir(store, { recursive: true, mode: 0o711 });
  const prefix = `lab-${randomUUID().slice(0, 6)}-`;
  const hostEnv = (more: Readonly<Record<string, string>> = {}): Record<string, string> => ({
    OFFSHOOT_HOST_KIND: 'libvirt',
    OFFSHOOT_LIBVIRT_URI: LIBVIRT_URI,
    OFFSHOOT_STORE: store,
    OFFSHOOT_ACCELERATOR: 'tcg',
    OFFSHOOT_LANES_BULK: String(options.bulk ?? 1),
    ...more,
  });
  const rig = await openRig(postgresUrl, hostEnv());
  const domains = async (): Promise<string[]> =>
    (await allDomains()).filter((name) => name.startsWith(prefix)).toSorted();
  const files = async (): Promise<string[]> => filesUnder(store);
  const expectTidy = async (): Promise<void> => {
    expect(await rig.db.prisma.operation.count({ where: { finishedAt: null } })).toBe(0);
    const guests = await rig.db.prisma.guest.findMany({
      where: { name: { startsWith: prefix }, state: { not: 'missing' } },
    });
    const bases = await rig.db.prisma.base.findMany();
    expect(guests.map(({ name }) => name).toSorted()).toEqual(await domains());
    expect(guests.filter(({ state }) => state === 'creating' || state === 'deleting')).toEqual([]);
    const owned = [
      ...guests.flatMap((guest) => guest.ownedFiles),
      ...bases.flatMap((base) =>
        (base.disks as { path: string }[]).flatMap(({ path }) => [
          path,
          listPathOf(path),
          join(dirname(path), 'base.json'),
        ]),
      ),
    ];
    const left = (await files()).filter((path) => !owned.includes(path));
    expect(left).toEqual([]);
    const copiers = (await processesWith(store)).filter(({ argv }) => !/qemu-system/.test(argv[0] ?? ''));
    expect(copiers).toEqual([]);
  };
  return {
    ...rig,
    folder,
    store,
    prefix,
    hostEnv,
    domains,
    files,
    expectTidy,
    async source(name, wish) {
      await defineGuest(name, wish);
      await expect.poll(() => rig.db.prisma.guest.count({ where: { name } }), { timeout: 15_000 }).toBe(1);
      return (await rig.db.prisma.guest.findFirstOrThrow({ where: { name } })).id;
    },
    async close() {
      await rig.close();
      for (const name of await domains()) await removeGuest(name);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** What a plan makes beside disks: probes of the store come and go with the worker. */
const isProbe = (path: string): boolean => /\/\.[^/]*probe[^/]*$/.test(path);

async function filesUnder(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !isProbe(path))
    .toSorted();
}

/** Path of a guest's first disk. */
export async function diskOf(name: string): Promise<string> {
  const path = (await virsh('domblklist', name)).trim().split('\n')[0]?.trim().split(/\s+/)[1];
  if (path === undefined) throw new Error(`${name} has no disk`);
  await stat(path);
  return path;
}

export const expectFinished = (row: OperationRow): void =>
  expect(row).toMatchObject({ state: 'finished', error: null });
