/** Every door of the portal, with and without a session, over the same code that serves HTTP. */
import { randomUUID } from 'node:crypto';
import type { StreamEvent } from '@offshoot/clone-core/contract';
import { appendEvents, latestEventId, type NewEvent } from '@offshoot/db/events';
import { registerHost } from '@offshoot/db/inventory';
import '@offshoot/db/testing/global-setup';
import { freshDatabase } from '@offshoot/db/testing/postgres';
import { startRedis, type TestRedis } from '@offshoot/queue/testing/redis';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { ADMIN_EMAIL, ensureAdmin, loginLink } from '../../src/server/admin.ts';
import { serveAuth } from '../../src/server/auth-http.ts';
import { spendLoginLink } from '../../src/server/login-link.ts';
import { closeServices, db } from '../../src/server/services.ts';
import { appRouter } from '../../src/server/trpc/router.ts';
import { serveTrpc } from '../../src/server/trpc/serve.ts';

const origin = 'http://portal.test:3000';
const password = 'correct horse battery';
let redis: TestRedis;
let database: Awaited<ReturnType<typeof freshDatabase>>;
let cookie = '';

beforeAll(async () => {
  redis = await startRedis();
  database = await freshDatabase(inject('postgresUrl'));
  Object.assign(process.env, {
    DATABASE_URL: database.url,
    REDIS_URL: redis.url,
    BETTER_AUTH_SECRET: 'only-for-tests-0123456789abcdefghij',
  });
  await registerHost(db(), {
    id: 'h1',
    name: 'Host 1',
    kind: 'simulated',
    simulated: true,
    workerVersion: 'test',
  });
  await ensureAdmin(password);
  cookie = cookiesOf(await signIn(password));
});

afterAll(async () => {
  await closeServices();
  await database.drop();
  await redis.close();
});

const request = (path: string, init: RequestInit = {}): Request => {
  const headers = new Headers({ host: 'portal.test:3000', origin, 'content-type': 'application/json' });
  for (const [name, value] of new Headers(init.headers)) headers.set(name, value);
  return new Request(origin + path, { ...init, headers });
};
const post = (path: string, body: unknown, headers: Record<string, string> = {}): Request =>
  request(path, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), headers });
const signIn = (secret: string, email = ADMIN_EMAIL): Promise<Response> =>
  serveAuth(post('/api/auth/sign-in/email', { email, password: secret }));
const cookiesOf = (response: Response): string =>
  response.headers
    .getSetCookie()
    .map((line) => line.split(';')[0])
    .join('; ');
interface Answer {
  error?: {
    message: string;
    data: {
      code: string;
      httpStatus: number;
      offshoot: { code: string; message: string; field?: string; remedy?: string };
    };
  };
  result?: { data: unknown };
}
const answer = async (response: Response): Promise<Answer> => (await response.json()) as Answer;

type Procedures = Record<string, { _def: { type: 'query' | 'mutation' | 'subscription' } }>;
const procedures = Object.entries((appRouter._def as unknown as { procedures: Procedures }).procedures).map(
  ([path, { _def }]) => ({ path, type: _def.type }),
);

describe('without a session', () => {
  it('knows the procedures of the router', () => expect(procedures.length).toBeGreaterThan(25));

  it.each(procedures)('$path is refused', async ({ path, type }) => {
    if (type === 'subscription') {
      const response = await serveTrpc(
        request(`/api/trpc/${path}?input=${encodeURIComponent('{}')}`, {
          headers: { accept: 'text/event-stream' },
        }),
      );
      expect(await response.text()).toContain('UNAUTHORIZED');
      return;
    }
    const response = await serveTrpc(post(`/api/trpc/${path}`, {}));
    expect(response.status).toBe(401);
    expect((await answer(response)).error?.data.offshoot.message).toBe('You are not signed in.');
  });

  it.each(['offshoot.session_token=made-up', 'offshoot.session_token=made-up.c2lnbmF0dXJl'])(
    'a made-up cookie %s is none',
    async (forged) => {
      expect((await serveTrpc(post('/api/trpc/me.get', {}, { cookie: forged }))).status).toBe(401);
    },
  );
});

