/** Requests that can't be met: no room, names taken, the same click twice, a plan gone stale. Nothing is changed by any. */
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { CloneRequest } from '@offshoot/clone-core/contract';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import type { PostgresUrl } from '../support/services.ts';
import { clone, copying, ended, options } from '../support/simulated.ts';
import { GIB, makeDisk, MIB, sha256 } from '@offshoot/tools/lab/disks';
import { defineGuest, virsh } from '@offshoot/tools/lab/host';
import { expectFinished, openLab, type Lab } from './support/lab.ts';
import { isRoot, mountSmall, type Mounted } from './support/loop.ts';

const url: PostgresUrl = inject('postgresUrl');
const sentence = expect.stringMatching(/^\w.+\.$/);
let lab: Lab;
afterEach(() => lab.close());
const named = (name: string): string => `${lab.prefix}${name}`;
const request = (id: string, name: string): CloneRequest => ({
  source: { type: 'guest', id },
  mode: 'full',
  names: [name],
  options,
});

describe.skipIf(!isRoot)('a store that is too small', () => {
  let small: Mounted;
  let images: Lab;
  beforeEach(async () => {
    images = await openLab(url);
    small = await mountSmall(join(images.folder, 'small'), 1.5 * GIB);
    lab = await openLab(url, { store: join(small.path, 'store') });
    await lab.worker();
  });
  afterEach(async () => {
    // The worker has its store there: it goes first.
    await lab.close();
    await small.close();
    await images.close();
  });

  it('is refused before anything begins', async () => {
    const disk = join(images.folder, 'disk.qcow2');
    await makeDisk(disk, 2 * GIB);
    const id = await lab.source(named('source'), { disks: [{ path: disk }] });
    const expected = {
      code: 'no-space',
      publicMessage: expect.stringMatching(/needs 2\.0 GiB .+, \d.+ are free/),
      remedy: sentence,
      field: 'mode',
    };
    await expect(lab.queues.preview('h1', request(id, named('n1')))).rejects.toMatchObject(expected);
    const batch = await clone(lab, 'full', [named('n1')], { source: { type: 'guest', id } });
    const row = await ended(lab, batch.operationIds[0]);
    expect(row).toMatchObject({ state: 'failed', error: { code: 'no-space' }, undo: { leftBehind: [] } });
    expect(row.plan).toBeNull();
    expect(await lab.files()).toEqual([]);
    await lab.expectTidy();
  });

  it('that fills up in the middle of the copy: undone, and told', async () => {
    const disk = join(images.folder, 'disk.qcow2');
    await makeDisk(disk, 1200 * MIB);
    const digest = await sha256(disk);
    const id = await lab.source(named('source'), { disks: [{ path: disk }] });
    await lab.queues.preview('h1', request(id, named('n2')));
    const batch = await clone(lab, 'full', [named('n2')], { source: { type: 'guest', id } });
    await copying(lab, batch.operationIds[0]);
    const filler = join(small.path, 'filler');
    const fill = await execa('fallocate', ['--length', '1500M', filler], { reject: false });
    expect(fill.stderr).toMatch(/No space left/);
    const row = await ended(lab, batch.operationIds[0]);
    expect(row).toMatchObject({
      state: 'failed',
      error: { code: 'no-space', message: sentence, remedy: sentence },
      undo: { leftBehind: [] },
    });
    await rm(filler);
    expect(await lab.files()).toEqual([]);
    expect(await lab.domains()).toEqual([named('source')]);
    expect(await sha256(disk)).toBe(digest);
    await lab.expectTidy();

    // With the room back, trying again is enough.
    const again = await clone(lab, 'full', [named('n2')], { source: { type: 'guest', id } });
    expectFinished(await ended(lab, again.operationIds[0], 90_000));
  });
});

