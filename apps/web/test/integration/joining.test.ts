/** Machines join a portal: over TLS, with a token that is good once; and are rested, revoked and removed. */
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { WORKER_PROTOCOL, type JoinRequest } from '@offshoot/clone-core/contract/joining';
import { makeJoinKey } from '@offshoot/clone-core/joining/sealed';
import { claim, listRunnable } from '@offshoot/db/operations';
import { redisOptions } from '@offshoot/queue/connection';
import { hasSshd, NO_SSHD, startSshd } from '@offshoot/clone-core/testing/sshd';
import { execa } from 'execa';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { db } from '../../src/server/services.ts';
import type { Invitation } from '../../src/server/fleet/invitation.ts';
import type { HostView } from '../../src/server/views/host.ts';
import { openPortal, worker, type Portal, type Program } from '../support/joining.ts';

/** libvirt's own driver for tests: it answers without a daemon. */
const LIBVIRT = 'test:///default';
let portal: Portal;
const running: Program[] = [];
/** Programs start here, milliseconds: on a busy machine that takes its time. */
vi.setConfig({ testTimeout: 90_000 });

beforeAll(async () => {
  portal = await openPortal();
});
afterAll(async () => {
  await Promise.all(running.map((one) => one.stop()));
  await portal.close();
});

async function invite(name: string): Promise<Invitation> {
  const { data, error } = await portal.call<Invitation>('fleet.invite', { name });
  if (!data) throw new Error(JSON.stringify(error));
  return data;
}

/** What a worker would send. */
async function send(
  token: string,
  more: Partial<JoinRequest> = {},
): Promise<{ status: number; message?: string; remedy?: string }> {
  const request: JoinRequest = {
    token,
    now: new Date().toISOString(),
    version: '0.1.0',
    protocol: WORKER_PROTOCOL,
    publicKey: makeJoinKey().publicKey,
    ...more,
  };
  const response = await fetch(`${portal.url}/api/join`, { method: 'POST', body: JSON.stringify(request) });
  const { error } = (await response.json()) as { error?: { message: string; remedy?: string } };
  return { status: response.status, ...error };
}

const folderOf = (name: string): string => join(portal.folder, 'machines', name);
async function joining(
  name: string,
  token: string,
  more: string[] = [],
  url = portal.url,
): Promise<{ code: number | null; said: string }> {
  await mkdir(folderOf(name), { recursive: true });
  const args = [
    'join',
    url,
    token,
    '--folder',
    join(folderOf(name), 'etc'),
    '--store',
    join(folderOf(name), 'store'),
  ];
  const one = worker(portal, [...args, '--uri', LIBVIRT, ...more]);
  return { code: await one.ended, said: one.output() };
}
const simulated = {
  OFFSHOOT_HOST_KIND: 'simulated',
  OFFSHOOT_SIMULATED: '{"speed":{"latencyMs":1,"bootMs":100}}',
};
function serving(name: string, env: Record<string, string> = simulated): Program {
  const one = worker(portal, ['run', '--folder', join(folderOf(name), 'etc')], env);
  running.push(one);
  return one;
}
const hostNamed = async (id: string): Promise<HostView | undefined> =>
  (await portal.call<HostView>('host.get', { id })).data;

