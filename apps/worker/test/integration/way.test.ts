import { randomUUID } from 'node:crypto';
import { eventsAfter } from '@offshoot/db/events';
import {
  requestCancel,
  requestDelete,
  requestRemoveBase,
  requestRetry,
  requestStart,
} from '@offshoot/db/operations';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import {
  clone,
  copying,
  ended,
  fast,
  importTemplate,
  openSimulatedRig,
  options,
  ring,
  sampleGuest,
  slow,
  type SimulatedRig,
} from '../support/simulated.ts';

describe('the whole way', () => {
  let rig: SimulatedRig;
  beforeAll(async () => {
    // With the credential of a host that joined: all of it with no more than that host's rows and queues.
    rig = await openSimulatedRig(inject('postgresUrl'), fast, { joined: true });
    await rig.worker();
  });
  afterAll(() => rig.close());

  it('preview, click, clone, guest: the preview’s fingerprint is the plan’s', async () => {
    const source = { type: 'guest' as const, id: await sampleGuest(rig) };
    const preview = await rig.queues.preview('h1', { source, mode: 'full', names: ['web-1'], options });
    expect(preview).toMatchObject({
      count: 1,
      simulated: true,
      modes: [
        { mode: 'full', available: true },
        { mode: 'linked', available: true },
        { mode: 'memory', available: false, explanation: expect.stringContaining('simulated') },
      ],
    });
    const batch = await clone(rig, 'full', ['web-1'], { source, agreedFingerprint: preview.fingerprint });
    const row = await ended(rig, batch.operationIds[0]);
    expect(row).toMatchObject({ state: 'finished', attempts: 1, error: null });
    const guest = await rig.db.prisma.guest.findUniqueOrThrow({
      where: { hostId_name: { hostId: 'h1', name: 'web-1' } },
    });
    expect(guest).toMatchObject({
      state: 'stopped',
      managed: true,
      mode: 'full',
      sourceName: 'simulated-01',
      sourceGuestId: source.id,
      baseId: null,
    });
    expect(guest.uuid).not.toBeNull();
    expect(guest.macs).toHaveLength(1);
    expect(guest.ownedFiles).toEqual(await rig.ownFiles());
    const events = await eventsAfter(rig.db, '0', { operationId: row.id });
    const states = events.flatMap(({ data }) => (data.type === 'state' ? [data.state] : []));
    expect(states).toEqual(['queued', 'running', 'finished']);
    expect(events.some(({ data }) => data.type === 'plan')).toBe(true);
    expect(events.some(({ data }) => data.type === 'progress')).toBe(true);
  });

  it('starts, and deletes with all its files', async () => {
    const id = await sampleGuest(rig, 'web-1');
    const started = await ring(
      rig,
      await requestStart(rig.db, {
        userId: null,
        idempotencyKey: randomUUID(),
        guestId: id,
        waitForAgent: true,
      }),
    );
    expect(await ended(rig, started.operationIds[0])).toMatchObject({ state: 'finished' });
    expect(await rig.db.prisma.guest.findUnique({ where: { id } })).toMatchObject({ state: 'running' });
    const deleted = await ring(
      rig,
      await requestDelete(rig.db, { userId: null, idempotencyKey: randomUUID(), guestId: id }),
    );
    expect(await ended(rig, deleted.operationIds[0])).toMatchObject({ state: 'finished', error: null });
    expect(await rig.db.prisma.guest.findUnique({ where: { id } })).toBeNull();
    await expect.poll(() => rig.ownFiles()).toEqual([]);
  });

  it('30 linked clones of a template in one request', async () => {
    const source = await importTemplate(rig);
    const names = Array.from({ length: 30 }, (_, i) => `lab-${i + 1}`);
    const begun = performance.now();
    const batch = await clone(rig, 'linked', names, { source });
    const asked = performance.now();
    const rows = await Promise.all(batch.operationIds.map((id) => ended(rig, id)));
    console.info(
      `30 linked: asked in ${Math.round(asked - begun)} ms, all ended after ${Math.round(performance.now() - begun)} ms`,
    );
    expect(rows.map((row) => row.state)).toEqual(names.map(() => 'finished'));
    const base = await rig.db.prisma.base.findFirstOrThrow({ include: { children: true } });
    expect(base.children).toHaveLength(30);
    await expect(
      requestRemoveBase(rig.db, { userId: null, idempotencyKey: randomUUID(), baseId: base.id }),
    ).rejects.toMatchObject({ code: 'in-use' });
  });

  it('linked clones of a guest wait for its capture and stand on its base', async () => {
    const batch = await clone(rig, 'linked', ['dev-1', 'dev-2']);
    expect(batch.operationIds).toHaveLength(3);
    expect(batch.jobs).toHaveLength(1);
    const rows = await Promise.all(batch.operationIds.map((id) => ended(rig, id)));
    expect(rows.map((row) => [row.kind, row.state])).toEqual([
      ['capture', 'finished'],
      ['clone', 'finished'],
      ['clone', 'finished'],
    ]);
    const guest = await rig.db.prisma.guest.findUniqueOrThrow({
      where: { hostId_name: { hostId: 'h1', name: 'dev-1' } },
      include: { base: { include: { versions: true } } },
    });
    expect(guest.base?.versions).toEqual([]);
  });

  it('a plan that differs from the preview is not run: stale, with the new plan, and the name is free', async () => {
    const batch = await clone(rig, 'full', ['stale-1'], { agreedFingerprint: 'of another day' });
    const row = await ended(rig, batch.operationIds[0]);
    expect(row).toMatchObject({ state: 'stale', error: { code: 'stale-plan' } });
    expect(row.plan).not.toBeNull();
    const linked = await clone(rig, 'linked', ['stale-1'], { agreedFingerprint: 'of another day' });
    const rows = await Promise.all(linked.operationIds.map((id) => ended(rig, id)));
    expect(rows.map((each) => each.state)).toEqual(['stale', 'stale']);
    expect(await rig.db.prisma.guest.count({ where: { name: 'stale-1' } })).toBe(0);
  });

  it('the same click twice is one batch; two people and one name: one wins', async () => {
    const idempotencyKey = randomUUID();
    const twice = await Promise.all([
      clone(rig, 'full', ['once-1'], { idempotencyKey }),
      clone(rig, 'full', ['once-1'], { idempotencyKey }),
    ]);
    expect(new Set(twice.map((batch) => batch.batchId)).size).toBe(1);
    expect(twice.filter((batch) => batch.repeated)).toHaveLength(1);
    const both = await Promise.allSettled([clone(rig, 'full', ['mine-1']), clone(rig, 'full', ['mine-1'])]);
    expect(both.map((one) => one.status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(both.find((one) => one.status === 'rejected')?.reason).toMatchObject({
      code: 'name-taken',
      field: 'names.0',
    });
    expect(await ended(rig, twice[0].operationIds[0])).toMatchObject({ state: 'finished' });
  });
});

describe('lanes and cancels', () => {
  let rig: SimulatedRig;
  beforeAll(async () => {
    rig = await openSimulatedRig(inject('postgresUrl'), { ...slow, speed: { ...slow.speed, copyRate: 1e9 } });
    await rig.worker();
  });
  afterAll(() => rig.close());

  it('a long copy delays no linked clone; the copy is cancelled in the middle and leaves nothing', async () => {
    const source = await importTemplate(rig);
    const before = await rig.ownFiles();
    const long = await clone(rig, 'full', ['long-1']);
    await copying(rig, long.operationIds[0]);
    const behind = await clone(rig, 'full', ['behind-1']);
    const linked = await clone(rig, 'linked', ['quick-1'], { source });
    expect(await ended(rig, linked.operationIds[0])).toMatchObject({ state: 'finished' });
    expect(
      await rig.db.prisma.operation.findUnique({ where: { id: long.operationIds[0] ?? '' } }),
    ).toMatchObject({ state: 'running' });

    // one that is queued behind it ends at once
    expect(await requestCancel(rig.db, behind.operationIds[0] ?? '')).toEqual({ state: 'cancelled' });
    expect(await rig.db.prisma.guest.count({ where: { name: 'behind-1' } })).toBe(0);

    expect(await requestCancel(rig.db, long.operationIds[0] ?? '')).toEqual({ state: 'running' });
    const row = await ended(rig, long.operationIds[0]);
    expect(row).toMatchObject({ state: 'cancelled', undo: { leftBehind: [] } });
    expect(await rig.db.prisma.guest.count({ where: { name: 'long-1' } })).toBe(0);
    expect(await rig.guestsOnHost()).not.toContain('long-1');
    const quick = await rig.db.prisma.guest.findUniqueOrThrow({
      where: { hostId_name: { hostId: 'h1', name: 'quick-1' } },
    });
    await expect
      .poll(async () => (await rig.ownFiles()).toSorted())
      .toEqual([...before, ...quick.ownedFiles].toSorted());
    expect(await requestCancel(rig.db, row.id)).toEqual({ state: 'cancelled' });
  });
});

describe('failures', () => {
  let rig: SimulatedRig;
  beforeAll(async () => {
    rig = await openSimulatedRig(inject('postgresUrl'));
  });
  afterAll(() => rig.close());

  it('a capture that fails fails its clones with a plain sentence; undone in full; retry makes all of them', async () => {
    const failing = await rig.worker(
      rig.hostEnv({
        faults: [
          { step: 'seal', type: 'fail', nth: 1 },
          { step: 'copy', on: 'undo', type: 'slow', factor: 1 },
        ],
      }),
    );
    const batch = await clone(rig, 'linked', ['f-1', 'f-2']);
    const rows = await Promise.all(batch.operationIds.map((id) => ended(rig, id)));
    expect(rows.map((row) => row.state)).toEqual(['failed', 'failed', 'failed']);
    expect(rows[0]).toMatchObject({ undo: { leftBehind: [] } });
    expect(rows[1]?.error).toMatchObject({
      message: expect.stringContaining('could not be captured, so this clone was not begun'),
    });
    expect(await rig.db.prisma.guest.count({ where: { name: { startsWith: 'f-' } } })).toBe(0);
    await expect.poll(() => rig.ownFiles()).toEqual([]);

    const again = await ring(
      rig,
      await requestRetry(rig.db, {
        userId: null,
        idempotencyKey: randomUUID(),
        operationId: batch.operationIds[0] ?? '',
      }),
    );
    const retried = await Promise.all(again.operationIds.map((id) => ended(rig, id)));
    expect(retried.map((row) => [row.title, row.state])).toEqual([
      ['simulated-01', 'finished'],
      ['f-1', 'finished'],
      ['f-2', 'finished'],
    ]);
    await failing.stop();
  });

  it('what can’t be undone is said, and its row stays to be deleted', async () => {
    await rig.worker(
      rig.hostEnv({
        faults: [
          { step: 'define', type: 'fail', nth: 1 },
          // Each time that it is tried.
          ...[1, 2, 3].map((nth) => ({
            step: 'copy',
            on: 'undo' as const,
            type: 'fail' as const,
            nth,
            error: { code: 'permission' as const, message: 'The disk can’t be deleted.' },
          })),
        ],
      }),
    );
    const batch = await clone(rig, 'full', ['stuck-1']);
    const id = batch.operationIds[0] ?? '';
    const row = await ended(rig, id);
    expect(row.undo).toMatchObject({ leftBehind: [expect.stringContaining('The disk can’t be deleted.')] });
    const guest = await rig.db.prisma.guest.findUniqueOrThrow({
      where: { hostId_name: { hostId: 'h1', name: 'stuck-1' } },
    });
    expect(guest).toMatchObject({ state: 'missing', managed: true });
    const deleted = await ring(
      rig,
      await requestDelete(rig.db, { userId: null, idempotencyKey: randomUUID(), guestId: guest.id }),
    );
    expect(await ended(rig, deleted.operationIds[0])).toMatchObject({ state: 'finished' });
    expect(await rig.db.prisma.guest.count({ where: { name: 'stuck-1' } })).toBe(0);
    expect((await rig.ownFiles()).filter((path) => path.includes('stuck-1'))).toEqual([]);
  });
});
