/** A whole portal for measuring, started by the same code as `npm start`, with a data folder of its own. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cloneRequestSchema, isEnded, type CloneMode, type Source } from '@offshoot/clone-core/contract';
import { openDatabase, type Db } from '@offshoot/db/client';
import { openEventHub, streamFrom, type EventHub } from '@offshoot/db/events';
import { requestClone, requestDelete } from '@offshoot/db/operations';
import type { BatchResult } from '@offshoot/db/types';
import { openQueues, type Queues } from '@offshoot/queue/jobs';
import { createTRPCUntypedClient, httpLink } from '@trpc/client';
import { execa } from 'execa';

const repository = fileURLToPath(new URL('../../', import.meta.url));

export interface Portal {
  data: string;
  url: string;
  databaseUrl: string;
  redisUrl: string;
  authSecret: string;
  db: Db;
  queues: Queues;
  hub: EventHub;
  /** Session cookie of the administrator. */
  cookie: string;
  /** Sends what the browser sends when someone clicks. */
  mutate(path: string, input: unknown): Promise<unknown>;
  /** Asks what the browser asks. */
  query(path: string, input: unknown): Promise<unknown>;
  stop(): Promise<void>;
}

/** What the server closes for idleness just as it is sent to is sent again, as a browser does: a click has a key, a read does no harm. */
export async function patientFetch(to: string | URL | Request, how?: object): Promise<Response> {
  try {
    return await fetch(to, how);
  } catch (error) {
    const cause: unknown = error instanceof TypeError ? error.cause : undefined;
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code !== 'ECONNRESET' && code !== 'UND_ERR_SOCKET') throw error;
    return fetch(to, how);
  }
}

/** Starts it without the sample template, with more in its environment. Resolves when it is ready to work. */
export async function startPortal(
  data: string,
  say: (line: string) => void,
  environment: NodeJS.ProcessEnv = {},
): Promise<Portal> {
  const password = randomUUID();
  const child = execa(process.execPath, ['--import', 'tsx', join(repository, 'tools/src/start/main.ts')], {
    cwd: repository,
    env: { OFFSHOOT_DATA: data, OFFSHOOT_SAMPLE: '0', OFFSHOOT_ADMIN_PASSWORD: password, ...environment },
    stdin: 'ignore',
    reject: false,
    all: true,
    buffer: true,
  });
  const run = await started(child, data);
  say(`portal at ${run.url}`);
  const db = openDatabase(run.databaseUrl);
  const cookie = await signIn(run.url, password);
  const hub = await openEventHub(db);
  const queues = openQueues(run.redisUrl);
  const client = createTRPCUntypedClient({
    links: [
      httpLink({
        url: `${run.url}/api/trpc`,
        headers: { cookie, origin: run.url },
        methodOverride: 'POST',
        fetch: patientFetch,
      }),
    ],
  });
  return {
    data,
    ...run,
    authSecret: (await readFile(join(data, 'auth-secret'), 'utf8')).trim(),
    db,
    queues,
    hub,
    cookie,
    mutate: (path, input) => client.mutation(path, input),
    query: (path, input) => client.query(path, input),
    async stop() {
      await hub.close();
      await queues.close();
      await db.close();
      child.kill('SIGTERM');
      await child;
    },
  };
}

async function started(
  child: Promise<{ all?: string }>,
  data: string,
): Promise<{ url: string; databaseUrl: string; redisUrl: string }> {
  let ended = false;
  void child.then(() => (ended = true));
  for (;;) {
    if (ended) throw new Error(`The portal did not start:\n${(await child).all ?? ''}`);
    const run = await readRun(data);
    if (run?.url !== undefined) return run;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function readRun(
  data: string,
): Promise<{ url: string; databaseUrl: string; redisUrl: string } | undefined> {
  try {
    return JSON.parse(await readFile(join(data, 'run.json'), 'utf8')) as {
      url: string;
      databaseUrl: string;
      redisUrl: string;
    };
  } catch (error) {
    if (
      error instanceof SyntaxError ||
      (error instanceof Error && 'code' in error && error.code === 'ENOENT')
    )
      return undefined;
    throw error;
  }
}

/** Signs in with the password; returns the Cookie header. */
export async function signIn(url: string, password: string): Promise<string> {
  const answer = await fetch(`${url}/api/auth/sign-in/email`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: url },
    body: JSON.stringify({ email: 'admin@offshoot.local', password }),
  });
  if (!answer.ok) throw new Error(`sign-in answered ${answer.status}: ${await answer.text()}`);
  return answer.headers
    .getSetCookie()
    .map((line) => line.split(';')[0])
    .join('; ');
}

export interface CloneWish {
  source: Source;
  mode: CloneMode;
  names: string[];
}

export const cloneInput = ({ source, mode, names }: CloneWish) => ({
  idempotencyKey: randomUUID(),
  request: cloneRequestSchema.parse({ source, mode, names, options: { start: false, waitForAgent: false } }),
});

/** Asks the database for the clones and rings, as the web does after a click. */
export async function enqueueClones(portal: Portal, wish: CloneWish): Promise<BatchResult> {
  const batch = await requestClone(portal.db, { userId: null, ...cloneInput(wish) });
  await Promise.all(batch.jobs.map((job) => portal.queues.enqueueOperation(job)));
  return batch;
}

/** Resolves when every operation of the batch has finished. @throws when one ends otherwise. */
export async function batchFinished(portal: Portal, batchId: string, count: number): Promise<void> {
  const stop = new AbortController();
  const finished = new Set<string>();
  try {
    for await (const { data, operationId } of streamFrom(portal.db, portal.hub, {
      cursor: '0',
      filter: { batchId },
      signal: stop.signal,
    })) {
      if (data.type !== 'state' || !isEnded(data.state) || operationId === null) continue;
      if (data.state !== 'finished')
        throw new Error(`an operation ended ${data.state}: ${JSON.stringify(data.error)}`);
      finished.add(operationId);
      if (finished.size === count) return;
    }
  } finally {
    stop.abort();
  }
}

/** Rings for what was asked for and waits until all of it has finished. @throws when one ends otherwise. */
export async function perform(portal: Portal, asking: Promise<BatchResult>): Promise<BatchResult> {
  const batch = await asking;
  await Promise.all(batch.jobs.map((job) => portal.queues.enqueueOperation(job)));
  await batchFinished(portal, batch.batchId, batch.operationIds.length);
  return batch;
}

/** Deletes guests through the portal and waits until they are gone. */
export async function deleteGuests(portal: Portal, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const guest = await portal.db.prisma.guest.findFirstOrThrow({ where: { name } });
    const asked = { userId: null, idempotencyKey: randomUUID(), guestId: guest.id };
    await perform(portal, requestDelete(portal.db, asked));
  }
}
