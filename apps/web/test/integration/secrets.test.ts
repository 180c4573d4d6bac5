/** Clear text that was given for a guest is nowhere afterwards: not in the database, Redis, a log, an event or an answer. */
import { randomUUID } from 'node:crypto';
import { cloneRequestSchema, isEnded, type ClonePreview } from '@offshoot/clone-core/contract';
import '@offshoot/db/testing/global-setup';
import { Redis } from 'ioredis';
import pino from 'pino';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { log } from '../../src/server/log.ts';
import { db, hub } from '../../src/server/services.ts';
import { openDoor, type Door } from '../support/door.ts';
import { startWorker, type WorkerProcess } from '../support/worker.ts';

const clear = `geheim-${randomUUID()}`;
const tooLong = `${clear}-${'x'.repeat(60)}`;
const sealSecret = 'a-seal-secret-for-tests-only-0123456789';
let door: Door;
let worker: WorkerProcess;
let monitor: Redis;
/** Everything that left or was kept, by where. */
const seen: Record<string, string> = { answers: '', 'the web’s log': '', Redis: '', events: '' };
const hear = (where: string, text: string): void => void (seen[where] += `${text}\n`);

beforeAll(async () => {
  door = await openDoor(inject('postgresUrl'), { OFFSHOOT_SEAL_SECRET: sealSecret });
  log.level = 'trace';
  const holder = log as unknown as Record<symbol, { write(text: string): void }>;
  const stream = holder[pino.symbols.streamSym];
  if (!stream) throw new Error('the log has no stream');
  stream.write = (text) => hear('the web’s log', text);
  const redis = new Redis(door.redis.url);
  monitor = await redis.monitor();
  redis.disconnect();
  monitor.on('monitor', (_time: string, words: string[]) => hear('Redis', words.join(' ')));
  worker = await startWorker({
    DATABASE_URL: door.databaseUrl,
    REDIS_URL: door.redis.url,
    OFFSHOOT_SEAL_SECRET: sealSecret,
    OFFSHOOT_SIMULATED: JSON.stringify({ speed: { copyRate: 100e9, latencyMs: 1, tickMs: 10, bootMs: 100 } }),
  });
});
afterAll(async () => {
  await worker.stop();
  monitor.disconnect();
  await door.close();
});

async function call<T>(path: string, input: unknown) {
  const answer = await door.call<T>(path, input);
  hear('answers', answer.text);
  return answer;
}

/** Every row of every table, views left out. */
async function wholeDatabase(): Promise<string> {
  const { rows: tables } = await db().pool.query<{ name: string }>(
    `SELECT quote_ident(table_name) AS name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'`,
  );
  const parts: string[] = [];
  for (const { name } of tables) {
    const { rows } = await db().pool.query<{ row: string }>(`SELECT to_jsonb(t)::text AS row FROM ${name} t`);
    parts.push(...rows.map(({ row }) => `${name} ${row}`));
  }
  return parts.join('\n');
}

it('a password that was given, right or wrong, is nowhere in clear', async () => {
  const stop = new AbortController();
  const events = (await hub()).subscribe({}, stop.signal);
  const source = await db().prisma.guest.findUniqueOrThrow({
    where: { hostId_name: { hostId: 'h1', name: 'simulated-01' } },
  });
  const request = (users: object[], windows?: object) => ({
    source: { type: 'guest', id: source.id },
    mode: 'full',
    names: ['with-secret'],
    options: { start: true, identity: { users, ...(windows ? { windows } : {}) } },
  });
  const create = (wanted: object, more = {}) =>
    call<{ operationIds: string[] }>('operation.create.clone', {
      idempotencyKey: randomUUID(),
      request: wanted,
      ...more,
    });

  // Wrong ways first: refused, and the answer does not repeat it.
  for (const answer of [
    await call('identity.hashPassword', { password: tooLong }),
    await call('identity.hashPassword', { password: [clear] }),
    await call('identity.hashPassword', { pass: clear, [clear]: 1 }),
    await call('identity.seal', { secret: clear.repeat(100) }),
    await create(request([{ name: 'ann', passwordHash: clear }])),
    await create(request([{ name: 'ann', password: clear }])),
    await create(request([], { administratorPassword: clear })),
    await call('preview.clone', request([{ name: 'ann', passwordHash: clear }])),
  ])
    expect(answer.status, answer.text).toBeGreaterThanOrEqual(400);
  const { data: hashed } = await call<{ passwordHash: string }>('identity.hashPassword', { password: clear });
  const { data: sealed } = await call<{ sealed: string }>('identity.seal', { secret: clear });
  expect(sealed?.sealed).toBeDefined();

  const wanted = cloneRequestSchema.parse(request([{ name: 'ann', passwordHash: hashed?.passwordHash }]));
  const preview = await call<ClonePreview>('preview.clone', wanted);
  expect(preview.status, preview.text).toBe(200);
  const asked = await create(wanted, { agreedFingerprint: preview.data?.fingerprint });
  const id = asked.data?.operationIds[0];
  for await (const event of events) {
    hear('events', JSON.stringify(event));
    if (event.operationId === id && event.data.type === 'state' && isEnded(event.data.state)) {
      expect(event.data, JSON.stringify(event.data)).toMatchObject({ state: 'finished' });
      break;
    }
  }
  stop.abort();
  await call('operation.get', { id });
  await call('operation.log', { id });

  seen['the database'] = await wholeDatabase();
  seen['the worker’s log'] = worker.output();
  // Each place was really looked at.
  expect(seen['the database']).toContain(hashed?.passwordHash);
  expect(seen['the database']).toMatch(/^certificate .*with-secret/m);
  expect(seen['Redis']).toContain('with-secret');
  expect(seen['events']).toContain(id);
  expect(seen['the worker’s log']).toContain('operation ended');
  for (const [where, text] of Object.entries(seen)) {
    expect(text.includes(clear), `clear text in ${where}`).toBe(false);
    // Nor the hash, where nobody needs it.
    if (where === 'events' || where.endsWith('log'))
      expect(text.includes(hashed?.passwordHash ?? '-'), `hash in ${where}`).toBe(false);
  }
});
