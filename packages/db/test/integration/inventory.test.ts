import { randomUUID } from 'node:crypto';
import { cloneRequestSchema, type HostFacts } from '@offshoot/clone-core/contract';
import type { ObservedGuest } from '@offshoot/clone-core/driver';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventsAfter, latestEventId } from '../../src/events.ts';
import {
  acceptDefinition,
  adoptGuest,
  holdHost,
  isDue,
  registerHost,
  reportHost,
  syncGuests,
  thinSamples,
  type SeenInventory,
} from '../../src/inventory.ts';
import { claim, finish, requestClone, savePlan } from '../../src/operations.ts';
import { somePlan, someTemplate, testDatabase, type TestDb } from '../support/fixtures.ts';

let test: TestDb;
beforeAll(async () => {
  test = await testDatabase();
});
afterAll(() => test.close());

const seen = (name: string, more: Partial<ObservedGuest> = {}): ObservedGuest => ({
  uuid: randomUUID(),
  name,
  state: 'running',
  vcpus: 1,
  memoryBytes: 1,
  macs: ['52:54:00:00:00:02'],
  disks: [{ target: 'vda', path: '/x', format: 'qcow2', virtualBytes: 10, usedBytes: 5 }],
  ...more,
});
const guests = () => test.db.prisma.guest.findMany({ orderBy: { name: 'asc' } });
const news = async (since: string) => (await eventsAfter(test.db, since, {})).map(({ data }) => data.type);

it('adds found guests as not ours, updates what changed, forgets what is gone, and tells only of real changes', async () => {
  const [a, b] = [seen('a'), seen('b')];
  await syncGuests(test.db, 'h1', [a, b]);
  expect(await guests()).toMatchObject([
    { name: 'a', managed: false, state: 'running', usedBytes: 5n },
    { name: 'b' },
  ]);
  const quiet = await latestEventId(test.db);
  await syncGuests(test.db, 'h1', [a, b]);
  await syncGuests(test.db, 'h1', [
    a,
    { ...b, disks: [{ target: 'vda', path: '/x', format: 'qcow2', virtualBytes: 10, usedBytes: 6 }] },
  ]);
  expect(await news(quiet)).toEqual([]);
  await syncGuests(test.db, 'h1', [{ ...a, state: 'stopped', name: 'a2' }]);
  // b was only found: nobody asks for it any more.
  expect(await guests()).toMatchObject([{ name: 'a2', state: 'stopped' }]);
  expect(await news(quiet)).toEqual(['inventory']);
  await syncGuests(test.db, 'h1', [{ ...a, name: 'a2' }, b]);
  expect((await guests()).map((guest) => guest.state)).toEqual(['running', 'running']);
});

it('asks for no more than versions while nothing has changed, and mends what somebody else wrote', async () => {
  const host = { id: 'h-versions', name: 'h-versions', kind: 'simulated', simulated: true } as const;
  await registerHost(test.db, { ...host, workerVersion: 'test' });
  const list = [seen('versions')];
  const memory: SeenInventory = {};
  const look = () => syncGuests(test.db, 'h-versions', list, { seen: memory });
  await look();
  expect(memory.stamp).toBeUndefined();
  await look();
  const { stamp } = memory;
  expect(stamp).toBeDefined();
  await look();
  expect(memory.stamp).toBe(stamp);
  const row = () => test.db.prisma.guest.findFirstOrThrow({ where: { hostId: 'h-versions' } });
  await test.db.prisma.guest.updateMany({ where: { hostId: 'h-versions' }, data: { state: 'paused' } });
  await look();
  expect(await row()).toMatchObject({ state: 'running' });
  await look();
  expect(memory.stamp).not.toBe(stamp);
  // Another list, with no row changed.
  await syncGuests(
    test.db,
    'h-versions',
    [{ ...seen('versions'), uuid: list[0]?.uuid ?? '', state: 'stopped' }],
    { seen: memory },
  );
  expect(await row()).toMatchObject({ state: 'stopped' });
  await syncGuests(test.db, 'h-versions', []);
});

