/** Nothing is lost: kills, restarts, FLUSHALL, takeovers. Each test has a PostgreSQL, a Redis and workers of its own. */
import { eventsAfter } from '@offshoot/db/events';
import { requestCancel } from '@offshoot/db/operations';
import type { OperationRow } from '@offshoot/db/types';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { startPostgres, type TestServer } from '../support/services.ts';
import {
  clone,
  copying,
  ended,
  fast,
  importTemplate,
  inState,
  openSimulatedRig,
  slow,
  type SimulatedRig,
} from '../support/simulated.ts';

let server: TestServer;
let rig: SimulatedRig;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.close());
afterEach(() => rig.close());

/** Every operation has ended, and what is on the host is what the inventory says. */
async function expectTidy(): Promise<void> {
  const open = await rig.db.prisma.operation.count({ where: { finishedAt: null } });
  expect(open).toBe(0);
  const guests = await rig.db.prisma.guest.findMany();
  const bases = await rig.db.prisma.base.findMany();
  const files = [
    ...guests.flatMap((guest) => guest.ownedFiles),
    ...bases.flatMap((base) => (base.disks as { path: string }[]).map((disk) => disk.path)),
  ];
  await expect.poll(async () => (await rig.ownFiles()).toSorted()).toEqual(files.toSorted());
  expect((await rig.guestsOnHost()).toSorted()).toEqual(guests.map((guest) => guest.name).toSorted());
}

const expectFinished = (row: OperationRow): void =>
  expect(row).toMatchObject({ state: 'finished', error: null });

it('kill -9 in the middle of a copy: the next worker finishes it', async () => {
  rig = await openSimulatedRig(server.url, slow);
  const first = await rig.worker();
  const batch = await clone(rig, 'full', ['k-1']);
  await copying(rig, batch.operationIds[0]);
  await first.kill();
  await rig.worker(rig.hostEnv(fast));
  const row = await ended(rig, batch.operationIds[0]);
  expectFinished(row);
  expect(row.attempts).toBe(2);
  await expectTidy();
});

it('kill -9 while a cancel is being undone: the next worker goes on undoing; another cancel changes nothing', async () => {
  rig = await openSimulatedRig(server.url, slow);
  const first = await rig.worker(
    rig.hostEnv({ ...slow, faults: [{ step: 'copy', on: 'undo', type: 'hang' }] }),
  );
  const batch = await clone(rig, 'full', ['k-2']);
  const [id = ''] = batch.operationIds;
  await copying(rig, id);
  await requestCancel(rig.db, id);
  await inState(rig, id, 'undoing');
  expect(await requestCancel(rig.db, id)).toEqual({ state: 'undoing' });
  await first.kill();
  await rig.worker(rig.hostEnv(fast));
  expect(await ended(rig, id)).toMatchObject({ state: 'cancelled', undo: { leftBehind: [] } });
  expect(await rig.db.prisma.guest.count({ where: { name: 'k-2' } })).toBe(0);
  await expectTidy();
});

it('FLUSHALL in the middle of a queue: everything is rung again', async () => {
  rig = await openSimulatedRig(server.url, slow);
  const one = await rig.worker();
  const batch = await clone(rig, 'full', ['q-1', 'q-2', 'q-3', 'q-4']);
  await copying(rig, batch.operationIds[0]);
  await rig.redis.flushAll();
  await one.kill();
  await rig.worker(rig.hostEnv(fast));
  for (const id of batch.operationIds) expectFinished(await ended(rig, id));
  await expectTidy();
});

it('FLUSHALL under a worker that lives: it goes on', async () => {
  rig = await openSimulatedRig(server.url, { speed: { ...fast.speed, copyRate: 10e9 } });
  await rig.worker();
  const batch = await clone(rig, 'full', ['q-5', 'q-6', 'q-7']);
  await copying(rig, batch.operationIds[0]);
  await rig.redis.flushAll();
  for (const id of batch.operationIds) expectFinished(await ended(rig, id));
  await expectTidy();
});

it('a restart of Redis, and clicks while it is away, lose nothing', async () => {
  rig = await openSimulatedRig(server.url, { speed: { ...fast.speed, copyRate: 5e9 } });
  await rig.worker();
  const batch = await clone(rig, 'full', ['r-1']);
  await copying(rig, batch.operationIds[0]);
  await rig.redis.stopServer();
  await expect(clone(rig, 'full', ['r-2'])).rejects.toMatchObject({ code: 'host-unreachable' });
  await rig.redis.startServer();
  expectFinished(await ended(rig, batch.operationIds[0]));
  // the row of the second click was there before its doorbell failed
  const second = await rig.db.prisma.operation.findFirstOrThrow({ where: { title: 'r-2' } });
  expectFinished(await ended(rig, second.id));
  await expectTidy();
});

