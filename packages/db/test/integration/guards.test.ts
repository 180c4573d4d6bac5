/** What one host's worker may not do to what the whole fleet has: as workers that joined, each in a session of its own. */
import { randomUUID } from 'node:crypto';
import type { OperationResult } from '@offshoot/clone-core/contract';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Db } from '../../src/client.ts';
import { registerHost } from '../../src/inventory.ts';
import {
  claim,
  finish,
  healCopies,
  requestRemoveBase,
  requestTransfer,
  savePlan,
  type Claim,
} from '../../src/operations.ts';
import { registerPeer } from '../../src/peers.ts';
import {
  joinedWorker,
  someBase,
  somePlan,
  someTemplate,
  testDatabase,
  type TestDb,
} from '../support/fixtures.ts';

type HostId = 'h1' | 'h2' | 'h3';
let test: TestDb;
let version: { versionId: string; baseId: string };
let workers: Record<HostId, Db>;

beforeEach(async () => {
  test = await testDatabase();
  const joined = async (id: HostId): Promise<Db> => {
    const worker = await joinedWorker(test.db, id);
    await registerHost(worker, { id, name: id, kind: 'libvirt', simulated: false, workerVersion: 'test' });
    await registerPeer(worker, id, { address: '10.0.0.1', port: 1, key: `ssh-ed25519 ${id}` });
    return worker;
  };
  workers = { h1: await joined('h1'), h2: await joined('h2'), h3: await joined('h3') };
  version = await someTemplate(test.db);
});
afterEach(async () => {
  for (const worker of Object.values(workers)) await worker.close();
  await test.close();
});

const asked = () => ({ userId: null, idempotencyKey: randomUUID() });
const copies = async () =>
  (await test.db.prisma.base.findMany({ orderBy: { hostId: 'asc' } })).map(({ hostId, damagedAt }) =>
    damagedAt === null ? hostId : `${hostId} damaged`,
  );
const query = async (by: HostId, text: string, values: unknown[] = []) =>
  (await workers[by].pool.query(text, values)).rowCount;

async function begun(by: HostId, operationId: string | undefined): Promise<Claim> {
  const held = await claim(workers[by], { operationId: operationId ?? '', workerId: by });
  if (!held) throw new Error('not claimable');
  await savePlan(workers[by], held, somePlan(held.title, { kind: held.kind }));
  return held;
}
const perform = async (by: HostId, operationId: string | undefined, result: OperationResult = {}) =>
  finish(workers[by], await begun(by, operationId), { state: 'finished', result });
const asksFor = async (hostId: HostId): Promise<string | undefined> =>
  (await requestTransfer(test.db, { ...asked(), versionId: version.versionId, hostIds: [hostId] }))
    .operationIds[0];
const bring = async (hostId: HostId): Promise<unknown> =>
  perform(hostId, await asksFor(hostId), { base: someBase() });
const mark = (by: HostId, ...hostIds: HostId[]) =>
  query(
    by,
    `UPDATE "base" SET "damagedAt" = now() WHERE "hostId" = ANY($1::text[]) AND "damagedAt" IS NULL`,
    [hostIds],
  );

it('a version goes with its last copy, not with one of several', async () => {
  await bring('h2');
  // It shows host 1's copy, and host 2's is as good.
  expect(await query('h1', 'DELETE FROM "template_version"')).toBe(0);
  expect(await query('h2', 'DELETE FROM "template_version"')).toBe(0);
  expect(await query('h1', 'DELETE FROM "template"')).toBe(0);
  const here = await requestRemoveBase(test.db, { ...asked(), baseId: version.baseId, onlyHere: true });
  await perform('h1', here.operationIds[0]);
  expect(await copies()).toEqual(['h2']);
  const left = await test.db.prisma.templateVersion.findFirstOrThrow({ include: { base: true } });
  expect(left).toMatchObject({ id: version.versionId, base: { hostId: 'h2' } });
  expect(await query('h1', 'DELETE FROM "template_version"')).toBe(0);
  const last = await requestRemoveBase(test.db, { ...asked(), baseId: left.baseId });
  await perform('h2', last.operationIds[0]);
  expect(await copies()).toEqual([]);
  expect(await test.db.prisma.template.count()).toBe(0);
});

it('no worker takes the last whole copy of the others away by calling it damaged', async () => {
  await bring('h2');
  expect(await mark('h2', 'h1')).toBe(0);
  // Calls its own damaged, asks for it again, and ends that for ever.
  expect(await mark('h2', 'h2')).toBe(1);
  const id = randomUUID();
  await query(
    'h2',
    `INSERT INTO "operation" ("id", "kind", "state", "hostId", "lane", "title", "batchId", "finishedAt", "claimToken", "request")
     VALUES ($1, 'transfer', 'queued', 'h2', 'bulk', 'x', $1, '2099-01-01', $1, '{"kind":"transfer","digest":"d1","label":"x","sources":["h1"],"replace":true}')`,
    [id],
  );
  const operation = () => test.db.prisma.operation.findUniqueOrThrow({ where: { id } });
  expect((await operation()).finishedAt).toBeNull();
  expect(await mark('h2', 'h1')).toBe(0);
  await query(
    'h2',
    `UPDATE "operation" SET "state" = 'running', "finishedAt" = '2099-01-01' WHERE "id" = $1`,
    [id],
  );
  expect((await operation()).finishedAt).toBeNull();
  // While it runs too: nobody else has one that is whole.
  expect(await mark('h2', 'h1')).toBe(0);
  await query(
    'h2',
    `UPDATE "operation" SET "state" = 'failed', "finishedAt" = '2099-01-01' WHERE "id" = $1`,
    [id],
  );
  expect((await operation()).finishedAt?.getTime()).toBeLessThanOrEqual(Date.now() + 1000);
  await bring('h3');
  // There is a third now, and nothing fetches.
  expect(await mark('h2', 'h1')).toBe(0);
  expect(await copies()).toEqual(['h1', 'h2 damaged', 'h3']);
  // Both at once, from one that fetches: one of them stays.
  const held = await begun('h2', await asksFor('h2'));
  expect(await mark('h2', 'h1', 'h3')).toBe(1);
  expect(await mark('h2', 'h1', 'h3')).toBe(0);
  expect((await copies()).filter((copy) => copy.endsWith('damaged'))).toHaveLength(2);
  // Nor does it call them whole again.
  await expect(
    query('h2', `UPDATE "base" SET "damagedAt" = NULL WHERE "hostId" <> 'h2' AND "damagedAt" IS NOT NULL`),
  ).rejects.toThrow('another host’s base');
  await finish(workers.h2, held, { state: 'finished', result: { base: someBase() } });
});

it('a copy found damaged is set aside while a third is whole, and left when it is the last', async () => {
  await bring('h2');
  const transfer = { receivedBytes: 1, reusedBytes: 0, interruptions: 0 };
  await perform('h3', await asksFor('h3'), {
    base: someBase(),
    transfer: { ...transfer, from: ['h2'], damaged: ['h1'] },
  });
  expect(await copies()).toEqual(['h1 damaged', 'h2', 'h3']);
  const [heal] = await healCopies(workers.h1, 'h1');
  await perform('h1', heal?.operationId, {
    base: someBase(),
    transfer: { ...transfer, from: ['h3'], damaged: ['h2', 'h3'] },
  });
  // The operation ends as it would; which of the two is set aside does not matter.
  expect((await copies()).filter((copy) => copy.endsWith('damaged'))).toHaveLength(1);
  expect((await copies())[0]).toBe('h1');
  expect(await test.db.prisma.operation.count({ where: { state: 'finished' } })).toBe(3);
});