it('leaves rows that an operation is making, and guests that one ended for after the list was begun', async () => {
  const { versionId } = await someTemplate(test.db);
  const request = cloneRequestSchema.parse({
    source: { type: 'template', versionId },
    mode: 'linked',
    names: ['c'],
  });
  const batch = await requestClone(test.db, { userId: null, idempotencyKey: randomUUID(), request });
  const held = await claim(test.db, { operationId: batch.operationIds[0] ?? '', workerId: 'w' });
  if (!held) throw new Error('not claimed');
  const plan = somePlan('c');
  await savePlan(test.db, held, plan);
  const others = (await guests()).flatMap((guest) =>
    guest.uuid !== null && guest.name !== 'c' ? [seen(guest.name, { uuid: guest.uuid })] : [],
  );
  await syncGuests(test.db, 'h1', [...others, seen('c', { uuid: plan.guest?.uuid ?? '', state: 'stopped' })]);
  await syncGuests(test.db, 'h1', others);
  expect((await guests()).find((guest) => guest.name === 'c')).toMatchObject({ state: 'creating' });
  const since = new Date();
  await finish(test.db, held, { state: 'finished', result: {} });
  await syncGuests(test.db, 'h1', others, { since });
  expect((await guests()).find((guest) => guest.name === 'c')).toMatchObject({
    state: 'running',
    managed: true,
  });
  await syncGuests(test.db, 'h1', others);
  expect((await guests()).find((guest) => guest.name === 'c')).toMatchObject({ state: 'missing' });
});

it('a host’s heartbeat tells only when a problem comes or goes', async () => {
  const from = await latestEventId(test.db);
  await reportHost(test.db, 'h1', {});
  await reportHost(test.db, 'h1', { problem: 'libvirt does not answer.' });
  await reportHost(test.db, 'h1', { problem: 'libvirt does not answer.' });
  await reportHost(test.db, 'h1', { problem: null });
  expect(await news(from)).toEqual(['host', 'host']);
});

it('a host’s facts are told when they change, not each time they are reported', async () => {
  const facts = (cpus: number, load1: number): HostFacts => ({
    hypervisor: 'simulated hypervisor 1',
    accelerator: { name: 'simulated', provenAt: new Date().toISOString(), detail: 'test' },
    cpus,
    load1,
    memoryBytes: 2 ** 34,
    memoryFreeBytes: 2 ** 33,
    store: { path: '/s', filesystem: 'xfs', reflink: true, totalBytes: 2 ** 40, freeBytes: 2 ** 39 },
    networks: [{ name: 'default', active: true }],
  });
  await reportHost(test.db, 'h1', { facts: facts(8, 1), problem: null });
  const from = await latestEventId(test.db);
  await reportHost(test.db, 'h1', { facts: facts(8, 2), problem: null });
  expect(await news(from)).toEqual([]);
  expect(await test.db.prisma.host.findUnique({ where: { id: 'h1' } })).toMatchObject({
    facts: { load1: 2 },
  });
  await reportHost(test.db, 'h1', { facts: facts(16, 2), problem: null });
  expect(await news(from)).toEqual(['host']);
});

it('one worker holds a host; the next one gets it when the first lets go', async () => {
  const [one, two] = [new AbortController(), new AbortController()];
  const said: string[] = [];
  const callbacks = (who: string) => ({
    onHeld: () => void said.push(`${who} held`),
    onStandby: () => void said.push(`${who} waits`),
    onBroken: (error: Error) => void said.push(`${who} ${error.message}`),
  });
  const first = holdHost(test.db, 'h1', callbacks('1'), one.signal);
  await expect.poll(() => said).toEqual(['1 held']);
  const second = holdHost(test.db, 'h1', callbacks('2'), two.signal);
  await expect.poll(() => said).toEqual(['1 held', '2 waits']);
  one.abort();
  await first;
  await expect.poll(() => said, { timeout: 5000 }).toEqual(['1 held', '2 waits', '2 held']);
  two.abort();
  await second;
});

