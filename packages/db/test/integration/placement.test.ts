/** Batches over several hosts: chosen, promised and released, also when two want the same at once. */
import { randomUUID } from 'node:crypto';
import { cloneRequestSchema, type AgreedShare, type HostFacts } from '@offshoot/clone-core/contract';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { recordBase } from '../../src/catalog.ts';
import { setDuty } from '../../src/duty.ts';
import { registerHost, reportHost } from '../../src/inventory.ts';
import { claim, finish, requestCancel, requestClone, requestRetry, savePlan } from '../../src/operations.ts';
import { registerPeer } from '../../src/peers.ts';
import { moveFromSilent, previewQuestion } from '../../src/placement.ts';
import { removeHost } from '../../src/remove-host.ts';
import { transaction } from '../../src/transaction.ts';
import type { StoredRequest } from '../../src/types.ts';
import { someBase, somePlan, testDatabase, type TestDb } from '../support/fixtures.ts';

const GIB = 2 ** 30;
const HOSTS = ['h1', 'h2', 'h3', 'h4'];
let test: TestDb;
let versionId: string;

const facts = (freeBytes: number): HostFacts => ({
  hypervisor: 'test',
  accelerator: { name: 'tcg', provenAt: '', detail: '' },
  cpus: 8,
  load1: 0,
  memoryBytes: 64 * GIB,
  memoryFreeBytes: 64 * GIB,
  store: { path: '/store', filesystem: 'ext4', reflink: false, totalBytes: 100 * GIB, freeBytes },
  networks: [{ name: 'default', active: true }],
});
const report = (hostId: string, freeBytes: number) =>
  reportHost(test.db, hostId, { facts: facts(freeBytes), problem: null });

beforeEach(async () => {
  test = await testDatabase();
  for (const id of HOSTS) {
    await registerHost(test.db, { id, name: id, kind: 'libvirt', simulated: false, workerVersion: 'test' });
    await registerPeer(test.db, id, { address: '10.0.0.1', port: 1, key: `ssh-ed25519 ${id}` });
    await report(id, 80 * GIB);
  }
  const base = someBase();
  const [disk] = base.disks;
  if (!disk) throw new Error('no disk');
  const baseId = await transaction(test.db, (tx) =>
    recordBase(
      tx,
      'h1',
      {
        ...base,
        disks: [{ ...disk, allocatedBytes: 10 * GIB }],
        needs: { vcpus: 2, memoryBytes: GIB, networks: ['default'] },
      },
      { name: 'sample', description: '' },
    ),
  );
  versionId = (await test.db.prisma.templateVersion.findFirstOrThrow({ where: { baseId } })).id;
});
afterEach(() => test.close());

