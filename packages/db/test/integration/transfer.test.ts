/** Bases on several hosts: chains of transfers, clones where the base is not, copies that are damaged or removed. */
import { randomUUID } from 'node:crypto';
import { cloneRequestSchema } from '@offshoot/clone-core/contract';
import type { OperationResult } from '@offshoot/clone-core/contract';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { registerHost } from '../../src/inventory.ts';
import {
  claim,
  collectUnusedBases,
  finish,
  healCopies,
  requestCancel,
  requestClone,
  requestRemoveBase,
  requestRetry,
  requestTransfer,
  resolveRequest,
  resolveSource,
  savePlan,
  transferFor,
} from '../../src/operations.ts';
import { hostWithKey, peerOf, registerPeer } from '../../src/peers.ts';
import type { JobRef, StoredRequest } from '../../src/types.ts';
import { someBase, somePlan, someTemplate, testDatabase, type TestDb } from '../support/fixtures.ts';

let test: TestDb;
let version: { versionId: string; baseId: string };
const HOSTS = ['h1', 'h2', 'h3', 'h4'];

beforeEach(async () => {
  test = await testDatabase();
  for (const id of HOSTS) {
    await registerHost(test.db, { id, name: id, kind: 'libvirt', simulated: false, workerVersion: 'test' });
    await registerPeer(test.db, id, { address: '10.0.0.1', port: 1, key: `ssh-ed25519 ${id}` });
  }
  version = await someTemplate(test.db);
});
afterEach(() => test.close());

const asked = () => ({ userId: null, idempotencyKey: randomUUID() });
const operationOf = async (id: string | undefined) =>
  test.db.prisma.operation.findUniqueOrThrow({ where: { id: id ?? '' } });
const requestOf = async (id: string | undefined) => (await operationOf(id)).request as StoredRequest;
const copies = async () =>
  (await test.db.prisma.base.findMany({ where: { digest: 'd1' }, orderBy: { hostId: 'asc' } })).map(
    ({ hostId, damagedAt }) => (damagedAt === null ? hostId : `${hostId} damaged`),
  );
const bring = (...hostIds: string[]) =>
  requestTransfer(test.db, { ...asked(), versionId: version.versionId, hostIds });
const linked = (hostId: string, ...names: string[]) =>
  requestClone(test.db, {
    ...asked(),
    request: cloneRequestSchema.parse({
      source: { type: 'template', versionId: version.versionId },
      hostId,
      mode: 'linked',
      names,
    }),
  });

async function perform(operationId: string | undefined, result: OperationResult = {}): Promise<JobRef[]> {
  const held = await claim(test.db, { operationId: operationId ?? '', workerId: 'w' });
  if (!held) throw new Error('not claimable');
  await savePlan(test.db, held, somePlan(held.title, { kind: held.kind }));
  return finish(test.db, held, { state: 'finished', result });
}
const arrive = (operationId: string | undefined) => perform(operationId, { base: someBase() });

it('to three hosts as a chain: each takes it from the one before, then from the source', async () => {
  const batch = await bring('h2', 'h3', 'h4');
  const requests = await Promise.all(batch.operationIds.map(requestOf));
  expect(requests).toMatchObject([
    { sources: ['h1'] },
    { sources: ['h2', 'h1'] },
    { sources: ['h3', 'h2', 'h1'] },
  ]);
  expect(batch.jobs.map(({ hostId, lane }) => [hostId, lane])).toEqual([
    ['h2', 'bulk'],
    ['h3', 'bulk'],
    ['h4', 'bulk'],
  ]);
  const second = await operationOf(batch.operationIds[1]);
  expect(
    await resolveRequest(test.db, {
      request: second.request as StoredRequest,
      guestId: null,
      title: '',
      hostId: 'h3',
    }),
  ).toMatchObject({
    kind: 'transfer',
    label: 'sample v1',
    sources: [{ hostId: 'h2', name: 'h2' }, { hostId: 'h1' }],
  });
  for (const id of batch.operationIds) await arrive(id);
  expect(await copies()).toEqual(HOSTS);
  await expect(bring('h2')).rejects.toThrow('there already');
});

it('the same base is brought to a host once, however many ask', async () => {
  const [one, two] = await Promise.all([linked('h2', 'a-1'), linked('h2', 'a-2')]);
  const transfers = await test.db.prisma.operation.findMany({ where: { kind: 'transfer' } });
  expect(transfers).toHaveLength(1);
  const ids = [...one.operationIds, ...two.operationIds].filter((id) => id !== transfers[0]?.id);
  for (const id of ids)
    expect(await operationOf(id)).toMatchObject({ state: 'waiting', afterId: transfers[0]?.id });
  const woken = await arrive(transfers[0]?.id);
  expect(woken.map(({ operationId }) => operationId).toSorted()).toEqual(ids.toSorted());
  const base = await test.db.prisma.base.findFirstOrThrow({ where: { hostId: 'h2' } });
  expect(await test.db.prisma.guest.count({ where: { hostId: 'h2', baseId: base.id } })).toBe(2);
});