it('a restart of PostgreSQL in the middle of a copy and of a batch: the same worker finishes both', async () => {
  rig = await openSimulatedRig(server.url, { speed: { ...fast.speed, copyRate: 3e9 } });
  const worker = await rig.worker();
  const source = await importTemplate(rig);
  const long = await clone(rig, 'full', ['p-1']);
  await copying(rig, long.operationIds[0]);
  const batch = await clone(rig, 'linked', ['p-2', 'p-3', 'p-4', 'p-5', 'p-6', 'p-7'], { source });
  await server.restart();
  const rows = await Promise.all([...long.operationIds, ...batch.operationIds].map((id) => ended(rig, id)));
  for (const row of rows) expectFinished(row);
  expect(rows[0]?.attempts).toBe(1);
  const events = await eventsAfter(rig.db, '0', { operationId: rows[0]?.id ?? '' });
  expect(events.flatMap(({ data }) => (data.type === 'state' ? [data.state] : []))).toEqual([
    'queued',
    'running',
    'finished',
  ]);
  await expectTidy();
  expect(await worker.stop()).toBe(0);
});

it('TERM gives work back: the operation stays running, its worker is gone, the next one finishes it', async () => {
  rig = await openSimulatedRig(server.url, slow);
  const first = await rig.worker();
  const batch = await clone(rig, 'full', ['s-1', 's-2']);
  await copying(rig, batch.operationIds[0]);
  expect(await first.stop()).toBe(0);
  const row = await rig.db.prisma.operation.findUniqueOrThrow({ where: { id: batch.operationIds[0] ?? '' } });
  expect(row).toMatchObject({ state: 'running', claimToken: null, undo: null });
  expect(await rig.db.prisma.host.findUnique({ where: { id: 'h1' } })).toMatchObject({
    problem: 'Its worker was stopped.',
  });
  await rig.worker(rig.hostEnv(fast));
  for (const id of batch.operationIds) expectFinished(await ended(rig, id));
  await expectTidy();
});

it('a worker is upgraded in the middle of a copy and of a batch: the newer one waits, takes over and finishes all', async () => {
  rig = await openSimulatedRig(server.url, slow);
  const old = await rig.worker();
  const { operationIds } = await clone(rig, 'full', ['u-1', 'u-2', 'u-3']);
  await copying(rig, operationIds[0]);
  const newer = rig.launch(rig.hostEnv(fast), '99.0.0');
  await expect.poll(() => newer.log(), { timeout: 15_000 }).toContain('waits as its standby');
  expect(await rig.db.prisma.host.findUnique({ where: { id: 'h1' } })).not.toMatchObject({
    workerVersion: '99.0.0',
  });
  expect(await old.stop()).toBe(0);
  const rows = await Promise.all(operationIds.map((id) => ended(rig, id)));
  for (const row of rows) expectFinished(row);
  // The first was begun by the one and finished by the other, from what was copied; nothing was undone.
  expect(rows[0]).toMatchObject({ attempts: 2, undo: null });
  expect(rows[1]).toMatchObject({ attempts: 1 });
  expect(await rig.db.prisma.host.findUnique({ where: { id: 'h1' } })).toMatchObject({
    workerVersion: '99.0.0',
    problem: null,
  });
  await expectTidy();
});

it.each(['frozen', 'gone', 'restarting'] as const)(
  'TERM while Redis is %s: the worker goes all the same, and says so',
  async (redis) => {
    rig = await openSimulatedRig(server.url, fast);
    const worker = await rig.worker();
    if (redis === 'frozen') rig.redis.freeze();
    else await rig.redis.stopServer();
    const [code] = await Promise.all([
      worker.stop(),
      redis === 'restarting' ? rig.redis.startServer() : undefined,
    ]);
    expect(code).toBe(0);
    expect(await rig.db.prisma.host.findUnique({ where: { id: 'h1' } })).toMatchObject({
      problem: 'Its worker was stopped.',
    });
  },
);

it('a second worker of the same host waits as its standby, and takes over when the first is gone', async () => {
  rig = await openSimulatedRig(server.url, fast);
  const first = await rig.worker();
  const second = rig.launch();
  await expect.poll(() => second.log(), { timeout: 15_000 }).toContain('waits as its standby');
  await first.stop();
  await second.ready;
  const batch = await clone(rig, 'full', ['t-1']);
  expectFinished(await ended(rig, batch.operationIds[0]));
  await expectTidy();
});
