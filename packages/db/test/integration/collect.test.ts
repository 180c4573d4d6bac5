import { randomUUID } from 'node:crypto';
import { cloneRequestSchema } from '@offshoot/clone-core/contract';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  claim,
  collectUnusedBases,
  finish,
  requestCancel,
  requestCapture,
  requestClone,
  requestDelete,
  requestRemoveBase,
  resolveRequest,
  savePlan,
  type Claim,
} from '../../src/operations.ts';
import type { JobRef } from '../../src/types.ts';
import {
  someBase,
  someGuest,
  somePlan,
  someTemplate,
  testDatabase,
  type TestDb,
} from '../support/fixtures.ts';

let test: TestDb;
let source: string;
beforeAll(async () => {
  test = await testDatabase();
  source = await someGuest(test.db, 'source-1');
});
afterAll(() => test.close());

const asked = () => ({ userId: null, idempotencyKey: randomUUID() });

async function claimed(operationId: string | undefined): Promise<Claim> {
  const held = await claim(test.db, { operationId: operationId ?? '', workerId: 'w1' });
  if (!held) throw new Error('not claimable');
  return held;
}

async function perform(operationId: string | undefined, digest?: string): Promise<JobRef[]> {
  const held = await claimed(operationId);
  const { kind, title } = held;
  await savePlan(test.db, held, somePlan(title, { kind, ...(digest ? { baseDigest: digest } : {}) }));
  const result = kind === 'capture' && digest !== undefined ? { base: someBase(digest) } : {};
  return finish(test.db, held, { state: 'finished', result });
}

const linked = (...names: string[]) =>
  requestClone(test.db, {
    ...asked(),
    request: cloneRequestSchema.parse({ source: { type: 'guest', id: source }, mode: 'linked', names }),
  });

/** Linked clones of the source on a hidden base of that digest; resolves with the ids of their rows. */
async function madeLinked(digest: string, ...names: string[]): Promise<string[]> {
  const batch = await linked(...names);
  for (const { operationId } of await perform(batch.operationIds[0], digest))
    await perform(operationId, digest);
  const rows = await test.db.prisma.guest.findMany({
    where: { name: { in: names } },
    orderBy: { name: 'asc' },
  });
  return rows.map((row) => row.id);
}

const baseOf = (digest: string) =>
  test.db.prisma.base.findUnique({ where: { hostId_digest: { hostId: 'h1', digest } } });
const removals = (baseId: string) =>
  test.db.prisma.operation.findMany({
    where: { kind: 'remove-base', request: { path: ['baseId'], equals: baseId } },
    orderBy: { id: 'asc' },
  });
const remove = async (guestId: string | undefined): Promise<JobRef[]> =>
  perform((await requestDelete(test.db, { ...asked(), guestId: guestId ?? '' })).operationIds[0]);

it('the last clone’s deletion asks for the removal of its hidden base, in the same transaction', async () => {
  const [first, second] = await madeLinked('c1', 'a-1', 'a-2');
  const base = await baseOf('c1');
  const baseId = base?.id ?? '';
  expect(await remove(first)).toEqual([]);
  expect(await removals(baseId)).toEqual([]);
  await expect(test.db.prisma.base.delete({ where: { id: baseId } })).rejects.toThrow(/foreign key/i);
  await expect(requestRemoveBase(test.db, { ...asked(), baseId })).rejects.toMatchObject({ code: 'in-use' });

  const jobs = await remove(second);
  expect(await removals(baseId)).toMatchObject([{ id: jobs[0]?.operationId, state: 'queued' }]);
  expect(await collectUnusedBases(test.db, 'h1')).toEqual([]); // asked for already
  await perform(jobs[0]?.operationId);
  expect(await baseOf('c1')).toBeNull();
});

