/** Lists at the portal's doors: what is chosen for them, and how they are turned. */
import { randomUUID } from 'node:crypto';
import { syncGuests } from '@offshoot/db/inventory';
import { requestStop } from '@offshoot/db/operations';
import { reported } from '@offshoot/db/testing/fixtures';
import '@offshoot/db/testing/global-setup';
import { someAttestation, someOutcome } from '@offshoot/db/testing/identity';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { db } from '../../src/server/services.ts';
import type { GuestView } from '../../src/server/views/guest.ts';
import { openDoor, type Door } from '../support/door.ts';

let door: Door;

beforeAll(async () => {
  door = await openDoor(inject('postgresUrl'));
  await syncGuests(
    db(),
    'h1',
    Array.from({ length: 6 }, (_, index) => reported(`hand-${index + 1}`)),
  );
  for (const { id } of await db().prisma.guest.findMany())
    await requestStop(db(), { userId: null, idempotencyKey: randomUUID(), guestId: id, force: false });
});
afterAll(() => door.close());

it('guests that someone has to look at are counted, and listed alone', async () => {
  const { attested: _none, linkUpAt: _down, ...silent } = someOutcome('hand-1', { verdict: 'silent' });
  const scripted = someOutcome('hand-2', { changed: ['first-boot-script'] });
  const json = (value: object): object => JSON.parse(JSON.stringify(value)) as object;
  const give = async (name: string, identity: object, firstBoot: number) =>
    db().prisma.guest.update({
      where: { hostId_name: { hostId: 'h1', name } },
      data: { identity: json(identity), attested: json(someAttestation(name, { firstBoot })) },
    });
  const look = async () => ({
    number: (await door.call<number>('guest.toLookAt')).data,
    guests: (await door.call<{ guests: GuestView[] }>('guest.list', { look: true })).data?.guests,
  });
  expect((await look()).number).toBe(0);
  await give('hand-1', silent, 0);
  await give('hand-2', scripted, 3);
  expect(await look()).toMatchObject({
    number: 2,
    guests: [
      { name: 'hand-1', unproven: { networkOff: true }, firstBootCode: null },
      { name: 'hand-2', unproven: null, firstBootCode: 3 },
    ],
  });
  await give('hand-2', scripted, 0);
  expect(await look()).toMatchObject({ number: 1, guests: [{ name: 'hand-1' }] });
});

it('operations are turned page by page, to older and to newer ones', async () => {
  interface Page {
    operations: { id: string }[];
    nextCursor: string | null;
    newerCursor: string | null;
  }
  const page = async (cursor: string | null) => {
    const { data } = await door.call<Page>('operation.list', { limit: 2, cursor });
    return { ids: data?.operations.map(({ id }) => id), older: data?.nextCursor, newer: data?.newerCursor };
  };
  const first = await page(null);
  const second = await page(first.older ?? null);
  const third = await page(second.older ?? null);
  expect(new Set([first, second, third].flatMap(({ ids }) => ids)).size).toBe(6);
  expect(third.newer).toBe(first.older);
  expect(second.newer, 'the first page').toBeNull();
});