it('a guest that others made is adopted on request; what they change afterwards is seen and left alone', async () => {
  const { db } = test;
  const disk = (path: string) => ({ target: 'vda', path, format: 'qcow2', virtualBytes: 10, usedBytes: 5 });
  const foreign = seen('foreign', { disks: [disk('/srv/foreign.qcow2')] });
  const twin = seen('twin', { disks: [disk('/srv/foreign.qcow2')] });
  await registerHost(db, {
    id: 'h2',
    name: 'Host 2',
    kind: 'simulated',
    simulated: true,
    workerVersion: 'test',
  });
  const sync = (...list: ObservedGuest[]) => syncGuests(db, 'h2', list);
  const row = async () =>
    db.prisma.guest.findFirstOrThrow({ where: { name: { in: ['foreign', 'renamed'] } } });
  await sync(foreign, twin);
  const { id: guestId } = await row();
  const asked = { userId: null, guestId };
  // Its disk is another's too: it can't go with this one.
  await expect(adoptGuest(db, { ...asked, withDisks: true })).rejects.toMatchObject({ code: 'in-use' });
  expect(await row()).toMatchObject({ managed: false, recorded: null });
  await sync(foreign);
  const from = await latestEventId(db);
  await adoptGuest(db, { ...asked, withDisks: true });
  await expect(adoptGuest(db, { ...asked, withDisks: true })).rejects.toMatchObject({
    code: 'invalid-input',
  });
  expect(await news(from)).toEqual(['inventory']);
  const noted = { name: 'foreign', vcpus: 1, disks: [{ target: 'vda', path: '/srv/foreign.qcow2' }] };
  expect(await row()).toMatchObject({
    managed: true,
    ownedFiles: ['/srv/foreign.qcow2'],
    recorded: noted,
  });
  await sync({ ...foreign, name: 'renamed', vcpus: 4, disks: [disk('/srv/other.qcow2')] });
  await sync({ ...foreign, name: 'renamed', vcpus: 4, disks: [disk('/srv/other.qcow2')] });
  expect(await row()).toMatchObject({ name: 'renamed', vcpus: 4, recorded: noted });
  await acceptDefinition(db, { guestId });
  expect(await row()).toMatchObject({
    recorded: { name: 'renamed', vcpus: 4, disks: [{ path: '/srv/other.qcow2' }] },
  });
  // An operation of Offshoot's own replaced the disks: only those are noted anew.
  await db.pool.query(`UPDATE "guest" SET "recorded" = "recorded" - 'disks' WHERE "id" = $1`, [guestId]);
  await sync({ ...foreign, name: 'renamed', vcpus: 2, disks: [disk('/srv/new.qcow2')] });
  expect(await row()).toMatchObject({
    vcpus: 2,
    recorded: { vcpus: 4, disks: [{ path: '/srv/new.qcow2' }] },
  });
});

it('a host’s heartbeats become samples, of each span the worst; old ones are folded together, and one of all callers does it', async () => {
  const { db } = test;
  const facts = (load1: number, free: number): HostFacts => ({
    hypervisor: 'x',
    accelerator: { name: 'simulated', provenAt: '', detail: '' },
    cpus: 4,
    load1,
    memoryBytes: 100,
    memoryFreeBytes: free,
    store: { path: '/', filesystem: 'x', reflink: false, totalBytes: 100, freeBytes: free },
    networks: [],
  });
  await db.pool.query(`INSERT INTO "host" ("id", "name", "kind") VALUES ('h3', 'Host 3', 'simulated')`);
  const samples = () => db.prisma.hostSample.findMany({ where: { hostId: 'h3' }, orderBy: { at: 'asc' } });
  await reportHost(db, 'h3', { facts: facts(0.5, 60), problem: null });
  await reportHost(db, 'h3', { facts: facts(2.25, 50), problem: null });
  await reportHost(db, 'h3', { facts: facts(1, 70), problem: null });
  await reportHost(db, 'h3', { problem: 'libvirt does not answer.' });
  const told = await samples();
  // A span may have ended between two of them.
  expect(told.reduce((sum, { beats }) => sum + beats, 0)).toBe(4);
  expect(Math.max(...told.map(({ load }) => load ?? 0))).toBe(225);
  expect(
    told.reduce(
      (low, { memoryFreeBytes }) => ((memoryFreeBytes ?? 100n) < low ? (memoryFreeBytes ?? 0n) : low),
      100n,
    ),
  ).toBe(50n);
  // Two spans of a long time ago fall into one of five minutes; what is older than a day goes.
  await db.pool.query(
    `UPDATE "host_sample" SET "at" = date_bin('5 minutes', now(), 'epoch') - interval '3 hours' WHERE "hostId" = 'h3'`,
  );
  await db.pool.query(
    `INSERT INTO "host_sample" ("hostId", "seconds", "at", "beats", "load") VALUES
       ('h3', 30, date_bin('5 minutes', now(), 'epoch') - interval '3 hours' + interval '30 seconds', 6, 900),
       ('h3', 300, now() - interval '25 hours', 60, 1)`,
  );
  await thinSamples(db);
  expect(await samples()).toMatchObject([{ seconds: 300, beats: 10, load: 900, storeFreeBytes: 50n }]);
  const due = await Promise.all(Array.from({ length: 8 }, () => isDue(db, 'test', 60)));
  expect(due.filter(Boolean)).toHaveLength(1);
  expect(await isDue(db, 'test', 60)).toBe(false);
  expect(await isDue(db, 'test', 0)).toBe(true);
});