it('a base that a template shows stays, with and without clones', async () => {
  const { versionId, baseId } = await someTemplate(test.db, 'kept', 'c2');
  const batch = await requestClone(test.db, {
    ...asked(),
    request: cloneRequestSchema.parse({
      source: { type: 'template', versionId },
      mode: 'linked',
      names: ['b-1'],
    }),
  });
  await perform(batch.operationIds[0], 'c2');
  expect(await remove((await test.db.prisma.guest.findFirstOrThrow({ where: { name: 'b-1' } })).id)).toEqual(
    [],
  );
  expect(await collectUnusedBases(test.db, 'h1')).toEqual([]);
  expect(await removals(baseId)).toEqual([]);
});

it('clones that were cancelled before they began, and a capture for nothing, leave no base behind', async () => {
  const batch = await linked('c-1', 'c-2');
  const jobs = await perform(batch.operationIds[0], 'c3');
  for (const { operationId } of jobs) await requestCancel(test.db, operationId);
  const [collected] = await collectUnusedBases(test.db, 'h1');
  await perform(collected?.operationId);
  expect(await baseOf('c3')).toBeNull();
  const capture = await requestCapture(test.db, { ...asked(), guestId: source });
  const [atOnce] = await perform(capture.operationIds[0], 'c4');
  await perform(atOnce?.operationId);
  expect(await baseOf('c4')).toBeNull();
});

it('never while a clone is being made on it: making and removing exclude each other, and a base made again stays', async () => {
  const [only] = await madeLinked('c5', 'd-1');
  const batch = await linked('d-2');
  const capture = await claimed(batch.operationIds[0]);
  const [removal] = await remove(only);
  expect(await claim(test.db, { operationId: removal?.operationId ?? '', workerId: 'w1' })).toBeUndefined();
  await savePlan(test.db, capture, somePlan('x', { kind: 'capture' }));
  await finish(test.db, capture, { state: 'finished', result: { base: someBase('c5') } });
  const base = await baseOf('c5');
  expect(await removals(base?.id ?? '')).toMatchObject([
    { state: 'failed', error: { code: 'in-use', remedy: expect.any(String) } },
  ]);
  await perform(batch.operationIds[1], 'c5');
  expect((await test.db.prisma.guest.findFirstOrThrow({ where: { name: 'd-2' } })).baseId).toBe(base?.id);

  // The other way round: a removal that runs holds up the capture.
  const other = await madeLinked('c6', 'd-3');
  const [second] = await remove(other[0]);
  const running = await claimed(second?.operationId);
  const later = await linked('d-4');
  expect(await claim(test.db, { operationId: later.operationIds[0] ?? '', workerId: 'w1' })).toBeUndefined();
  await savePlan(test.db, running, somePlan('x', { kind: 'remove-base' }));
  await finish(test.db, running, { state: 'finished', result: {} });
  await perform(later.operationIds[0], 'c7');
});

it('a removal that finds a child when it begins is refused, and is not asked for again at once', async () => {
  const [only] = await madeLinked('c8', 'e-1');
  const [removal] = await remove(only);
  const base = await baseOf('c8');
  await test.db.prisma.guest.update({ where: { id: source }, data: { baseId: base?.id ?? null } });
  const held = await claimed(removal?.operationId);
  await expect(resolveRequest(test.db, held)).rejects.toMatchObject({
    code: 'in-use',
    publicMessage: expect.stringContaining('source-1'),
  });
  const error = await resolveRequest(test.db, held).catch((thrown: unknown) => thrown);
  await savePlan(test.db, held, somePlan('x', { kind: 'remove-base' }));
  await finish(test.db, held, {
    state: 'failed',
    error: error as never,
    undo: { undone: [], leftBehind: [] },
    result: {},
  });
  await test.db.prisma.guest.update({ where: { id: source }, data: { baseId: null } });
  expect(await collectUnusedBases(test.db, 'h1')).toEqual([]);
  await test.db.pool.query(
    `UPDATE "operation" SET "finishedAt" = now() - interval '61 min' WHERE "id" = $1`,
    [held.operationId],
  );
  expect(await collectUnusedBases(test.db, 'h1')).toHaveLength(1);
});
