import { randomUUID } from 'node:crypto';
import { makeDriver, type AnyDriver } from '@offshoot/clone-core/drivers';
import type { GuestRef } from '@offshoot/clone-core/driver';
import { localShell } from '@offshoot/clone-core/shell/local';
import { openDatabase, type Db } from '@offshoot/db/client';
import { sharedIdentities } from '@offshoot/db/identity';
import { registerHost, syncGuests } from '@offshoot/db/inventory';
import { requestStop } from '@offshoot/db/operations';
import { someAttestation } from '@offshoot/db/testing/identity';
import { freshDatabase } from '@offshoot/db/testing/postgres';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, inject, it, vi } from 'vitest';
import { keepAttesting } from '../../src/attest-loop.ts';

let db: Db;
let drop: () => Promise<void>;
const stop = new AbortController();

beforeEach(async () => {
  const fresh = await freshDatabase(inject('postgresUrl'));
  drop = () => fresh.drop();
  db = openDatabase(fresh.url);
  await registerHost(db, {
    id: 'h1',
    name: 'Host 1',
    kind: 'simulated',
    simulated: true,
    workerVersion: 'test',
  });
});
afterEach(async () => {
  stop.abort();
  vi.restoreAllMocks();
  await db.close();
  await drop();
});

const running = new Map<string, string>();
/** The host reports these as running. */
async function report(...names: string[]): Promise<void> {
  for (const name of names) if (!running.has(name)) running.set(name, randomUUID());
  await syncGuests(
    db,
    'h1',
    names.map((name) => ({
      name,
      uuid: running.get(name) ?? '',
      state: 'running',
      vcpus: 1,
      memoryBytes: 1,
      macs: [],
      disks: [],
    })),
  );
}

it('asks running guests one at a time, the silent ones ever more rarely, never one that an operation is about', async () => {
  const asked: string[] = [];
  let [atOnce, most] = [0, 0];
  const attest = async ({ name }: GuestRef) => {
    asked.push(name);
    most = Math.max(most, ++atOnce);
    // Long enough that a second one would be seen beside it.
    await new Promise((resolve) => setImmediate(resolve));
    atOnce--;
    if (name === 'broken') throw new Error('no answer that can be read');
    if (name === 'scripted') return someAttestation(name, { firstBoot: 'running' });
    return name === 'silent' ? undefined : someAttestation(name, { machineId: 'a'.repeat(32) });
  };
  const driver: AnyDriver = makeDriver(
    { kind: 'simulated', uri: '', store: '/simulated', accelerator: 'tcg' },
    localShell(),
  );
  const host = { id: 'h1', driver: Object.assign(driver, { attest }) };
  const loop = keepAttesting(db, host, () => true, stop.signal, pino({ level: 'silent' }));

  await report('one', 'two', 'silent', 'broken', 'busy', 'scripted');
  const busy = await db.prisma.guest.findFirstOrThrow({ where: { name: 'busy' } });
  await requestStop(db, { userId: null, idempotencyKey: randomUUID(), guestId: busy.id, force: false });
  await loop.now();
  expect(asked.toSorted()).toEqual(['broken', 'one', 'scripted', 'silent', 'two']);
  expect(most).toBe(1);
  const rows = await db.prisma.guest.findMany({
    where: { attestedAt: { not: null } },
    orderBy: { name: 'asc' },
  });
  expect(rows).toMatchObject([
    { name: 'one', attested: { hostname: 'one' } },
    { name: 'scripted', attested: { firstBoot: 'running' } },
    { name: 'two', attested: { hostname: 'two' } },
  ]);
  expect(await sharedIdentities(db)).toMatchObject([
    { field: 'machine-id', guests: [{ name: 'one' }, { name: 'two' }] },
  ]);

  // Nobody's turn yet.
  await loop.now();
  expect(asked).toHaveLength(5);

  // Stopped and started again: it is asked soon, the others are not.
  await report('two', 'silent', 'broken', 'busy', 'scripted');
  await loop.now();
  await report('one', 'two', 'silent', 'broken', 'busy', 'scripted');
  await loop.now();
  expect(asked.slice(5)).toEqual(['one']);

  // A little later: those that did not answer, and one that had more to say.
  const later = performance.now() + 11_000;
  vi.spyOn(performance, 'now').mockImplementation(() => later);
  await loop.now();
  expect(asked.slice(6).toSorted()).toEqual(['broken', 'scripted', 'silent']);
});