it('only administrators invite, and a token fits its name, its clock, its version and one machine', async () => {
  expect((await portal.stranger('fleet.invite', { name: 'rack-1' })).status).toBe(401);
  const { token, hostId, digest } = await invite('Rack 1');
  expect(hostId).toBe('rack-1');
  expect(digest).toMatch(/^[0-9a-f]{64}$/);
  // At rest there is nothing that could be used.
  expect(JSON.stringify(await db().prisma.joinToken.findMany())).not.toContain(token.slice(0, 43));

  const minutes = (count: number): string => new Date(Date.now() + count * 60_000).toISOString();
  const unknown = await send(`${'x'.repeat(43)}.${token.slice(44)}`);
  expect(unknown).toMatchObject({ status: 403, message: 'The portal does not know this token.' });
  expect(await send('short')).toMatchObject({
    status: 400,
    message: 'A token is 87 characters long: copy the whole of it.',
  });
  expect(await send(token, { name: 'rack-2' })).toMatchObject({
    status: 403,
    message: 'This token is for the host “Rack 1”, but the machine asks to be “rack-2”.',
  });
  expect(await send(token, { now: minutes(-10) })).toMatchObject({
    status: 403,
    message: 'This machine’s clock is 10 min behind the portal’s.',
    remedy: 'Set it (timedatectl set-ntp true), then join again with the same token.',
  });
  expect(await send(token, { now: minutes(60 * 24 * 400) })).toMatchObject({
    message: expect.stringContaining('400 days ahead of'),
  });
  expect(await send(token, { protocol: WORKER_PROTOCOL + 1, version: '9.0.0' })).toMatchObject({
    message: expect.stringContaining('This worker is of version 9.0.0, which this portal'),
  });
  // None of that spent it. Two machines with one token: one of them.
  const machine = 'a'.repeat(64);
  const both = await Promise.all([send(token, { machine }), send(token, { machine })]);
  expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 403]);
  expect(await send(token)).toMatchObject({
    status: 403,
    message: 'This token was used already: it let “Rack 1” join.',
  });

  expect((await portal.call('fleet.invite', { name: 'RACK 1' })).error).toMatchObject({
    message: 'There is a host “Rack 1” already.',
    field: 'name',
  });
  // The same machine as a second host; a second machine as the same host.
  const second = await invite('rack-2');
  expect(await send(second.token, { machine })).toMatchObject({
    status: 409,
    message: 'This machine is the host “Rack 1” of the portal already; it can’t be “rack-2” too.',
  });
  const { data: again } = await portal.call<Invitation>('fleet.inviteAgain', { id: 'rack-1' });
  expect(await send(again?.token ?? '')).toMatchObject({
    status: 409,
    message: '“Rack 1” is served by a worker that joined before, and a host has one worker.',
  });
  await db().pool.query(`UPDATE "join_token" SET "expiresAt" = now() - interval '1 second'`);
  expect(await send(second.token)).toMatchObject({
    message: 'This token is too old: it was good for 60 minutes.',
  });
});

it('a machine that can’t be a host says why, and its token stays good; then it joins, once', async () => {
  const { token } = await invite('rack-3');
  const [stopped, away, readOnly, stranger] = await Promise.all([
    joining('three', token, ['--uri', 'qemu+unix:///system?socket=/nowhere']),
    joining('four', token, ['--accelerator', 'tcg'], 'http://127.0.0.1:9'),
    joining('five', token, ['--store', '/sys/offshoot']),
    // What came over the network must agree with what was pasted.
    joining('six', `${token.slice(0, 44)}${'A'.repeat(43)}`, ['--accelerator', 'tcg', '--name', 'rack-4']),
  ]);
  expect(stopped.said).toMatch(
    /libvirt does not answer at qemu\+unix:.* on this machine, so it can’t be a host\. It says: /,
  );
  expect(stopped.said).toContain('systemctl start libvirtd');
  expect(away.said).toContain('The portal does not answer at http://127.0.0.1:9: nothing listens there.');
  expect(readOnly.said).toMatch(
    /The folder for disks, \/sys\/offshoot on this machine, (?:can’t be written to|is on a filesystem that is mounted read-only)/,
  );
  expect(stranger.said).toContain('This token is for the host “rack-3”');
  expect([stopped, away, readOnly, stranger].map(({ code }) => code)).toEqual([2, 2, 2, 2]);

  const joined = await joining('three', token);
  expect(joined.said).toContain(`This machine is the host “rack-3” of ${portal.url} now.`);
  expect(joined.said).toContain('PostgreSQL and Redis of the portal answer, over TLS.');
  expect(joined.code).toBe(0);
  const file = join(folderOf('three'), 'etc', 'worker.json');
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect((await joining('three', token)).said).toContain('joined http://127.0.0.1:');
});

