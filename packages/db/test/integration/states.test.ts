import { randomUUID } from 'node:crypto';
import { cloneRequestSchema, refreshOptionsSchema, type Generations } from '@offshoot/clone-core/contract';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  claim,
  finish,
  refuseQuestion,
  releaseState,
  requestCancel,
  requestClone,
  requestVerify,
  requestRefresh,
  requestReset,
  requestRestore,
  savePlan,
} from '../../src/operations.ts';
import { someGuest, somePlan, testDatabase, type TestDb } from '../support/fixtures.ts';

let test: TestDb;
let guestId: string;
let sourceGuestId: string;
const asked = () => ({ userId: null, idempotencyKey: randomUUID(), guestId });
const generations: Generations = {
  current: 2,
  next: 3,
  list: [1, 2].map((number) => ({ number, at: '2026-01-01T00:00:00.000Z', kept: number === 1, disks: [] })),
};
const kept = async (): Promise<boolean[]> => {
  const row = await test.db.prisma.guest.findUniqueOrThrow({ where: { id: guestId } });
  return (row.generations as unknown as Generations).list.map((each) => each.kept);
};

beforeAll(async () => {
  test = await testDatabase();
  sourceGuestId = await someGuest(test.db, 'source');
  guestId = await someGuest(test.db, 'clone');
  await test.db.prisma.guest.update({
    where: { id: guestId },
    data: {
      managed: true,
      mode: 'full',
      sourceGuestId,
      generations: JSON.parse(JSON.stringify(generations)),
    },
  });
});
afterAll(() => test.close());

it('a refresh whose exchange of disks could not be taken back: both states are known, and their files', async () => {
  const { operationIds } = await requestRefresh(test.db, {
    ...asked(),
    options: refreshOptionsSchema.parse({}),
  });
  const held = await claim(test.db, { operationId: operationIds[0] ?? '', workerId: 'w1' });
  if (!held) throw new Error('not claimable');
  const before = await test.db.prisma.guest.findUniqueOrThrow({ where: { id: guestId } });
  const had = before.generations as unknown as Generations;
  const plan = somePlan('clone', {
    kind: 'refresh',
    steps: [{ id: 'a', kind: 'redefine', title: 'Give clone the new disks', standsOnEarlier: true }],
    creates: [{ type: 'file', name: '/store/clone.g3.own.qcow2' }],
    // The state that it has now would have gone in the end.
    generations: { current: 3, next: 4, list: [{ number: 3, at: '', kept: false, disks: [] }] },
  });
  await savePlan(test.db, held, plan);
  const leftBehind = ['Give clone the new disks: clone was started by another hand on its new disks.'];
  await finish(test.db, held, { state: 'cancelled', undo: { undone: [], leftBehind } });
  const row = await test.db.prisma.guest.findUniqueOrThrow({ where: { id: guestId } });
  expect(row.ownedFiles).toContain('/store/clone.g3.own.qcow2');
  expect(row.generations).toEqual({
    current: 2,
    next: 4,
    list: [...had.list, { number: 3, at: expect.stringMatching(/^2/), kept: false, disks: [] }],
  });
  await test.db.prisma.guest.update({
    where: { id: guestId },
    data: { generations: JSON.parse(JSON.stringify(had)) },
  });
});

it('a clone that is being refreshed is left alone by all else', async () => {
  const options = refreshOptionsSchema.parse({});
  const { operationIds } = await requestRefresh(test.db, { ...asked(), options });
  const busy = {
    code: 'busy',
    retryable: true,
    publicMessage: expect.stringContaining('is being refreshed'),
  };
  await expect(requestRefresh(test.db, { ...asked(), options })).rejects.toMatchObject(busy);
  await expect(requestReset(test.db, { ...asked(), waitForAgent: false })).rejects.toMatchObject(busy);
  await expect(requestRestore(test.db, { ...asked(), to: 1 })).rejects.toMatchObject(busy);
  await expect(releaseState(test.db, { guestId, number: 1 })).rejects.toMatchObject(busy);
  await expect(refuseQuestion(test.db, { kind: 'promote', guestId })).rejects.toMatchObject(busy);
  await requestCancel(test.db, operationIds[0] ?? '');
});

it('a preview is refused for what the request is, and neither asks nor locks', async () => {
  const reset = { kind: 'reset', waitForAgent: false } as const;
  const options = refreshOptionsSchema.parse({});
  const refused = { code: 'unavailable-mode', remedy: expect.any(String), field: 'guestId' };
  await expect(requestReset(test.db, { ...asked(), waitForAgent: false })).rejects.toMatchObject(refused);
  await expect(refuseQuestion(test.db, { ...reset, guestId })).rejects.toMatchObject(refused);
  await expect(
    refuseQuestion(test.db, { kind: 'refresh', guestId: sourceGuestId, options }),
  ).rejects.toMatchObject(refused);
  await expect(refuseQuestion(test.db, { kind: 'revert', guestId, name: 'gone' })).rejects.toMatchObject({
    code: 'not-found',
    field: 'name',
  });

  const before = await test.db.prisma.operation.count();
  for (const question of [
    { kind: 'refresh', guestId, options },
    { kind: 'restore', guestId, to: 1 },
    { kind: 'promote', guestId },
    { kind: 'export', guestId, format: 'qcow2' },
    { kind: 'capture', guestId, template: 'new', memory: false },
  ] as const)
    await refuseQuestion(test.db, question);
  expect(await test.db.prisma.operation.count()).toBe(before);
});

it('a stopped source is refreshed from while nothing else reads it, and the other way round', async () => {
  const options = refreshOptionsSchema.parse({});
  const other = await someGuest(test.db, 'other');
  await test.db.prisma.guest.update({
    where: { id: other },
    data: { managed: true, mode: 'full', sourceGuestId },
  });
  const begun = await requestRefresh(test.db, { ...asked(), options });
  const clone = (name: string) =>
    requestClone(test.db, {
      ...asked(),
      request: cloneRequestSchema.parse({
        source: { type: 'guest', id: sourceGuestId },
        mode: 'full',
        names: [name],
      }),
    });
  const busy = { code: 'busy', publicMessage: '“clone” is being refreshed from “source” just now.' };
  await expect(requestRefresh(test.db, { ...asked(), guestId: other, options })).rejects.toMatchObject(busy);
  await expect(requestVerify(test.db, { ...asked(), guestId: other, depth: 'whole' })).rejects.toMatchObject(
    busy,
  );
  await expect(clone('third')).rejects.toMatchObject(busy);
  // One that runs has its point noted by QEMU, whoever reads it.
  await test.db.prisma.guest.update({ where: { id: sourceGuestId }, data: { state: 'running' } });
  await clone('third');
  await requestCancel(
    test.db,
    (await requestRefresh(test.db, { ...asked(), guestId: other, options })).operationIds[0] ?? '',
  );
  await requestCancel(test.db, begun.operationIds[0] ?? '');
  await test.db.prisma.guest.update({ where: { id: sourceGuestId }, data: { state: 'stopped' } });
  await expect(requestRefresh(test.db, { ...asked(), options })).rejects.toMatchObject({ code: 'busy' });
});

it('a state that was kept on purpose can be let go of', async () => {
  expect(await kept()).toEqual([true, false]);
  await expect(releaseState(test.db, { guestId, number: 7 })).rejects.toMatchObject({ code: 'not-found' });
  await releaseState(test.db, { guestId, number: 1 });
  expect(await kept()).toEqual([false, false]);
});