describe('signing in', () => {
  it('refuses a wrong password, an unknown account, and whoever wants an account', async () => {
    expect((await signIn('wrong password')).status).toBe(401);
    expect((await signIn(password, 'nobody@offshoot.local')).status).toBe(401);
    const signUp = await serveAuth(
      post('/api/auth/sign-up/email', { email: 'a@b.example', password, name: 'A' }),
    );
    expect(signUp.status).toBe(404);
    expect(await db().prisma.user.count()).toBe(1);
  });

  it.each([
    '/api/auth/sign-in/magic-link',
    '/api/auth/admin/create-user',
    '/api/auth/request-password-reset',
  ])('%s is no door', async (path) => {
    expect((await serveAuth(post(path, { email: ADMIN_EMAIL }))).status).toBe(404);
  });

  it('stops guessing after ten wrong passwords, and only for that account', async () => {
    const email = 'victim@offshoot.local';
    const statuses: number[] = [];
    for (let i = 0; i < 11; i++) statuses.push((await signIn(`wrong ${i}`, email)).status);
    expect(statuses.at(-1)).toBe(429);
    expect((await signIn(password)).status).toBe(200);
  });

  it('a link signs in once, lets a password be chosen, and a second use is refused', async () => {
    const { path } = await loginLink();
    const token = new URL(path, origin).searchParams.get('token') ?? '';
    const spend = (): Promise<Response> =>
      spendLoginLink(
        request('/api/login-link', {
          method: 'POST',
          body: `token=${token}`,
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        }),
      );
    const first = await spend();
    expect(first.headers.get('location')).toBe('/account?welcome=1');
    const linked = cookiesOf(first);
    const second = await spend();
    expect(second.headers.get('location')).toBe('/login?link=used');
    const chosen = await serveTrpc(
      post('/api/trpc/me.choosePassword', { newPassword: 'another long password' }, { cookie: linked }),
    );
    expect(chosen.status).toBe(200);
    expect((await signIn(password)).status).toBe(401);
    expect((await signIn('another long password')).status).toBe(200);
    const plain = await serveTrpc(
      post('/api/trpc/me.choosePassword', { newPassword: 'a third long password' }, { cookie }),
    );
    expect(plain.status).toBe(403);
  });

  it('a session that was signed out is none', async () => {
    const other = cookiesOf(await signIn('another long password'));
    expect((await serveTrpc(post('/api/trpc/me.get?batch=1', { 0: {} }, { cookie: other }))).status).not.toBe(
      401,
    );
    await serveAuth(post('/api/auth/sign-out', {}, { cookie: other }));
    expect(
      (await serveTrpc(post('/api/trpc/operation.cancel', { id: randomUUID() }, { cookie: other }))).status,
    ).toBe(401);
  });
});

