import { randomUUID } from 'node:crypto';
import { MAX_SNAPSHOTS, type GuestSnapshot } from '@offshoot/clone-core/contract';
import type { ObservedGuest } from '@offshoot/clone-core/driver';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { syncGuests } from '../../src/inventory.ts';
import { claim, finish, requestSnapshot, savePlan } from '../../src/operations.ts';
import { someGuest, somePlan, testDatabase, type TestDb } from '../support/fixtures.ts';

let test: TestDb;
let guestId: string;
beforeAll(async () => {
  test = await testDatabase();
  guestId = await someGuest(test.db, 'a-1');
});
afterAll(() => test.close());

const asked = () => ({ userId: null, idempotencyKey: randomUUID(), guestId });
const takenAt = '2026-11-25T02:44:43.000Z';
const mine = (name: string): GuestSnapshot => ({
  name,
  takenAt,
  withMemory: true,
  memoryBytes: 5,
  ours: true,
});
const stored = async (): Promise<unknown> =>
  (await test.db.prisma.guest.findUniqueOrThrow({ where: { id: guestId } })).snapshots;

async function perform(kind: 'snapshot' | 'revert' | 'remove-snapshot', name: string): Promise<void> {
  const batch = await requestSnapshot(test.db, { ...asked(), kind, name });
  const held = await claim(test.db, { operationId: batch.operationIds[0] ?? '', workerId: 'w1' });
  if (!held) throw new Error('not claimable');
  await savePlan(test.db, held, somePlan('a-1', { kind, creates: [] }));
  const result = kind === 'snapshot' ? { snapshot: mine(name) } : {};
  await finish(test.db, held, { state: 'finished', result });
}

async function seen(snapshots: NonNullable<ObservedGuest['snapshots']>): Promise<void> {
  const { uuid, name } = await test.db.prisma.guest.findUniqueOrThrow({ where: { id: guestId } });
  const guest: ObservedGuest = {
    uuid: uuid ?? '',
    name,
    state: 'stopped',
    vcpus: 1,
    memoryBytes: 1,
    macs: [],
    disks: [],
    snapshots,
  };
  await syncGuests(test.db, 'h1', [guest]);
}

it('what was taken is listed; the host’s list decides, and another tool’s is found and left alone', async () => {
  await perform('snapshot', 's-1');
  expect(await stored()).toEqual([mine('s-1')]);
  const { ours: _ours, ...found } = mine('s-1');
  await seen([found, { name: 'by hand', takenAt, withMemory: false }]);
  expect(await stored()).toEqual([mine('s-1'), { name: 'by hand', takenAt, withMemory: false, ours: false }]);
  await seen([{ name: 'theirs', takenAt, withMemory: false }, found]);
  for (const kind of ['revert', 'remove-snapshot'] as const)
    await expect(requestSnapshot(test.db, { ...asked(), kind, name: 'theirs' })).rejects.toMatchObject({
      code: 'not-allowed',
      publicMessage: expect.stringContaining('another tool'),
    });
  await perform('revert', 's-1');
  await perform('remove-snapshot', 's-1');
  expect(await stored()).toEqual([{ name: 'theirs', takenAt, withMemory: false, ours: false }]);
  await seen([]);
  expect(await stored()).toEqual([]);
});

it('refuses a name that is taken or no name, one that is gone, one too many, and two at once', async () => {
  await test.db.prisma.guest.update({ where: { id: guestId }, data: { snapshots: [{ ...mine('s-2') }] } });
  const ask = async (kind: 'snapshot' | 'revert', name: string) =>
    requestSnapshot(test.db, { ...asked(), kind, name });
  await expect(ask('snapshot', 's-2')).rejects.toMatchObject({ code: 'name-taken', field: 'name' });
  await expect(ask('snapshot', '$(reboot)')).rejects.toMatchObject({ code: 'invalid-input' });
  await expect(ask('revert', 'gone')).rejects.toMatchObject({ code: 'not-found' });
  const both = await Promise.allSettled([ask('snapshot', 's-3'), ask('snapshot', 's-4')]);
  expect(both.map((one) => one.status).toSorted()).toEqual(['fulfilled', 'rejected']);
  await test.db.pool.query(
    `UPDATE "operation" SET "state" = 'cancelled', "finishedAt" = now() WHERE "finishedAt" IS NULL`,
  );
  const full = Array.from({ length: MAX_SNAPSHOTS }, (_, i) => ({ ...mine(`n-${i}`) }));
  await test.db.prisma.guest.update({ where: { id: guestId }, data: { snapshots: full } });
  await expect(ask('snapshot', 'one-more')).rejects.toMatchObject({
    code: 'not-allowed',
    publicMessage: expect.stringContaining(`${MAX_SNAPSHOTS} are the most`),
  });
});