describe('with room enough', () => {
  let id: string;
  let disk: string;
  beforeEach(async () => {
    lab = await openLab(url, { bulk: 2 });
    disk = join(lab.folder, 'disk.qcow2');
    await makeDisk(disk, 32 * MIB);
    await lab.worker();
    id = await lab.source(named('source'), { disks: [{ path: disk }] });
  });
  const source = () => ({ type: 'guest', id }) as const;

  it('two people who want the same name at once: one gets it, the other is told', async () => {
    const both = await Promise.allSettled([
      clone(lab, 'full', [named('mine')], { source: source() }),
      clone(lab, 'full', [named('other'), named('mine')], { source: source() }),
    ]);
    const made = both.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const refused = both.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
    expect(made).toHaveLength(1);
    expect(refused).toEqual([
      expect.objectContaining({
        code: 'name-taken',
        publicMessage: expect.stringContaining(named('mine')),
        remedy: sentence,
        field: expect.stringMatching(/^names\.[01]$/),
      }),
    ]);
    for (const operation of made[0]?.operationIds ?? []) expectFinished(await ended(lab, operation));
    expect((await lab.domains()).filter((name) => name === named('mine'))).toHaveLength(1);
    await lab.expectTidy();
  });

  it('a name that someone gave to another guest on the host a moment ago', async () => {
    const other = join(lab.folder, 'other.qcow2');
    await makeDisk(other, 4 * MIB);
    const uuid = randomUUID();
    await defineGuest(named('taken'), { disks: [{ path: other }], uuid });
    const refused = await clone(lab, 'full', [named('taken')], { source: source() }).then(
      async (batch) => (await ended(lab, batch.operationIds[0])).error,
      (error: unknown) => error,
    );
    expect(refused).toMatchObject({ code: 'name-taken', remedy: sentence });
    expect((await virsh('domuuid', named('taken'))).trim()).toBe(uuid);
    await expect
      .poll(() => lab.db.prisma.guest.count({ where: { name: named('taken') } }), { timeout: 15_000 })
      .toBe(1);
    await lab.expectTidy();
  });

  it('the same click twice makes one guest', async () => {
    const idempotencyKey = randomUUID();
    const clicks = await Promise.all(
      [1, 2].map(() => clone(lab, 'full', [named('once')], { source: source(), idempotencyKey })),
    );
    expect(clicks[1]?.operationIds).toEqual(clicks[0]?.operationIds);
    expect(clicks.filter(({ repeated }) => repeated)).toHaveLength(1);
    expectFinished(await ended(lab, clicks[0]?.operationIds[0]));
    expect((await lab.domains()).filter((name) => name.startsWith(named('once')))).toEqual([named('once')]);
    await lab.expectTidy();
  });

  it('a plan gone stale is not run: the new one is kept to look at', async () => {
    const agreed = await lab.queues.preview('h1', request(id, named('stale')));
    const uuid = (await virsh('domuuid', named('source'))).trim();
    await defineGuest(named('source'), { disks: [{ path: disk }], memoryMiB: 128, uuid });
    const batch = await clone(lab, 'full', [named('stale')], {
      source: source(),
      agreedFingerprint: agreed.fingerprint,
    });
    const row = await ended(lab, batch.operationIds[0]);
    expect(row).toMatchObject({
      state: 'stale',
      error: { code: 'stale-plan', message: sentence, remedy: sentence },
    });
    expect(row.plan).toMatchObject({ kind: 'clone', steps: expect.any(Array) });
    expect(await lab.files()).toEqual([]);
    expect(await lab.domains()).toEqual([named('source')]);
    await lab.expectTidy();

    const now = await lab.queues.preview('h1', request(id, named('stale')));
    expect(now.fingerprint).not.toBe(agreed.fingerprint);
    const again = await clone(lab, 'full', [named('stale')], {
      source: source(),
      agreedFingerprint: now.fingerprint,
    });
    expectFinished(await ended(lab, again.operationIds[0]));
  });
});