it('traffic is by TLS: without it, or by another’s certificate, nobody is let in', async () => {
  const { role, password, postgres, redis } = JSON.parse(
    await readFile(join(folderOf('three'), 'etc', 'worker.json'), 'utf8'),
  ) as { role: string; password: string; postgres: { port: number }; redis: { port: number } };
  const tryPostgres = async (query: string, user = `${role}:${password}`): Promise<unknown> => {
    const client = new pg.Client(`postgresql://${user}@127.0.0.1:${postgres.port}/offshoot${query}`);
    try {
      await client.connect();
      return (
        await client.query<{ ssl: boolean }>('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')
      ).rows[0];
    } catch (error) {
      return String(error);
    } finally {
      await client.end();
    }
  };
  const trusting = `?sslmode=verify-full&sslrootcert=${portal.ca}`;
  expect(await tryPostgres(trusting)).toEqual({ ssl: true });
  expect(await tryPostgres('')).toContain('no encryption');
  expect(await tryPostgres('?sslmode=verify-full')).toMatch(/self-signed|unable to (?:verify|get)/);
  // The portal's own account has no password and comes in by its socket only.
  expect(await tryPostgres(trusting, 'offshoot')).toMatch(/password/);

  const tryRedis = async (url: string): Promise<string> => {
    const client = new Redis({
      ...redisOptions(url),
      lazyConnect: true,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
    });
    let failure = '';
    client.on('error', (error: Error) => (failure ||= error.message));
    try {
      await client.connect();
      return await client.ping();
    } catch (error) {
      return failure || String(error);
    } finally {
      client.disconnect();
    }
  };
  const at = `127.0.0.1:${redis.port}`;
  expect(await tryRedis(`rediss://${role}:${password}@${at}?ca=${portal.ca}`)).toBe('PONG');
  expect(await tryRedis(`rediss://${role}:${password}@${at}`)).toMatch(
    /self-signed|unable to (?:verify|get)/,
  );
  expect(await tryRedis(`rediss://${at}?ca=${portal.ca}`)).toMatch(/NOAUTH/);
});

it('a drained host takes no new work and finishes what it has; one in maintenance begins none', async () => {
  const one = serving('three');
  await one.ready;
  expect(await hostNamed('rack-3')).toMatchObject({
    name: 'rack-3',
    state: 'online',
    joined: true,
    duty: 'serving',
    otherVersion: false,
  });
  const guest = await db().prisma.guest.findFirstOrThrow({ where: { hostId: 'rack-3' } });
  const stop = (key: string) =>
    portal.call<{ operationIds: string[] }[]>('operation.create.stop', {
      idempotencyKey: key,
      guestIds: [guest.id],
      force: true,
    });
  const stateOf = async (id: string): Promise<string> =>
    (await db().prisma.operation.findUniqueOrThrow({ where: { id } })).state;

  await portal.call('fleet.setDuty', { id: 'rack-3', duty: 'draining' });
  const request = {
    source: { type: 'guest', id: guest.id },
    mode: 'full',
    names: ['web-1'],
    options: { start: false, waitForAgent: false },
  };
  const refused = { code: 'busy', message: '“rack-3” is being drained: it takes no new work.' };
  expect(
    (await portal.call('operation.create.clone', { idempotencyKey: crypto.randomUUID(), request })).error,
  ).toMatchObject(refused);
  expect(
    (
      await portal.call('operation.create.start', {
        idempotencyKey: crypto.randomUUID(),
        guestIds: [guest.id],
      })
    ).error,
  ).toMatchObject(refused);

  await portal.call('fleet.setDuty', { id: 'rack-3', duty: 'maintenance' });
  const { data } = await stop(crypto.randomUUID());
  const id = data?.[0]?.operationIds[0] ?? '';
  expect(await claim(db(), { operationId: id, workerId: 'test' })).toBeUndefined();
  expect(await listRunnable(db(), ['rack-3'])).toEqual([]);
  expect(await stateOf(id)).toBe('queued');
  await portal.call('fleet.setDuty', { id: 'rack-3', duty: 'serving' });
  await expect.poll(() => stateOf(id), { timeout: 10_000 }).toBe('finished');
});

