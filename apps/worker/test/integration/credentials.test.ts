/** A worker's credential opens its own host's work and nothing else, in PostgreSQL and in Redis, and can be taken away at once. */
import { randomUUID } from 'node:crypto';
import { openDatabase, type Db } from '@offshoot/db/client';
import { registerHost, syncGuests } from '@offshoot/db/inventory';
import { journalFor } from '@offshoot/db/journal';
import {
  claim,
  finish,
  listRunnable,
  requestStart,
  requestStop,
  savePlan,
  watchCancels,
  type Claim,
} from '@offshoot/db/operations';
import { hostWithKey, registerPeer } from '@offshoot/db/peers';
import { someGuest, somePlan } from '@offshoot/db/testing/fixtures';
import { activeWorkers, admitWorker, revokeWorkers } from '@offshoot/db/workers';
import { openAccess, type Access } from '@offshoot/queue/access';
import { redisOptions } from '@offshoot/queue/connection';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { credentialFor, openRig, type PostgresUrl, type Rig, type WorkerUrls } from '../support/services.ts';
import { ended, fast } from '../support/simulated.ts';

const postgres: PostgresUrl = inject('postgresUrl');
let rig: Rig;
let access: Access;
let urls: Record<'h1' | 'h2', WorkerUrls>;
let one: Db;
let two: Db;

const closing: (() => unknown)[] = [];
const asked = () => ({ userId: null, idempotencyKey: randomUUID() });

/** A queued start of a new guest on the host. */
async function queued(hostId: 'h1' | 'h2', name: string): Promise<{ operationId: string; guestId: string }> {
  const guestId = await guestOn(hostId, name);
  const { operationIds } = await requestStart(rig.db, { ...asked(), guestId, waitForAgent: false });
  return { operationId: operationIds[0] ?? '', guestId };
}

async function guestOn(hostId: 'h1' | 'h2', name: string): Promise<string> {
  if (hostId === 'h1') return someGuest(rig.db, name);
  const seen = {
    name,
    uuid: randomUUID(),
    state: 'stopped' as const,
    vcpus: 1,
    memoryBytes: 1,
    macs: [],
    disks: [],
  };
  await syncGuests(rig.db, 'h2', [seen]);
  return (await rig.db.prisma.guest.findFirstOrThrow({ where: { hostId, name } })).id;
}

function redisAs(host: 'h1' | 'h2'): Redis {
  const redis = new Redis({
    ...redisOptions(urls[host].REDIS_URL),
    retryStrategy: () => null,
    lazyConnect: true,
  });
  redis.on('error', () => undefined);
  closing.push(() => redis.disconnect());
  return redis;
}

const refused = (work: Promise<unknown>, words: RegExp): Promise<void> => expect(work).rejects.toThrow(words);

beforeAll(async () => {
  rig = await openRig(postgres, {}, { joined: false });
  access = openAccess(
    rig.redis.url,
    () => activeWorkers(rig.db),
    () => undefined,
  );
  urls = {
    h1: await credentialFor(rig, access, 'h1', 'Host 1'),
    h2: await credentialFor(rig, access, 'h2', 'Host 2'),
  };
  one = openDatabase(urls.h1.DATABASE_URL);
  two = openDatabase(urls.h2.DATABASE_URL);
});
afterAll(async () => {
  for (const close of closing) close();
  await one.close();
  await two.close();
  access.close();
  await rig.close();
});

