/** Differential clones through the database and a worker: what is recorded is what is there. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import {
  refreshOptionsSchema,
  type Generations,
  type GuestQuestion,
  type RefreshOptions,
} from '@offshoot/clone-core/contract';
import { requestDelete, requestRefresh, requestRestore, requestSnapshot } from '@offshoot/db/operations';
import { assertSameContent, makeDisk, MIB } from '@offshoot/tools/lab/disks';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import type { PostgresUrl } from '../support/services.ts';
import { clone, ended, options, ring } from '../support/simulated.ts';
import { diskOf, expectFinished, openLab, type Lab } from './support/lab.ts';

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

const url: PostgresUrl = inject('postgresUrl');
let lab: Lab;
let sourceDisk: string;
let sourceId: string;
beforeEach(async () => {
  lab = await openLab(url);
  sourceDisk = join(lab.folder, 'disk.qcow2');
  await makeDisk(sourceDisk, 8 * MIB);
});
afterEach(() => lab.close());

const named = (name: string): string => `${lab.prefix}${name}`;
const asked = () => ({ userId: null, idempotencyKey: randomUUID() });
const row = (name: string) => lab.db.prisma.guest.findFirstOrThrow({ where: { name: named(name) } });
const rung = async (batch: Promise<Parameters<typeof ring>[1]>) =>
  ended(lab, (await ring(lab, await batch)).operationIds[0]);
const write = (path: string, pattern: number, at: string): Promise<unknown> =>
  execa('qemu-io', ['-f', 'qcow2', '-c', `write -q -P ${pattern} ${at} 64k`, path]);

async function refreshable(name: string): Promise<string> {
  sourceId = await lab.source(named('source'), { disks: [{ path: sourceDisk }] });
  const batch = await clone(lab, 'full', [named(name)], {
    source: { type: 'guest', id: sourceId },
    options: { ...options, refreshable: true },
  });
  expectFinished(await ended(lab, batch.operationIds[0]));
  return (await row(name)).id;
}
const refresh = (guestId: string, options: Partial<RefreshOptions> = {}, agreedFingerprint?: string) =>
  requestRefresh(lab.db, {
    ...asked(),
    guestId,
    options: refreshOptionsSchema.parse(options),
    ...(agreedFingerprint === undefined ? {} : { agreedFingerprint }),
  });

it('refreshed, put back, refreshed again, deleted: rows, files and records agree at each point', async () => {
  await lab.worker();
  const id = await refreshable('replica');
  await write(sourceDisk, 1, '1M');
  const first = await rung(refresh(id));
  expectFinished(first);
  expect(first.result).toMatchObject({ consistency: 'exact', movedBytes: expect.any(Number) });
  await assertSameContent(sourceDisk, await diskOf(named('replica')));
  await lab.expectTidy();
  const generations = (await row('replica')).generations as unknown as Generations;
  expect(generations.list.map(({ number, movedBytes }) => [number, (movedBytes ?? 0) > 0])).toEqual([
    [1, true],
    [2, true],
  ]);

  expectFinished(await rung(requestRestore(lab.db, { ...asked(), guestId: id, to: 1 })));
  await expect(assertSameContent(sourceDisk, await diskOf(named('replica')))).rejects.toThrow();
  await lab.expectTidy();

  // What it writes itself is not lost unasked; the source can't go while it is read, nor be refreshed twice at once.
  await write(await diskOf(named('replica')), 9, '2M');
  expect(await rung(refresh(id))).toMatchObject({ state: 'failed', error: { code: 'would-lose' } });
  const running = await refresh(id, { ownChanges: 'discard' });
  const busy = { code: 'busy', remedy: expect.any(String) };
  await expect(refresh(id)).rejects.toMatchObject(busy);
  await expect(requestRestore(lab.db, { ...asked(), guestId: id, to: 1 })).rejects.toMatchObject(busy);
  for (const guestId of [id, sourceId])
    await expect(requestDelete(lab.db, { ...asked(), guestId })).rejects.toMatchObject(busy);
  await ring(lab, running);
  expectFinished(await ended(lab, running.operationIds[0]));
  await assertSameContent(sourceDisk, await diskOf(named('replica')));
  await lab.expectTidy();

  expectFinished(await rung(requestDelete(lab.db, { ...asked(), guestId: id })));
  expect(await lab.files()).toEqual([]);
  expect((await execa('qemu-img', ['info', sourceDisk])).stdout).not.toContain('name: offshoot-');
  await lab.expectTidy();
});

it('a worker killed in the middle of a refresh: the next one finishes it, and nothing is over', async () => {
  const first = await lab.worker();
  const id = await refreshable('cut');
  await write(sourceDisk, 3, '3M');
  const batch = await refresh(id);
  await ring(lab, batch);
  await expect
    .poll(() => lab.db.prisma.event.count({ where: { operationId: batch.operationIds[0] ?? '' } }), {
      interval: 5,
      timeout: 30_000,
    })
    .toBeGreaterThan(2);
  await first.kill();
  await lab.worker();
  expectFinished(await ended(lab, batch.operationIds[0]));
  await assertSameContent(sourceDisk, await diskOf(named('cut')));
  await lab.expectTidy();
});

it('a plan that was not the one agreed to is not run; a clone without a source is refused in words', async () => {
  await lab.worker();
  const id = await refreshable('agreed');
  expect(await rung(refresh(id, {}, 'another plan'))).toMatchObject({
    state: 'stale',
    error: { code: 'stale-plan' },
  });
  await lab.db.prisma.guest.update({ where: { id }, data: { sourceGuestId: null } });
  await expect(refresh(id)).rejects.toMatchObject({ code: 'source-missing' });
  await expect(refresh(sourceId)).rejects.toMatchObject({ code: 'unavailable-mode' });
  await lab.expectTidy();
});

it('too many states: their last refresh says so, and the clone is made whole by itself', async () => {
  await lab.worker({ OFFSHOOT_CHAIN_BUDGET: '3' });
  const id = await refreshable('long');
  for (const pattern of [1, 2, 3]) {
    await write(sourceDisk, pattern, `${pattern}M`);
    expectFinished(await rung(refresh(id, { ownChanges: 'keep' })));
    // Nothing else may be done to it until what follows by itself is done.
    await expect
      .poll(() => lab.db.prisma.operation.count({ where: { guestId: id, finishedAt: null } }), {
        timeout: 30_000,
      })
      .toBe(0);
  }
  const made = await lab.db.prisma.operation.findMany({ where: { guestId: id, kind: 'promote' } });
  // After the second: the third builds on the whole one, and is within the budget again.
  expect(made.map(({ state }) => state)).toEqual(['finished']);
  await assertSameContent(sourceDisk, await diskOf(named('long')));
  const { mode, generations } = await row('long');
  expect(mode).toBe('full');
  expect((generations as unknown as Generations).list).toHaveLength(4);
  await lab.expectTidy();
});

it('what would happen is told for every change to a guest, and is what is done', async () => {
  await lab.worker();
  const id = await refreshable('asked');
  const plan = async (question: DistributiveOmit<Extract<GuestQuestion, { guestId: string }>, 'guestId'>) =>
    (await lab.queues.previewGuest('h1', { guestId: id, ...question })).plan;
  expect((await plan({ kind: 'snapshot', name: 's1' })).notes[0]?.text).toContain('no memory');
  const capture = await plan({ kind: 'capture', template: 'made-of-it', memory: false });
  expect(capture.estimates.storeBytes).toBeGreaterThan(0);
  expect(capture.summary).toContain('made-of-it');
  expect((await plan({ kind: 'promote' })).steps).toEqual([]);
  const refused = { code: 'source-missing' };
  await expect(plan({ kind: 'reset', waitForAgent: false })).rejects.toMatchObject(refused);
  await expect(plan({ kind: 'revert', name: 's1' })).rejects.toMatchObject({ code: 'not-found' });

  const taking = await plan({ kind: 'snapshot', name: 's1' });
  const asking = (name: string, agreedFingerprint: string) =>
    rung(requestSnapshot(lab.db, { ...asked(), guestId: id, kind: 'snapshot', name, agreedFingerprint }));
  expect(await asking('s2', taking.fingerprint)).toMatchObject({ state: 'stale' });
  expectFinished(await asking('s1', taking.fingerprint));
  const reverting = await plan({ kind: 'revert', name: 's1' });
  expect(reverting.notes.map(({ text }) => text).join(' ')).toContain('since s1 was taken is lost');
  expectFinished(await rung(requestDelete(lab.db, { ...asked(), guestId: id })));
  await lab.expectTidy();
});
