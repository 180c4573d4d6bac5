import { randomUUID } from 'node:crypto';
import { cloneRequestSchema } from '@offshoot/clone-core/contract';
import type { ObservedGuest } from '@offshoot/clone-core/driver';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventsAfter, latestEventId } from '../../src/events.ts';
import { holdHost, reportHost, syncGuests } from '../../src/inventory.ts';
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