describe('a worker’s credential', () => {
  let mine: { operationId: string; guestId: string };
  let theirs: { operationId: string; guestId: string };
  let held: Claim;

  it('performs its own host’s operations, and sees no other’s', async () => {
    mine = await queued('h1', 'own');
    theirs = await queued('h2', 'other');
    // Each registers its own host, under the name that it was given at joining.
    await registerHost(one, {
      id: 'h1',
      name: 'Another name',
      kind: 'simulated',
      simulated: true,
      workerVersion: '1',
    });
    expect(await rig.db.prisma.host.findUnique({ where: { id: 'h1' } })).toMatchObject({
      name: 'Host 1',
      workerVersion: '1',
    });
    await refused(
      registerHost(one, {
        id: 'h3',
        name: 'A third',
        kind: 'simulated',
        simulated: true,
        workerVersion: '1',
      }),
      /row-level security/,
    );

    const operations = await one.pool.query<{ id: string }>('SELECT "id" FROM "operation"');
    expect(operations.rows).toEqual([{ id: mine.operationId }]);
    const guests = await one.pool.query<{ name: string }>('SELECT "name" FROM "guest"');
    expect(guests.rows).toEqual([{ name: 'own' }]);
    expect(await listRunnable(one, ['h1', 'h2'])).toHaveLength(1);

    const own = await claim(one, { operationId: mine.operationId, workerId: 'w1' });
    if (!own) throw new Error('its own operation was not claimed');
    await savePlan(one, own, somePlan('own', { kind: 'start' }));
    await journalFor(one, own).stepStarted(0);
    await journalFor(one, own).stepFinished(0, undefined, {});
    await finish(one, own, { state: 'finished', result: {} });
    expect(await ended(rig, mine.operationId)).toMatchObject({ state: 'finished' });
  });

  it('can’t claim, write or finish another host’s operation, even with that one’s claim', async () => {
    expect(await claim(one, { operationId: theirs.operationId, workerId: 'w1' })).toBeUndefined();
    const real = await claim(two, { operationId: theirs.operationId, workerId: 'w2' });
    if (!real) throw new Error('the other host could not claim its own');
    held = real;
    await savePlan(two, held, somePlan('other', { kind: 'start' }));
    // The very token: it fences nothing here.
    await refused(finish(one, held, { state: 'finished', result: {} }), /taken this operation over/);
    await refused(journalFor(one, held).stepStarted(0), /taken this operation over/);
    const { rowCount } = await one.pool.query(`UPDATE "operation" SET "title" = 'x' WHERE "id" = $1`, [
      theirs.operationId,
    ]);
    expect(rowCount).toBe(0);
    const guest = await one.pool.query(`DELETE FROM "guest" WHERE "id" = $1`, [theirs.guestId]);
    expect(guest.rowCount).toBe(0);
    const host = await one.pool.query(`UPDATE "host" SET "problem" = 'x' WHERE "id" = 'h2'`);
    expect(host.rowCount).toBe(0);
    await refused(
      one.pool.query(
        `INSERT INTO "event" ("operationId", "hostId", "data") VALUES ($1, 'h2', '{"type":"state","state":"finished"}')`,
        [theirs.operationId],
      ),
      /row-level security/,
    );
    await refused(
      one.pool.query(
        `INSERT INTO "event" ("operationId", "hostId", "data") VALUES ($1, 'h1', '{"type":"state","state":"finished"}')`,
        [theirs.operationId],
      ),
      /row-level security/,
    );
    expect(await rig.db.prisma.operation.findUnique({ where: { id: theirs.operationId } })).toMatchObject({
      state: 'running',
      title: 'other',
    });
    // What it was, it still is for the one whose it is.
    await finish(two, held, { state: 'finished', result: {} });
    expect(await ended(rig, theirs.operationId)).toMatchObject({ state: 'finished' });
  });

  it('can’t ask for work, change what was asked for, publish templates, or look at people and credentials', async () => {
    const insert = (hostId: string, kind: string): Promise<unknown> =>
      one.pool.query(
        `INSERT INTO "operation" ("id", "kind", "state", "hostId", "lane", "title", "batchId", "request") VALUES ($1, $2, 'queued', $3, 'bulk', 'x', $1, '{}')`,
        [randomUUID(), kind, hostId],
      );
    await refused(insert('h2', 'delete'), /row-level security/);
    await refused(insert('h1', 'import'), /row-level security/);
    await refused(
      one.pool.query(`UPDATE "operation" SET "request" = '{}' WHERE "id" = $1`, [mine.operationId]),
      /may not change what was asked for/,
    );
    await refused(
      one.pool.query(`UPDATE "guest" SET "hostId" = 'h2' WHERE "id" = $1`, [mine.guestId]),
      /may not change whose a guest is/,
    );
    await refused(
      one.pool.query(`UPDATE "host" SET "duty" = 'draining' WHERE "id" = 'h1'`),
      /may not change what a host is called/,
    );
    await refused(
      one.pool.query(`INSERT INTO "template" ("id", "name") VALUES ($1, 'x')`, [randomUUID()]),
      /row-level security/,
    );
    for (const table of [
      'user',
      'session',
      'account',
      'verification',
      'worker',
      'join_token',
      'shared_identity',
      '_prisma_migrations',
    ])
      await refused(one.pool.query(`SELECT * FROM ${pg.escapeIdentifier(table)}`), /permission denied/);
    await refused(one.pool.query('SELECT "data" FROM "event"'), /permission denied/);
    await refused(one.pool.query('CREATE TABLE mine ()'), /permission denied/);
    await refused(one.pool.query('CREATE ROLE mine'), /permission denied/);
  });

  it('opens its own host’s queues in Redis only', async () => {
    const redis = redisAs('h1');
    await redis.set('bull:h1-bulk:test', '1');
    expect(await redis.get('bull:h1-bulk:test')).toBe('1');
    await rig.queues.enqueueOperation({ operationId: randomUUID(), hostId: 'h2', lane: 'bulk' });
    for (const key of [
      'bull:h2-bulk:wait',
      'bull:h2-interactive:meta',
      'bull:h2-preview:events',
      'bull:h1-bulk',
      'anything',
    ])
      await refused(redis.type(key), /NOPERM/);
    await refused(redis.lpush('bull:h2-bulk:wait', 'x'), /NOPERM/);
    // Also from inside a script, which may name keys that it did not declare.
    await refused(
      redis.eval(`return redis.call('LRANGE', 'bull:h2-bulk:wait', 0, -1)`, 0),
      /NOPERM|can't access/i,
    );
    for (const command of [
      ['KEYS', '*'],
      ['SCAN', '0'],
      ['FLUSHALL'],
      ['CONFIG', 'GET', '*'],
      ['ACL', 'LIST'],
      ['CLIENT', 'LIST'],
      ['MONITOR'],
      ['SUBSCRIBE', 'x'],
    ])
      await refused(redis.call(command[0] ?? '', ...command.slice(1)), /NOPERM/);
    // A Redis that has forgotten everybody is told again.
    redis.disconnect();
    await rig.redis.restart();
    // A connection that was refused once does not try again by itself: each asks anew.
    await expect.poll(() => redisAs('h1').ping().catch(String), { timeout: 10_000 }).toBe('PONG');
  });

  it('is one a host, one a machine, and needs a portal that may make roles', async () => {
    const joining = { hostName: 'New', kind: 'libvirt' as const };
    await refused(
      admitWorker(rig.db, { ...joining, hostId: 'h1', machine: null }),
      /“Host 1” is served by a worker that joined before/,
    );
    await admitWorker(rig.db, { ...joining, hostId: 'h3', hostName: 'Third', machine: 'm3' });
    await refused(
      admitWorker(rig.db, { ...joining, hostId: 'h4', machine: 'm3' }),
      /This machine is the host “Third” of the portal already; it can’t be “New” too/,
    );
    const name = `plain_${randomUUID().slice(0, 8)}`;
    await rig.db.pool.query(`CREATE ROLE ${name} LOGIN PASSWORD 'plain'`);
    const url = new URL(rig.databaseUrl);
    url.username = name;
    url.password = 'plain';
    const plain = openDatabase(url.toString());
    try {
      await expect(admitWorker(plain, { ...joining, hostId: 'h4', machine: null })).rejects.toMatchObject({
        code: 'permission',
        publicMessage: expect.stringContaining(
          `the PostgreSQL account ${name} of DATABASE_URL may not make the accounts`,
        ),
        remedy: expect.stringContaining(`ALTER ROLE "${name}" CREATEROLE`),
      });
    } finally {
      await plain.close();
      await rig.db.pool.query(`DROP ROLE ${name}`);
    }
  });

  it('can’t have another host’s operation cancelled by a notification', async () => {
    const { operationId: forged } = await queued('h2', 'forged');
    const { operationId: asked2 } = await queued('h2', 'asked');
    const heard: string[] = [];
    const stop = new AbortController();
    const { ended: deaf } = await watchCancels(two, (id) => heard.push(id), stop.signal);
    await one.pool.query("SELECT pg_notify('offshoot_cancel', $1)", [forged]);
    await rig.db.pool.query(
      `WITH o AS (UPDATE "operation" SET "cancelRequestedAt" = now() WHERE "id" = $1 RETURNING "id")
       SELECT pg_notify('offshoot_cancel', "id"::text) FROM o`,
      [asked2],
    );
    await expect.poll(() => heard, { interval: 20 }).toEqual([asked2]);
    stop.abort();
    await deaf;
    await rig.db.pool.query('DELETE FROM "operation" WHERE "id" = ANY($1::uuid[])', [[forged, asked2]]);
  });

  it('stops working within 5 seconds of being revoked, in the middle of its work, and the others’ go on', async () => {
    const env = {
      OFFSHOOT_HOST_KIND: 'simulated',
      OFFSHOOT_STORE: '/simulated',
      OFFSHOOT_SIMULATED: JSON.stringify(fast),
    };
    const worker = await rig.worker({ ...env, ...urls.h1, OFFSHOOT_HOST_ID: 'h1' });
    const neighbour = await rig.worker({ ...env, ...urls.h2, OFFSHOOT_HOST_ID: 'h2' });
    const role = new URL(urls.h1.DATABASE_URL).username;
    const redis = redisAs('h1');
    expect(await redis.ping()).toBe('PONG');
    const sessions = async (): Promise<number> =>
      (await rig.db.pool.query('SELECT 1 FROM pg_stat_activity WHERE usename = $1', [role])).rowCount ?? 0;
    const admin = new Redis(redisOptions(rig.redis.url));
    closing.push(() => admin.disconnect());
    const connections = async (): Promise<number> =>
      String(await admin.client('LIST'))
        .split('\n')
        .filter((line) => line.includes(`user=${role} `)).length;
    expect(await sessions()).toBeGreaterThan(1);
    expect(await connections()).toBeGreaterThan(3);
    // Other hosts let it in by its key; and it holds what revoking needs too.
    await registerPeer(one, 'h1', { address: '10.0.0.1', port: 1, key: 'ssh-ed25519 h1' });
    expect(await hostWithKey(two, 'ssh-ed25519 h1')).toBe('h1');
    const stubborn = await one.pool.connect();
    stubborn.on('error', () => undefined);
    await stubborn.query('SELECT pg_advisory_lock(7067466)');

    const begun = performance.now();
    await access.expel(await revokeWorkers(rig.db, 'h1'));
    await expect.poll(sessions, { timeout: 5000, interval: 50 }).toBe(0);
    await expect.poll(connections, { timeout: 5000, interval: 50 }).toBe(0);
    await refused(one.pool.query('SELECT 1'), /terminat|password authentication failed|does not exist/);
    await refused(one.pool.query('SELECT 1'), /password authentication failed|does not exist/);
    await refused(redisAs('h1').ping(), /WRONGPASS|closed/);
    expect(await hostWithKey(two, 'ssh-ed25519 h1')).toBeUndefined();
    expect(performance.now() - begun).toBeLessThan(5000);
    stubborn.release(true);

    // The worker itself says what happened and ends; what it would have done waits.
    expect(await worker.exited).toBe(78);
    expect(worker.log()).toContain('refuses this worker’s credential');
    const waiting = await queued('h1', 'later');
    expect(await rig.db.prisma.host.findUnique({ where: { id: 'h1' } })).toMatchObject({
      problem: 'Its worker’s credential was revoked. Join the host again to use it.',
    });
    const { id: guestId } = await rig.db.prisma.guest.findFirstOrThrow({
      where: { hostId: 'h2', name: 'simulated-01' },
    });
    const { operationIds } = await requestStop(rig.db, { ...asked(), guestId, force: true });
    expect(await ended(rig, operationIds[0])).toMatchObject({ state: 'finished' });
    expect(await rig.db.prisma.operation.findUnique({ where: { id: waiting.operationId } })).toMatchObject({
      state: 'queued',
      attempts: 0,
    });
    await neighbour.stop();

    // Joined again, it goes on with a new credential.
    urls.h1 = await credentialFor(rig, access, 'h1', 'Host 1');
    await rig.worker({ ...env, ...urls.h1, OFFSHOOT_HOST_ID: 'h1' });
    expect((await ended(rig, waiting.operationId)).attempts).toBe(1);
  });
});
