import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import type { Outputs } from '../../src/lib/trpc.ts';
import { db } from '../../src/server/services.ts';
import { openDoor, type Door } from '../support/door.ts';

type Host = Outputs['host'];
let door: Door;
const GIB = 1024 ** 3;

const facts = (load1: number, freeGiB: number, accelerator = 'simulated') => ({
  hypervisor: 'x',
  accelerator: { name: accelerator, provenAt: '2026-01-01T00:00:00.000Z', detail: '' },
  cpus: 10,
  load1,
  memoryBytes: 100 * GIB,
  memoryFreeBytes: freeGiB * GIB,
  store: { path: '/', filesystem: 'x', reflink: false, totalBytes: 100 * GIB, freeBytes: freeGiB * GIB },
  networks: [],
});

beforeAll(async () => {
  door = await openDoor(inject('postgresUrl'));
  const { prisma } = db();
  await prisma.host.delete({ where: { id: 'h1' } });
  const now = new Date();
  const host = (id: string, more: object) =>
    prisma.host.create({
      data: { id, name: id.toUpperCase(), kind: 'simulated', heartbeatAt: now, ...more },
    });
  const peer = { address: '192.0.2.1', port: 1, key: 'k' };
  await host('a', { facts: facts(1, 80), peer });
  await host('b', { facts: facts(9, 10, 'kvm'), peer });
  await host('c', { facts: facts(5, 50), problem: 'libvirt does not answer.', peer });
  await host('d', { heartbeatAt: new Date(now.getTime() - 3_600_000) });
  await host('e', { facts: facts(2, 70) });
  const guest = (hostId: string, name: string, more: object) =>
    prisma.guest.create({ data: { hostId, name, uuid: randomUUID(), state: 'running', vcpus: 2, ...more } });
  await guest('a', 'one', { virtualBytes: 8n * BigInt(GIB), usedBytes: BigInt(GIB) });
  await guest('a', 'two', { state: 'stopped' });
  await guest('a', 'three', { state: 'creating', mode: 'full' });
  const operation = (state: string, reserves: object) =>
    prisma.operation.create({
      data: {
        kind: 'clone',
        state,
        hostId: 'a',
        lane: 'bulk',
        title: 'x',
        batchId: randomUUID(),
        request: {},
        reserves,
        finishedAt: state === 'finished' ? now : null,
      },
    });
  await operation('queued', { vcpus: 1, memoryBytes: 4 * GIB, storeBytes: 3 * GIB });
  await operation('finished', { vcpus: 1, memoryBytes: 9 * GIB, storeBytes: 9 * GIB });
});
afterAll(() => door.close());

const ask = async <T>(path: string, input?: unknown): Promise<T> => {
  const answer = await door.call<T>(path, input);
  if (answer.data === undefined) throw new Error(answer.text);
  return answer.data;
};
const page = (input: object = {}) => ask<Host['page']>('host.page', input);
const names = async (input: object): Promise<string[]> => (await page(input)).hosts.map(({ name }) => name);

it('pages of hosts: filtered, sorted, with what their guests have and are promised, and the fleet in sums', async () => {
  const all = await page();
  expect(all.total).toBe(5);
  expect(all.hosts.map(({ state }) => state)).toEqual(['online', 'online', 'problem', 'silent', 'online']);
  expect(all.hosts[0]?.guests).toEqual({
    total: 3,
    running: 1,
    vcpus: 2,
    promisedMemoryBytes: 4 * GIB,
    promisedStoreBytes: 3 * GIB,
    growBytes: 7 * GIB,
  });
  expect(all.fleet).toMatchObject({
    hosts: 5,
    online: 3,
    problem: 1,
    silent: 1,
    cpus: 40,
    load: 17,
    storeFreeBytes: 210 * GIB,
    guests: 3,
    running: 1,
  });
  expect(await names({ state: 'silent' })).toEqual(['D']);
  expect(await names({ accelerator: 'kvm' })).toEqual(['B']);
  expect(await names({ search: 'c' })).toEqual(['C']);
  expect(await names({ search: '%' })).toEqual([]);
  // Fullest first; who said nothing comes last either way.
  expect(await names({ sort: 'storage', descending: true })).toEqual(['B', 'C', 'E', 'A', 'D']);
  expect(await names({ sort: 'load' })).toEqual(['A', 'E', 'C', 'B', 'D']);
  expect(await names({ sort: 'state' })).toEqual(['D', 'C', 'A', 'B', 'E']);
  expect(await names({ sort: 'guests', descending: true, pageSize: 1 })).toEqual(['A']);
  expect((await page({ pageSize: 2, page: 3 })).hosts).toHaveLength(1);
  expect(await page({ pageSize: 2, page: 9 })).toMatchObject({ total: 5, hosts: [] });
});

it('health: every span of the last hour, those without a word too', async () => {
  await db().pool.query(
    `INSERT INTO "host_sample" ("hostId", "seconds", "at", "beats", "load", "memoryFreeBytes", "storeFreeBytes", "running")
     SELECT 'a', 30, date_bin('30 seconds', now(), 'epoch') - make_interval(secs => 30 * n), 5, 100 * n, 1, 2, 3 FROM generate_series(1, 3) n
     UNION ALL SELECT 'a', 300, date_bin('5 minutes', now(), 'epoch') - interval '2 hours', 25, 700, 1, 2, 3`,
  );
  const hour = await ask<Host['health']>('host.health', { id: 'a', span: 'hour' });
  expect(hour.points.length).toBe(120);
  expect(hour.points.slice(-3).map(({ load, heard }) => [load, heard])).toEqual([
    [3, 1],
    [2, 1],
    [1, 1],
  ]);
  expect(hour.points.at(-4)).toMatchObject({ heard: 0, load: null, running: null });
  const day = await ask<Host['health']>('host.health', { id: 'a', span: 'day' });
  expect(day.points.length).toBe(288);
  // Half of that span's heartbeats came.
  expect(day.points.find(({ load }) => load === 7)?.heard).toBe(0.5);
});

