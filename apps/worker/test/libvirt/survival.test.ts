/** Nothing is lost, on real disks: KILL of the worker, FLUSHALL, a restart of PostgreSQL, all in the middle of copies. */
import { join } from 'node:path';
import { requestCancel } from '@offshoot/db/operations';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { startPostgres, type TestServer } from '../support/services.ts';
import { clone, copying, ended } from '../support/simulated.ts';
import { assertSameContent, GIB, makeDisk, MIB, sha256 } from '@offshoot/tools/lab/disks';
import { diskOf, expectFinished, openLab, type Lab } from './support/lab.ts';
import { copierOf, processesWith } from './support/processes.ts';

let server: TestServer;
let images: Lab;
let large: string;
let small: string;
let before: { large: string; small: string };
let lab: Lab;

beforeAll(async () => {
  server = await startPostgres();
  // Its folder only: the images are made once.
  images = await openLab(server.url);
  large = join(images.folder, 'large.qcow2');
  small = join(images.folder, 'small.qcow2');
  await makeDisk(large, 2 * GIB);
  await makeDisk(small, 256 * MIB);
  before = { large: await sha256(large), small: await sha256(small) };
});
afterAll(async () => {
  await images.close();
  await server.close();
});
beforeEach(async () => {
  lab = await openLab(server.url);
});
afterEach(async () => {
  await lab.close();
  expect({ large: await sha256(large), small: await sha256(small) }).toEqual(before);
});

const ENOUGH = 90_000;
const named = (name: string): string => `${lab.prefix}${name}`;

it('kill -9 of the worker in the middle of a copy: its copier dies with it, the next worker finishes', async () => {
  const first = await lab.worker();
  const id = await lab.source(named('source'), { disks: [{ path: large }] });
  const batch = await clone(lab, 'full', [named('k1')], { source: { type: 'guest', id } });
  await copying(lab, batch.operationIds[0]);
  expect(await copierOf(lab.store)).toBeDefined();
  await first.kill();
  await expect.poll(() => processesWith(lab.store), { timeout: 2000 }).toEqual([]);
  await lab.worker();
  const row = await ended(lab, batch.operationIds[0], ENOUGH);
  expectFinished(row);
  expect(row.attempts).toBe(2);
  await assertSameContent(large, await diskOf(named('k1')));
  await lab.expectTidy();
});

it('FLUSHALL in the middle of a queue, then kill -9: every copy is made all the same', async () => {
  const first = await lab.worker();
  const source = {
    type: 'guest',
    id: await lab.source(named('source'), { disks: [{ path: small }] }),
  } as const;
  const names = ['q1', 'q2', 'q3', 'q4'].map(named);
  const long = await clone(lab, 'full', [named('q0')], {
    source: { type: 'guest', id: await lab.source(named('big'), { disks: [{ path: large }] }) },
  });
  await copying(lab, long.operationIds[0]);
  const batch = await clone(lab, 'full', names, { source });
  await lab.redis.flushAll();
  await first.kill();
  await lab.worker();
  for (const id of [...long.operationIds, ...batch.operationIds])
    expectFinished(await ended(lab, id, ENOUGH));
  for (const name of names) await assertSameContent(small, await diskOf(name));
  await lab.expectTidy();
});

it('a restart of PostgreSQL in the middle of a copy and of a queue: the same worker finishes both', async () => {
  await lab.worker();
  const source = {
    type: 'guest',
    id: await lab.source(named('source'), { disks: [{ path: large }] }),
  } as const;
  const batch = await clone(lab, 'full', [named('p1'), named('p2')], { source });
  await copying(lab, batch.operationIds[0]);
  await server.restart();
  for (const id of batch.operationIds) {
    const row = await ended(lab, id, ENOUGH);
    expectFinished(row);
    expect(row.attempts).toBe(1);
  }
  await assertSameContent(large, await diskOf(named('p1')));
  await lab.expectTidy();
});

it('all three at once, with a cancel among them: finished or undone, nothing between', async () => {
  const first = await lab.worker();
  const source = {
    type: 'guest',
    id: await lab.source(named('source'), { disks: [{ path: small }] }),
  } as const;
  const big = { type: 'guest', id: await lab.source(named('big'), { disks: [{ path: large }] }) } as const;
  const long = await clone(lab, 'full', [named('a0')], { source: big });
  const [longId = ''] = long.operationIds;
  await copying(lab, longId);
  const batch = await clone(lab, 'full', [named('a1'), named('a2')], { source });
  await requestCancel(lab.db, longId);
  await lab.redis.flushAll();
  await server.restart();
  await first.kill();
  await lab.worker();
  expect((await ended(lab, longId, ENOUGH)).state).toBe('cancelled');
  for (const id of batch.operationIds) expectFinished(await ended(lab, id, ENOUGH));
  expect(await lab.domains()).toEqual([named('a1'), named('a2'), named('big'), named('source')]);
  await lab.expectTidy();
});
