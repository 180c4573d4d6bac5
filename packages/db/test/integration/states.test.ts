import { randomUUID } from 'node:crypto';
import { refreshOptionsSchema, type Generations } from '@offshoot/clone-core/contract';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  releaseState,
  requestCancel,
  requestRefresh,
  requestReset,
  requestRestore,
} from '../../src/operations.ts';
import { someGuest, testDatabase, type TestDb } from '../support/fixtures.ts';

let test: TestDb;
let guestId: string;
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
  const sourceGuestId = await someGuest(test.db, 'source');
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
  await requestCancel(test.db, operationIds[0] ?? '');
});

it('a state that was kept on purpose can be let go of', async () => {
  expect(await kept()).toEqual([true, false]);
  await expect(releaseState(test.db, { guestId, number: 7 })).rejects.toMatchObject({ code: 'not-found' });
  await releaseState(test.db, { guestId, number: 1 });
  expect(await kept()).toEqual([false, false]);
});
