/** The portal's doors for tests, over the same code that serves HTTP: a database and Redis of one's own, signed in. */
import { freshDatabase } from '@offshoot/db/testing/postgres';
import { registerHost } from '@offshoot/db/inventory';
import { startRedis, type TestRedis } from '@offshoot/queue/testing/redis';
import { ADMIN_EMAIL, ensureAdmin } from '../../src/server/admin.ts';
import { serveAuth } from '../../src/server/auth-http.ts';
import { closeServices, db } from '../../src/server/services.ts';
import { serveTrpc } from '../../src/server/trpc/serve.ts';

const origin = 'http://portal.test:3000';

export interface Refused {
  code: string;
  message: string;
  field?: string;
  remedy?: string;
}
export interface Answer<T = unknown> {
  status: number;
  /** The whole of it, as text. */
  text: string;
  data?: T;
  error?: Refused;
}

export interface Door extends Calls {
  redis: TestRedis;
  databaseUrl: string;
  close(): Promise<void>;
}

export interface Calls {
  call<T = unknown>(path: string, input?: unknown): Promise<Answer<T>>;
  /** As `call`, without a session. */
  stranger(path: string, input?: unknown): Promise<Answer>;
}

/** @param env more of the web's settings. */
export async function openDoor(postgresUrl: string, env: Record<string, string> = {}): Promise<Door> {
  const redis = await startRedis();
  const database = await freshDatabase(postgresUrl);
  configure({ DATABASE_URL: database.url, REDIS_URL: redis.url, ...env });
  await registerHost(db(), {
    id: 'h1',
    name: 'Host 1',
    kind: 'simulated',
    simulated: true,
    workerVersion: 'test',
  });
  return {
    redis,
    databaseUrl: database.url,
    ...(await signIn()),
    async close() {
      await closeServices();
      await database.drop();
      await redis.close();
    },
  };
}

/** Before anything of the web is used. */
export function configure(env: Record<string, string>): void {
  Object.assign(process.env, { BETTER_AUTH_SECRET: 'only-for-tests-0123456789abcdefghij', ...env });
}

/** As the administrator, who is made when there is none. */
export async function signIn(): Promise<Calls> {
  const password = 'correct horse battery';
  await ensureAdmin(password);
  const signedIn = await serveAuth(post('/api/auth/sign-in/email', { email: ADMIN_EMAIL, password }, ''));
  const cookie = signedIn.headers
    .getSetCookie()
    .map((line) => line.split(';')[0])
    .join('; ');
  return {
    call: (path, input) => ask(path, input, cookie),
    stranger: (path, input) => ask(path, input, ''),
  };
}

function post(path: string, body: unknown, cookie: string): Request {
  const headers = { host: 'portal.test:3000', origin, 'content-type': 'application/json', cookie };
  return new Request(origin + path, { method: 'POST', body: JSON.stringify(body), headers });
}

async function ask<T>(path: string, input: unknown, cookie: string): Promise<Answer<T>> {
  const response = await serveTrpc(post(`/api/trpc/${path}`, input, cookie));
  const text = await response.text();
  const parsed = JSON.parse(text) as { result?: { data: T }; error?: { data: { offshoot: Refused } } };
  return {
    status: response.status,
    text,
    ...(parsed.result ? { data: parsed.result.data } : {}),
    ...(parsed.error ? { error: parsed.error.data.offshoot } : {}),
  };
}
