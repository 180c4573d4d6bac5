/** New clone over several hosts, through the doors that the browser uses: two workers of simulated hosts, which give each other nothing. */
import { randomUUID } from 'node:crypto';
import { cloneRequestSchema, type ClonePreview } from '@offshoot/clone-core/contract';
import '@offshoot/db/testing/global-setup';
import { afterAll, beforeAll, expect, inject, it, vi } from 'vitest';
import { db } from '../../src/server/services.ts';
import { openDoor, type Door } from '../support/door.ts';
import { startWorker, type WorkerProcess } from '../support/worker.ts';

let door: Door;
let workers: WorkerProcess[];
let versionId: string;

beforeAll(async () => {
  door = await openDoor(inject('postgresUrl'));
  workers = await Promise.all(
    ['h1', 'h2'].map((id) =>
      startWorker({
        DATABASE_URL: door.databaseUrl,
        REDIS_URL: door.redis.url,
        OFFSHOOT_HOST_ID: id,
        OFFSHOOT_HOST_NAME: id,
        OFFSHOOT_SIMULATED: JSON.stringify({
          speed: { copyRate: 100e9, latencyMs: 1, tickMs: 10, bootMs: 100 },
        }),
      }),
    ),
  );
  const answer = await door.call<{ operationIds: string[] }>('operation.create.import', {
    idempotencyKey: randomUUID(),
    request: { template: 'sample', hostId: 'h1', imagePath: '/srv/images/simulated-linux.qcow2' },
  });
  await ended(answer.data?.operationIds ?? []);
  versionId = (await db().prisma.templateVersion.findFirstOrThrow()).id;
});
afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  await door.close();
});

const ended = (ids: readonly string[]) =>
  vi.waitFor(
    async () => {
      const rows = await db().prisma.operation.findMany({ where: { id: { in: [...ids] } } });
      expect(rows.map(({ state }) => state)).toEqual(ids.map(() => 'finished'));
    },
    { timeout: 15_000, interval: 50 },
  );
const request = (names: string[], more: object = {}) =>
  cloneRequestSchema.parse({
    source: { type: 'template', versionId },
    mode: 'linked',
    names,
    placement: {},
    options: { start: false },
    ...more,
  });
const preview = (asked: unknown) => door.call<ClonePreview>('preview.clone', asked);

it('the preview says which host gets what and why; the click does just that', async () => {
  const asked = request(['web-1', 'web-2', 'web-3']);
  const { data } = await preview(asked);
  const [share] = data?.placement?.shares ?? [];
  expect(data).toMatchObject({ count: 3, placement: { shares: [{ hostId: 'h1', seats: [0, 1, 2] }] } });
  expect(share?.why).toMatch(
    /^already holds the base; [\d.]+ [GT]iB free; .+ of memory free; \d+ of \d+ cores in use(, busy \(load \d+\))?$/,
  );
  expect(data?.placement?.others).toEqual([
    {
      hostId: 'h2',
      name: 'h2',
      refused: true,
      why: 'does not have the base, and its worker takes none from other hosts',
    },
  ]);
  const click = await door.call<{ operationIds: string[] }>('operation.create.clone', {
    idempotencyKey: randomUUID(),
    request: asked,
    agreedShares: data?.placement?.shares.map(({ hostId, seats, fingerprint }) => ({
      hostId,
      seats,
      fingerprint,
    })),
  });
  expect(click.error).toBeUndefined();
  await ended(click.data?.operationIds ?? []);
  const guests = await db().prisma.guest.findMany({
    where: { name: { startsWith: 'web-' } },
    orderBy: { name: 'asc' },
  });
  expect(guests.map(({ name, hostId, state }) => [name, hostId, state])).toEqual([
    ['web-1', 'h1', 'stopped'],
    ['web-2', 'h1', 'stopped'],
    ['web-3', 'h1', 'stopped'],
  ]);
});

it('says why none can: a name that is taken, a network on no host, a kind that the template can’t have, hosts chosen by hand', async () => {
  expect((await preview(request(['new', 'web-2']))).error).toMatchObject({
    code: 'name-taken',
    field: 'names.1',
  });
  expect((await preview(request(['a'], { options: { network: 'lab' } }))).error?.message).toBe(
    'No host can take “a”. h1: has no network “lab”. h2: has no network “lab”.',
  );
  expect((await preview(request(['a'], { mode: 'memory', options: {} }))).error).toMatchObject({
    code: 'unavailable-mode',
  });
  expect((await preview(request(['a'], { placement: { hostIds: ['h2'] } }))).error?.message).toBe(
    'No host can take “a”. h2: does not have the base, and its worker takes none from other hosts.',
  );
  expect((await preview(request(['a', 'b'], { placement: { rule: 'apart' } }))).error?.message).toContain(
    '1 of 2 find a place, but no host can take “b”. h1: has one already, and they are to be on hosts of their own.',
  );
  expect((await preview({ ...request(['a']), hostId: 'h1' })).status).toBe(400);
});