describe('hand-made calls', () => {
  const mutate = async (path: string, body: unknown, headers: Record<string, string> = {}) => {
    const response = await serveTrpc(post(`/api/trpc/${path}`, body, { cookie, ...headers }));
    return { status: response.status, ...(await answer(response)) };
  };
  const clone = (request: object): object => ({ idempotencyKey: randomUUID(), request });
  const source = { type: 'guest', id: randomUUID() };

  it.each([
    ['no body', ''],
    ['no JSON', '{"a":'],
    ['a number', 7],
    ['null', null],
    ['no names', clone({ source, mode: 'full', names: [] })],
    ['a bad name', clone({ source, mode: 'full', names: ['$(reboot)'] })],
    ['too many', clone({ source, mode: 'full', names: Array.from({ length: 10_000 }, (_, i) => `g${i}`) })],
    ['twice the same', clone({ source, mode: 'full', names: ['a', 'a'] })],
    ['an unknown mode', clone({ source, mode: 'magic', names: ['a'] })],
    ['unknown fields', clone({ source, mode: 'full', names: ['a'], admin: true })],
    ['a key that is none', { idempotencyKey: 'x', request: { source, mode: 'full', names: ['a'] } }],
  ])('%s: a clear 400 and no row', async (_, body) => {
    const { status, error } = await mutate('operation.create.clone', body);
    expect(status).toBe(400);
    expect(error?.data.offshoot.code).toBe('invalid-input');
    expect(error?.data.offshoot.message).not.toMatch(/prisma|stack|\n {2}at /i);
    expect(await db().prisma.operation.count()).toBe(0);
  });

  it.each([
    [{ names: 'a' }, 'request.names must be a list.'],
    [{ names: [5] }, 'A name is text.'],
    [{ mode: 'magic' }, /^request\.mode must be full or linked/],
    [{ options: { vcpus: 'many' } }, 'request.options.vcpus must be a number.'],
    [{ options: { vcpus: 0 } }, 'request.options.vcpus must be at least 1.'],
    [{ options: { memoryMiB: 1e9 } }, 'request.options.memoryMiB must be at most 4194304.'],
    [{ options: { start: 'yes' } }, 'request.options.start must be true or false.'],
    [{ source: { type: 'guest', id: '1' } }, 'request.source.id must be an id, as the portal shows it.'],
    [{ source: { type: 'x' } }, 'request.source.type is none of the kinds that are known.'],
    [{ admin: true }, 'request has a field that nobody knows: admin.'],
  ])('%o: %s', async (over, words) => {
    const { error } = await mutate(
      'operation.create.clone',
      clone({ source, mode: 'full', names: ['a'], ...over }),
    );
    expect(error?.data.offshoot.message).toMatch(words);
    if (!error?.data.offshoot.message.startsWith('A name'))
      expect(error?.data.offshoot.remedy).toMatch(/send the request again\.$/);
  });

  it('more than 1 MiB is a 413, declared or not', async () => {
    const { status, error } = await mutate('operation.create.clone', 'x'.repeat(1024 * 1024 + 1));
    expect(status).toBe(413);
    expect(error?.message).toContain('1 MiB');
  });

  it('another site’s page is refused', async () => {
    expect(
      (await mutate('operation.cancel', { id: randomUUID() }, { origin: 'http://evil.example' })).status,
    ).toBe(403);
    expect((await mutate('operation.cancel', { id: randomUUID() }, { origin: 'null' })).status).toBe(403);
  });

  it('what is not there is a 404 in plain words', async () => {
    const { status, error } = await mutate('operation.cancel', { id: randomUUID() });
    expect(status).toBe(404);
    expect(error?.data.offshoot.code).toBe('not-found');
  });

  it('a source that is gone is said so', async () => {
    const { error } = await mutate(
      'operation.create.clone',
      clone({ source, mode: 'full', names: ['a'], options: {} }),
    );
    expect(['source-missing', 'not-found']).toContain(error?.data.offshoot.code);
  });
});

it('a tab is told of several events at once, with the id of the last, and of the last progress of a step only', async () => {
  const from = await latestEventId(db());
  const operationId = randomUUID();
  const progress = (doneBytes: number, index = 0) =>
    ({ operationId, data: { type: 'progress', index, progress: { doneBytes } } }) as const;
  const append = async (...events: NewEvent[]): Promise<void> => {
    const connection = await db().pool.connect();
    await appendEvents(connection, events);
    connection.release();
  };
  await append(progress(1), progress(2, 1), { operationId, data: { type: 'log', index: 0, line: 'x' } });
  await append(progress(3), { operationId, data: { type: 'state', state: 'running' } });
  const last = await latestEventId(db());
  const stop = new AbortController();
  const input = encodeURIComponent(JSON.stringify({ lastEventId: from, logs: false }));
  const answer = await serveTrpc(
    request(`/api/trpc/operation.onEvents?input=${input}`, {
      headers: { cookie, accept: 'text/event-stream' },
      signal: stop.signal,
    }),
  );
  const messages: { id: string; data: StreamEvent[] }[] = [];
  const read = async (): Promise<void> => {
    let text = '';
    for await (const chunk of answer.body ?? []) {
      text += Buffer.from(chunk as Uint8Array).toString();
      const found = [...text.matchAll(/^data: (\[.*\])\nid: (\d+)\n/gm)];
      messages.splice(
        0,
        Infinity,
        ...found.map(([, data = '', id = '']) => ({ id, data: JSON.parse(data) })),
      );
      if (messages.at(-1)?.data.some(({ data }) => data.type === 'host')) return;
    }
  };
  const reading = read();
  await expect.poll(() => messages.at(-1)?.id).toBe(last);
  expect(messages).toHaveLength(1);
  expect(messages[0]?.data.map(({ data }) => data)).toEqual([
    progress(2, 1).data,
    progress(3).data,
    { type: 'state', state: 'running' },
  ]);
  // And goes on live.
  await append({ hostId: 'h1', data: { type: 'host' } });
  await reading;
  stop.abort();
});