const names = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index + 1}`);
function request(prefix: string, count: number, more: object = {}) {
  return cloneRequestSchema.parse({
    source: { type: 'template', versionId },
    mode: 'linked',
    names: names(prefix, count),
    placement: {},
    ...more,
  });
}
const ask = (prefix: string, count: number, more: object = {}, agreedShares?: AgreedShare[]) =>
  requestClone(test.db, {
    userId: null,
    idempotencyKey: randomUUID(),
    request: request(prefix, count, more),
    ...(agreedShares === undefined ? {} : { agreedShares }),
  });
const rows = async (batchId: string) =>
  (
    await test.db.prisma.operation.findMany({
      where: { batchId },
      orderBy: { id: 'asc' },
      include: { guest: true },
    })
  ).map((row) => ({ ...row, stored: row.request as StoredRequest }));
async function perHost(batchId: string) {
  const clones = (await rows(batchId)).filter(({ kind }) => kind === 'clone');
  return Object.fromEntries(HOSTS.map((id) => [id, clones.filter(({ hostId }) => hostId === id).length]));
}

it('thirty over four hosts: the base goes in one chain, each clone waits for it on its own host, and is in its place', async () => {
  const batch = await ask('web', 30);
  const all = await rows(batch.batchId);
  expect(await perHost(batch.batchId)).toEqual({ h1: 8, h2: 8, h3: 7, h4: 7 });
  const transfers = all.filter(({ kind }) => kind === 'transfer');
  expect(transfers.map(({ hostId, stored }) => [hostId, stored])).toMatchObject([
    ['h2', { sources: ['h1'] }],
    ['h3', { sources: ['h2', 'h1'] }],
    ['h4', { sources: ['h3', 'h2', 'h1'] }],
  ]);
  const clones = batch.operationIds.slice(3).map((id) => all.find((row) => row.id === id));
  expect(clones.map((row) => row?.title)).toEqual(names('web', 30));
  for (const [index, row] of clones.entries()) {
    const transfer = transfers.find(({ hostId }) => hostId === row?.hostId);
    expect(row).toMatchObject({
      state: transfer ? 'waiting' : 'queued',
      afterId: transfer?.id ?? null,
      stored: { index },
      guest: { hostId: row?.hostId },
      reserves: { vcpus: 2, memoryBytes: GIB },
    });
  }
  expect(batch.jobs).toHaveLength(3 + 8);
});

it.each([
  ['over four hosts', 31, { placement: {} }],
  ['on one host, chosen by hand', 8, { placement: undefined, hostId: 'h1' }],
])('two classes at once can’t both get the last space: %s', async (_where, count, where) => {
  const full = { mode: 'full', options: { start: false }, ...where };
  const both = await Promise.allSettled([ask('a', count - 3, full), ask('b', count - 3, full)]);
  const [won] = both.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const [lost] = both.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
  expect(lost).toMatchObject({ code: 'no-space' });
  const guests = await test.db.prisma.guest.count();
  expect(guests).toBe(count - 3);
  // Ended in any state, it holds nothing.
  const loser = guests > 0 && (await test.db.prisma.guest.findFirst({ where: { name: 'a-1' } })) ? 'b' : 'a';
  await expect(ask(loser, count - 3, full)).rejects.toMatchObject({ code: 'no-space' });
  for (const id of won?.operationIds ?? []) await requestCancel(test.db, id);
  await expect(ask(loser, count - 3, full)).resolves.toBeDefined();
});

it('what runs counts with what its plan says, until it has ended', async () => {
  const promised = async () => {
    const { hosts } = await previewQuestion(test.db, {
      ...request('x', 1),
      versionId,
      placement: { policy: 'spread', rule: 'any' },
    });
    const [h1] = hosts;
    return {
      store: 80 * GIB - (h1?.storeFreeBytes ?? 0),
      memory: 64 * GIB - (h1?.memoryFreeBytes ?? 0),
      cpu: h1?.busyVcpus,
    };
  };
  const batch = await ask('one', 1, { mode: 'full' });
  expect(await promised()).toEqual({ store: 10 * GIB, memory: GIB, cpu: 2 });
  const held = await claim(test.db, { operationId: batch.operationIds[0] ?? '', workerId: 'w' });
  if (!held) throw new Error('not claimable');
  await savePlan(
    test.db,
    held,
    somePlan('one-1', { estimates: { readBytes: 0, moveBytes: 0, storeBytes: 7 * GIB, seconds: 1 } }),
  );
  expect((await promised()).store).toBe(7 * GIB);
  await finish(test.db, held, { state: 'finished', result: {} });
  expect(await promised()).toEqual({ store: 0, memory: 0, cpu: 1 });
});

it('what was agreed to is done as it was shown, or nothing is', async () => {
  const agreed: AgreedShare[] = [
    { hostId: 'h3', seats: [0, 2], fingerprint: 'f3' },
    { hostId: 'h1', seats: [1], fingerprint: 'f1' },
  ];
  const batch = await ask('ok', 3, {}, agreed);
  const all = await rows(batch.batchId);
  expect(
    all.map(({ kind, hostId, title, agreedFingerprint }) => [kind, hostId, title, agreedFingerprint]),
  ).toEqual([
    ['transfer', 'h3', 'sample v1', 'f3'],
    ['clone', 'h3', 'ok-1', null],
    ['clone', 'h1', 'ok-2', 'f1'],
    ['clone', 'h3', 'ok-3', null],
  ]);
  const before = await test.db.prisma.operation.count();
  await report('h3', 1 * GIB);
  await reportHost(test.db, 'h1', { problem: 'libvirt does not answer.' });
  await expect(ask('late', 3, { mode: 'full' }, agreed)).rejects.toMatchObject({
    code: 'stale-plan',
    publicMessage: expect.stringContaining('on h3: 0 GiB of its store are free, 20 GiB are needed') as string,
  });
  await expect(ask('half', 3, {}, agreed.slice(0, 1))).rejects.toMatchObject({ code: 'invalid-input' });
  await expect(ask('ok', 1)).rejects.toMatchObject({ code: 'name-taken', field: 'names.0' });
  await expect(ask('x', 1, { placement: { hostIds: ['h1'] } })).rejects.toMatchObject({
    code: 'no-space',
    publicMessage: 'No host can take “x-1”. h1: has a problem: libvirt does not answer.',
  });
  expect(await test.db.prisma.operation.count()).toBe(before);
});

it('one that failed is placed anew when it is asked for again', async () => {
  const batch = await ask('again', 1);
  await requestCancel(test.db, batch.operationIds[0] ?? '');
  await reportHost(test.db, 'h1', { problem: 'libvirt does not answer' });
  const retried = await requestRetry(test.db, {
    userId: null,
    idempotencyKey: randomUUID(),
    operationId: batch.operationIds[0] ?? '',
  });
  expect((await rows(retried.batchId)).map(({ kind, hostId }) => [kind, hostId])).toEqual([
    ['transfer', 'h2'],
    ['clone', 'h2'],
  ]);
});

it('a host that falls silent in the middle: what has not begun goes to others, what has begun stays', async () => {
  const batch = await ask('seat', 12);
  expect(await perHost(batch.batchId)).toEqual({ h1: 4, h2: 3, h3: 3, h4: 2 });
  const before = await rows(batch.batchId);
  const of = (hostId: string, kind: string) =>
    before.filter((row) => row.hostId === hostId && row.kind === kind);
  const begun = of('h1', 'clone')[0]?.id ?? '';
  const stale = of('h1', 'clone')[1]?.id ?? '';
  await claim(test.db, { operationId: begun, workerId: 'w', hostId: 'h1' });
  await claim(test.db, { operationId: of('h3', 'transfer')[0]?.id ?? '', workerId: 'w3', hostId: 'h3' });
  const silence = (...hostIds: string[]) =>
    test.db.pool.query(
      `UPDATE "host" SET "heartbeatAt" = clock_timestamp() - interval '60 seconds' WHERE "id" = ANY($1::text[])`,
      [hostIds],
    );
  expect(await moveFromSilent(test.db)).toEqual({ jobs: [], moved: 0 });
  // h2 has it: the source itself may go away.
  await transaction(test.db, (tx) =>
    recordBase(tx, 'h2', { ...someBase(), needs: { vcpus: 2, memoryBytes: GIB, networks: ['default'] } }),
  );
  await silence('h1', 'h3');
  const { moved } = await moveFromSilent(test.db);
  expect(moved).toBe(3 + 3);
  const counts = await perHost(batch.batchId);
  expect(counts).toMatchObject({ h1: 1, h3: 0 });
  expect((counts['h2'] ?? 0) + (counts['h4'] ?? 0)).toBe(11);
  const after = await rows(batch.batchId);
  for (const row of after.filter(({ kind }) => kind === 'clone')) expect(row.guest?.hostId).toBe(row.hostId);
  expect(after.find(({ id }) => id === begun)).toMatchObject({ hostId: 'h1', state: 'running' });
  // Its worker undoes that when it is back.
  expect(after.find(({ kind, hostId }) => kind === 'transfer' && hostId === 'h3')).toMatchObject({
    state: 'running',
    cancelRequestedAt: expect.any(Date) as Date,
  });
  expect(await claim(test.db, { operationId: stale, workerId: 'back', hostId: 'h1' })).toBeUndefined();
  const line = await test.db.prisma.event.findFirst({
    where: { operationId: stale, data: { path: ['type'], equals: 'log' } },
  });
  expect(line?.data).toMatchObject({
    line: expect.stringMatching(
      /^h1 stopped answering before this began: made on h[24] instead\.$/,
    ) as string,
  });
  expect(await moveFromSilent(test.db)).toEqual({ jobs: [], moved: 0 });
  await setDuty(test.db, 'h4', 'maintenance');
  await moveFromSilent(test.db);
  expect(await perHost(batch.batchId)).toEqual({ h1: 1, h2: 11, h3: 0, h4: 0 });
  await setDuty(test.db, 'h2', 'draining');
  await expect(ask('more', 1)).rejects.toMatchObject({
    publicMessage: expect.stringContaining('h2: is being drained. ') as string,
  });
});

it('a host that was picked and then removed does not keep the others’ clones where they are', async () => {
  const batch = await ask('seat', 6, { placement: { hostIds: ['h1', 'h2', 'h3'] } });
  const { h2 } = await perHost(batch.batchId);
  await test.db.pool.query(
    `UPDATE "host" SET "heartbeatAt" = clock_timestamp() - interval '60 seconds' WHERE "id" IN ('h2', 'h3')`,
  );
  await removeHost(test.db, 'h3', { forget: true });
  expect(await moveFromSilent(test.db)).toMatchObject({ moved: h2 });
  expect(await perHost(batch.batchId)).toMatchObject({ h2: 0, h4: 0 });
});
