import { randomUUID } from 'node:crypto';
import type { StreamEvent } from '@offshoot/clone-core/contract';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openDatabase } from '../../src/client.ts';
import {
  appendEvents,
  eventsAfter,
  latestEventId,
  openEventHub,
  streamFrom,
  type EventHub,
} from '../../src/events.ts';
import { persistently, transaction } from '../../src/transaction.ts';
import { testDatabase, type TestDb } from '../support/fixtures.ts';
import { startPostgres } from '../support/postgres.ts';

let test: TestDb;
beforeAll(async () => {
  test = await testDatabase();
});
afterAll(() => test.close());

const line = (index: number, text: string) => ({ type: 'log', index, line: text }) as const;
const textOf = (event: StreamEvent): string => (event.data.type === 'log' ? event.data.line : '');

/** Reads until `count` events came, reconnecting with the last id after a random number of them. */
async function unsteady(
  db: TestDb['db'],
  hub: EventHub,
  cursor: string,
  count: number,
): Promise<StreamEvent[]> {
  const seen: StreamEvent[] = [];
  while (seen.length < count) {
    const connection = new AbortController();
    let patience = 1 + Math.floor(Math.random() * 120);
    for await (const event of streamFrom(db, hub, {
      cursor: seen.at(-1)?.id ?? cursor,
      filter: {},
      signal: connection.signal,
    })) {
      seen.push(event);
      if (seen.length >= count || --patience === 0) break;
    }
    connection.abort();
  }
  return seen;
}

it('8 writers × 500 events, subscribers that reconnect at random: none lost, none twice, in order of commit', async () => {
  const { db } = test;
  const hub = await openEventHub(db);
  const cursor = await latestEventId(db);
  const readers = [
    unsteady(db, hub, cursor, 4000),
    unsteady(db, hub, cursor, 4000),
    unsteady(db, hub, cursor, 4000),
  ];
  const writer = async (who: number): Promise<void> => {
    for (let n = 0; n < 500; n++) {
      await transaction(db, async (tx) => {
        if (n % 7 === 0) await tx.query('SELECT pg_sleep(random() * 0.002)');
        await appendEvents(tx, [{ data: line(who, `${who}:${n}`) }]);
      });
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_, who) => writer(who)));
  for (const seen of await Promise.all(readers)) {
    expect(new Set(seen.map(textOf)).size).toBe(4000);
    const ids = seen.map((event) => BigInt(event.id));
    expect(ids.every((id, index) => index === 0 || id > (ids[index - 1] ?? 0n))).toBe(true);
    for (let who = 0; who < 8; who++) {
      const own = seen.map(textOf).filter((text) => text.startsWith(`${who}:`));
      expect(own).toEqual(Array.from({ length: 500 }, (_, n) => `${who}:${n}`));
    }
  }
  await hub.close();
});

it('a rolled back writer leaves no event, and a subscriber sees only what it asked for', async () => {
  const { db } = test;
  const hub = await openEventHub(db);
  const stop = new AbortController();
  const mine = randomUUID();
  const got = (async () => {
    for await (const event of streamFrom(db, hub, { filter: { operationId: mine }, signal: stop.signal }))
      return event;
    return undefined;
  })();
  await expect(
    transaction(db, async (tx) => {
      await appendEvents(tx, [{ operationId: mine, data: line(0, 'never') }]);
      throw new Error('no');
    }),
  ).rejects.toThrow('no');
  await transaction(db, (tx) =>
    appendEvents(tx, [
      { operationId: randomUUID(), data: line(0, 'other') },
      { operationId: mine, data: line(0, 'mine') },
    ]),
  );
  expect(await got).toMatchObject({ operationId: mine, data: { line: 'mine' } });
  expect(await eventsAfter(db, '0', { operationId: mine })).toHaveLength(1);
  stop.abort();
  await hub.close();
});

it('a restart of PostgreSQL in the middle: the hub comes back and catches up', async () => {
  const server = await startPostgres();
  const own = await testDatabase(server.url);
  const db = openDatabase(own.db.url);
  const hub = await openEventHub(db);
  const stop = new AbortController();
  // A commit whose answer was lost is repeated by its writer: the log then has that one twice, under two ids.
  const seen = new Set<string>();
  const all = (async () => {
    for await (const event of hub.subscribe({}, stop.signal)) {
      if (event.data.type === 'log') seen.add(textOf(event));
      if (seen.size === 200) return;
    }
  })();
  const write = (n: number): Promise<void> =>
    persistently(() => transaction(db, (tx) => appendEvents(tx, [{ data: line(0, String(n)) }])));
  for (let n = 0; n < 100; n++) await write(n);
  const restarted = server.restart();
  for (let n = 100; n < 200; n++) await write(n);
  await restarted;
  await all;
  expect([...seen]).toEqual(Array.from({ length: 200 }, (_, n) => String(n)));
  stop.abort();
  await hub.close();
  await db.close();
  await own.db.close();
  await server.close();
});