it('a clone on a host that has the base waits for nothing, and stands on that host’s copy', async () => {
  await arrive((await bring('h2')).operationIds[0]);
  const batch = await linked('h2', 'b-1');
  expect(batch.operationIds).toHaveLength(1);
  const guest = await test.db.prisma.guest.findFirstOrThrow({
    where: { name: 'b-1' },
    include: { base: true },
  });
  expect(guest.base).toMatchObject({ hostId: 'h2', digest: 'd1' });
});

it('what would be previewed: the base as another host has it, and the transfer before', async () => {
  const source = { type: 'template', versionId: version.versionId } as const;
  expect(await resolveSource(test.db, source, 'h2')).toMatchObject({ absent: true, label: 'sample v1' });
  expect(await resolveSource(test.db, source, 'h1')).not.toHaveProperty('absent');
  expect(await transferFor(test.db, version.versionId, 'h2')).toMatchObject({ sources: [{ hostId: 'h1' }] });
  expect(await transferFor(test.db, version.versionId, 'h1')).toBeUndefined();
});

it('a transfer that fails takes the clones with it, and a retry asks for both again', async () => {
  const batch = await linked('h2', 'c-1');
  await requestCancel(test.db, batch.operationIds[0] ?? '');
  expect(await operationOf(batch.operationIds[1])).toMatchObject({ state: 'cancelled' });
  expect(await test.db.prisma.guest.count({ where: { name: 'c-1' } })).toBe(0);
  const again = await requestRetry(test.db, { ...asked(), operationId: batch.operationIds[1] ?? '' });
  expect(await Promise.all(again.operationIds.map(async (id) => (await operationOf(id)).kind))).toEqual([
    'transfer',
    'clone',
  ]);
});

it('where no host can give it, it says who has it and why not', async () => {
  await registerPeer(test.db, 'h1', null);
  await expect(linked('h2', 'd-1')).rejects.toMatchObject({ code: 'source-missing', field: 'hostId' });
  await expect(bring('h2')).rejects.toThrow('sample v1 is on h1 only');
  await expect(bring('h9')).rejects.toThrow('The host h9 is not known');
});

it('a copy found damaged is set aside and fetched again from one that is whole', async () => {
  await arrive((await bring('h2')).operationIds[0]);
  // Host 3 found that host 1's copy is damaged, and took it from host 2.
  await perform((await bring('h3')).operationIds[0], {
    base: someBase(),
    transfer: { receivedBytes: 1, reusedBytes: 0, from: ['h2'], interruptions: 0, damaged: ['h1'] },
  });
  expect(await copies()).toEqual(['h1 damaged', 'h2', 'h3']);
  // Its own worker sees to it, once.
  const jobs = await healCopies(test.db, 'h1');
  expect(jobs).toHaveLength(1);
  expect(await healCopies(test.db, 'h1')).toEqual([]);
  expect(await operationOf(jobs[0]?.operationId)).toMatchObject({
    kind: 'transfer',
    hostId: 'h1',
    request: { replace: true, sources: ['h2', 'h3'] },
  });
  // Until then a clone on that host waits for it.
  const batch = await linked('h1', 'e-1');
  expect(await operationOf(batch.operationIds[0])).toMatchObject({
    state: 'waiting',
    afterId: jobs[0]?.operationId,
  });
  await arrive(jobs[0]?.operationId);
  expect(await copies()).toEqual(['h1', 'h2', 'h3']);
});

it('removing a version removes every copy; removing one copy leaves the version', async () => {
  await arrive((await bring('h2')).operationIds[0]);
  const here = await requestRemoveBase(test.db, { ...asked(), baseId: version.baseId, onlyHere: true });
  expect(here.operationIds).toHaveLength(1);
  await perform(here.operationIds[0]);
  expect(await copies()).toEqual(['h2']);
  const left = await test.db.prisma.templateVersion.findUniqueOrThrow({
    where: { id: version.versionId },
    include: { base: true },
  });
  expect(left.base.hostId).toBe('h2');
  await arrive((await bring('h3')).operationIds[0]);
  const all = await requestRemoveBase(test.db, { ...asked(), baseId: left.baseId });
  expect(all.operationIds).toHaveLength(2);
  for (const id of all.operationIds) await perform(id);
  expect(await test.db.prisma.templateVersion.count()).toBe(0);
});

it('a base that is on its way to a host is not removed, and copies of a version are not collected', async () => {
  const batch = await bring('h2');
  await expect(requestRemoveBase(test.db, { ...asked(), baseId: version.baseId })).rejects.toThrow(
    'being brought to h2',
  );
  await arrive(batch.operationIds[0]);
  expect(await collectUnusedBases(test.db, 'h2')).toEqual([]);
});

it('a host is known by its key as long as it is registered', async () => {
  expect(await hostWithKey(test.db, 'ssh-ed25519 h2')).toBe('h2');
  await registerPeer(test.db, 'h2', null);
  expect(await hostWithKey(test.db, 'ssh-ed25519 h2')).toBeUndefined();
  expect(await peerOf(test.db, 'h2')).toBeUndefined();
  expect(await peerOf(test.db, 'h3')).toMatchObject({ port: 1 });
});