it('a worker of another protocol is refused clearly; a revoked one ends at once; a host is removed with its consequences told', async () => {
  const [one] = running;
  await one?.stop();
  const source =
    (
      await db().pool.query<{ text: string }>(
        `SELECT pg_get_functiondef('offshoot_protocol'::regproc) AS text`,
      )
    ).rows[0]?.text ?? '';
  await db().pool.query(source.replace(/SELECT \d+/, 'SELECT 1000'));
  const old = serving('three');
  expect(await old.ended).toBe(78);
  expect(await hostNamed('rack-3')).toMatchObject({
    problem: expect.stringMatching(
      /^Its worker is of version .*, which this portal can’t work with: it is too old\. Download the worker/,
    ),
  });
  await db().pool.query(source);

  const now = serving('three');
  await now.ready;
  expect((await portal.call('fleet.remove', { id: 'rack-3', forget: false })).error).toMatchObject({
    code: 'in-use',
    message: expect.stringMatching(/^“rack-3” has \d+ guests\.$/),
  });
  // Refused, it serves on.
  expect(await hostNamed('rack-3')).toMatchObject({ joined: true });
  const begun = performance.now();
  expect((await portal.call('fleet.revoke', { id: 'rack-3' })).error).toBeUndefined();
  expect(await now.ended).toBe(78);
  expect(performance.now() - begun).toBeLessThan(5000);
  expect(now.output()).toContain('Join the host again with a new token');
  expect(await hostNamed('rack-3')).toMatchObject({
    joined: false,
    problem: expect.stringContaining('was revoked'),
  });

  // It may come back, as itself.
  const { data } = await portal.call<Invitation>('fleet.inviteAgain', { id: 'rack-3' });
  expect((await joining('three', data?.token ?? '', ['--again'])).code).toBe(0);
  expect((await portal.call('fleet.remove', { id: 'rack-3', forget: true })).error).toBeUndefined();
  expect(await hostNamed('rack-3')).toBeUndefined();
  expect(await db().prisma.guest.count({ where: { hostId: 'rack-3' } })).toBe(0);
});

it('a host that a worker elsewhere serves: its key is shown, pinned, and a changed one is refused', async (context) => {
  if (!hasSshd) context.skip(NO_SSHD);
  const sshd = await startSshd();
  try {
    const { user, port, hostKeySha256 } = sshd.target;
    const target = `${user}@127.0.0.1:${port}`;
    const { token } = await invite('rack-7');
    const over = ['--ssh', target, '--ssh-key', join(sshd.folder, 'user'), '--accelerator', 'tcg'];
    const shown = await joining('seven', token, over);
    expect(shown).toMatchObject({
      code: 2,
      said: expect.stringContaining(`${target} shows the host key ${String(hostKeySha256)}.`),
    });
    const pinned = ['--host-key', String(hostKeySha256)];
    const joined = await joining('seven', token, [...over, ...pinned]);
    expect(joined).toMatchObject({
      code: 0,
      said: expect.stringContaining(`${target} is the host “rack-7”`),
    });
    expect(await hostNamed('rack-7')).toMatchObject({ via: { target, hostKey: hostKeySha256 } });

    const program = serving('seven', {});
    await program.ready;
    // The machine was replaced, or somebody stands in for it.
    await sshd.stop();
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(sshd.folder, 'host')], {
      input: 'y\n',
    });
    await sshd.start();
    await expect
      .poll(async () => (await hostNamed('rack-7'))?.problem, { timeout: 30_000 })
      .toMatch(
        /^127\.0\.0\.1 showed the host key SHA256:.*; pinned is SHA256:.*\. Nothing was sent to it\. If the host was installed anew/,
      );
    expect(await program.stop()).toBe(0);
  } finally {
    await sshd.destroy();
  }
});