it('bases: what a host holds, what bringing a version to each host means, what is on its way; the last copy stays', async () => {
  const { prisma } = db();
  const base = (hostId: string, digest: string) =>
    prisma.base.create({
      data: {
        hostId,
        digest,
        definition: '<domain/>',
        disks: [],
        virtualBytes: BigInt(4 * GIB),
        allocatedBytes: BigInt(GIB),
      },
    });
  const [one, two] = [await base('a', '1'.repeat(64)), await base('a', '2'.repeat(64))];
  await base('c', '1'.repeat(64));
  const template = await prisma.template.create({ data: { name: 'sample' } });
  const version = (number: number, baseId: string) =>
    prisma.templateVersion.create({ data: { templateId: template.id, number, baseId } });
  await version(1, one.id);
  const second = await version(2, two.id);
  expect(await ask<Host['bases']>('host.bases', { id: 'a' })).toMatchObject({
    total: 2,
    bytes: 2 * GIB,
    bases: [
      { versions: [{ label: 'sample v2' }], elsewhere: 0, standing: 0 },
      { versions: [{ label: 'sample v1' }], elsewhere: 1 },
    ],
  });
  const bring = () => ask<Host['bring']>('host.bring', { versionId: second.id });
  const ways = async () => (await bring()).hosts.map(({ id, way }) => `${id} ${way}`);
  expect(await ways()).toEqual(['a here', 'b whole', 'c delta', 'd no', 'e no']);
  expect(await bring()).toMatchObject({ label: 'sample v2', bytes: GIB, rate: null });

  const asked = await door.call<{ operationIds: string[] }>('operation.create.transfer', {
    idempotencyKey: randomUUID(),
    versionId: second.id,
    hostIds: ['b', 'c'],
  });
  expect(asked.data?.operationIds).toHaveLength(2);
  expect(await ways()).toEqual(['a here', 'b underway', 'c underway', 'd no', 'e no']);
  const hops = async (input: object) =>
    (await ask<Host['transfers']>('host.transfers', input)).transfers.map(
      ({ from, to, label, state }) => `${label}: ${from?.id} > ${to.id} ${state}`,
    );
  // A chain: the second host takes it from the first.
  expect(await hops({})).toEqual(['sample v2: a > b queued', 'sample v2: b > c queued']);
  expect(await hops({ id: 'c' })).toEqual(['sample v2: b > c queued']);
  expect(await hops({ id: 'e' })).toEqual([]);
  await db().pool.query(
    `UPDATE "operation" SET "state" = 'running', "plan" = $2, "steps" = $3 WHERE "id" = $1`,
    [
      asked.data?.operationIds[0],
      JSON.stringify({ steps: [{ bytes: 1000 }, {}] }),
      JSON.stringify([
        { state: 'running', progress: { doneBytes: 400, totalBytes: 1000, rate: 50, secondsLeft: 12 } },
      ]),
    ],
  );
  expect((await ask<Host['transfers']>('host.transfers', {})).transfers[0]).toMatchObject({
    doneBytes: 400,
    totalBytes: 1000,
    rate: 50,
    secondsLeft: 12,
  });
});

it('a guest that others made can be adopted, and says what was changed of it', async () => {
  const { id: guestId } = await db().prisma.guest.findFirstOrThrow({ where: { name: 'one' } });
  const guest = () => ask<Outputs['guest']['get']>('guest.get', { id: guestId });
  const foreign = () =>
    ask<Outputs['guest']['list']>('guest.list', { mode: 'foreign' }).then(({ guests }) =>
      guests.map(({ name }) => name),
    );
  expect(await foreign()).toContain('one');
  expect((await door.call('guest.adopt', { guestId, withDisks: false })).status).toBe(200);
  expect(await guest()).toMatchObject({
    managed: true,
    adopted: true,
    ownsDisks: false,
    changes: [],
    owner: { name: expect.any(String) as string },
  });
  expect(await foreign()).not.toContain('one');
  await db().prisma.guest.update({ where: { id: guestId }, data: { vcpus: 8 } });
  expect((await guest()).changes).toEqual([{ what: 'processors', was: 2, now: 8 }]);
  await door.call('guest.acceptDefinition', { guestId });
  expect((await guest()).changes).toEqual([]);
  expect((await door.call('guest.adopt', { guestId, withDisks: false })).error).toMatchObject({
    code: 'invalid-input',
  });
});

it('sources to clone from: found by a part of their name, and the one that a link means is there', async () => {
  const { prisma } = db();
  await prisma.guest.createMany({
    data: Array.from({ length: 60 }, (_, index) => ({
      hostId: 'b',
      name: `many-${String(index).padStart(2, '0')}`,
      uuid: randomUUID(),
      state: 'stopped',
      ownedFiles: [],
      macs: [],
    })),
  });
  const sources = (input: object) => ask<Outputs['guest']['sources']>('guest.sources', input);
  const last = await prisma.guest.findFirstOrThrow({ where: { name: 'many-59' } });
  const listed = await sources({ id: last.id });
  expect(listed.more).toBe(true);
  expect(listed.guests[0]).toMatchObject({ name: 'many-59' });
  expect(listed.guests.some(({ name }) => name === 'three')).toBe(false);
  expect((await sources({ search: 'Y-0' })).guests.map(({ name }) => name)).toEqual(
    Array.from({ length: 10 }, (_, index) => `many-0${index}`),
  );
  expect(await ask<string[]>('guest.namesLike', { prefix: 'many-5' })).toHaveLength(10);
});
