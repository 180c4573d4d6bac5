/** A crash of PostgreSQL: what a follower of the log was told is in the log, and no later event has its id. */
import { randomUUID } from 'node:crypto';
import { cloneRequestSchema } from '@offshoot/clone-core/contract';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventsAfter } from '../../src/events.ts';
import { journalFor } from '../../src/journal.ts';
import { claim, requestClone, savePlan } from '../../src/operations.ts';
import { persistently } from '../../src/transaction.ts';
import { somePlan, someTemplate, testDatabase, type TestDb } from '../support/fixtures.ts';
import { startPostgres, type TestServer } from '../support/postgres.ts';

let server: TestServer;
let test: TestDb;
beforeAll(async () => {
  server = await startPostgres();
  test = await testDatabase(server.url);
});
afterAll(async () => {
  await test.db.close(); // its database goes with the server
  await server.close();
});

/** A process of the server that is killed takes all of it down and up again; what had not reached the disk is lost. */
async function crash(): Promise<void> {
  const clients = [0, 1].map(() => new pg.Client({ connectionString: test.db.url }));
  const gone = clients.map((client) => new Promise((resolve) => client.on('error', resolve)));
  for (const client of clients) await client.connect();
  const { rows } = (await clients[0]?.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')) ?? {};
  process.kill(rows?.[0]?.pid ?? 0, 'SIGKILL');
  await Promise.all(gone);
}

it('log lines and progress that were told outlive it', async () => {
  const { versionId } = await someTemplate(test.db);
  const request = cloneRequestSchema.parse({
    source: { type: 'template', versionId },
    mode: 'linked',
    names: ['crash-1'],
  });
  const batch = await requestClone(test.db, { userId: null, idempotencyKey: randomUUID(), request });
  const [operationId = ''] = batch.operationIds;
  const held = await claim(test.db, { operationId, workerId: 'w' });
  if (!held) throw new Error('not claimed');
  await savePlan(test.db, held, somePlan('crash-1'));
  const journal = journalFor(test.db, held);
  await journal.stepStarted(0);
  journal.log(0, 'a line');
  const told = async () =>
    (await eventsAfter(test.db, '0', { operationId })).map(({ id, data }) => [id, data.type]);
  const tells = (count: number) =>
    expect.poll(async () => (await told()).length, { interval: 2 }).toBe(count);
  await tells(5);
  // Nobody but who reads it waits for it to be on the disk.
  journal.progress(0, { doneBytes: 1 });
  await tells(6);
  const before = await told();
  await crash();
  expect(await persistently(told)).toEqual(before);
});

it('what a worker or a person was answered outlives it', async () => {
  // Connections of the crash before may still lie in the pool.
  const { versionId } = await persistently(() => someTemplate(test.db, 'answered', 'd2'));
  const request = cloneRequestSchema.parse({
    source: { type: 'template', versionId },
    mode: 'linked',
    names: ['crash-2'],
  });
  const ask = () => requestClone(test.db, { userId: null, idempotencyKey: randomUUID(), request });
  const { operationIds } = await persistently(ask);
  const row = async () =>
    persistently(async () => {
      const { rows } = await test.db.pool.query<{ state: string; step: string | null }>(
        `SELECT "state", "steps" -> 0 ->> 'state' AS step FROM "operation" WHERE "id" = $1`,
        [operationIds[0]],
      );
      return rows[0];
    });
  await crash();
  expect(await row()).toEqual({ state: 'queued', step: null });
  const held = await persistently(() =>
    claim(test.db, { operationId: operationIds[0] ?? '', workerId: 'w' }),
  );
  if (!held) throw new Error('not claimed');
  await savePlan(test.db, held, somePlan('crash-2'));
  await journalFor(test.db, held).stepStarted(0);
  await crash();
  expect(await row()).toEqual({ state: 'running', step: 'running' });
});
