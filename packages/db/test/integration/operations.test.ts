import { randomUUID } from 'node:crypto';
import { cloneRequestSchema, type CloneMode, type CloneRequest } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventsAfter } from '../../src/events.ts';
import { journalFor } from '../../src/journal.ts';
import {
  claim,
  finish,
  giveBack,
  heartbeat,
  listRunnable,
  requestCancel,
  requestCapture,
  requestClone,
  requestDelete,
  requestImport,
  requestRemoveBase,
  requestRetry,
  requestStart,
  requestStop,
  resolveRequest,
  savePlan,
  type Claim,
} from '../../src/operations.ts';
import {
  someBase,
  someGuest,
  somePlan,
  someTemplate,
  testDatabase,
  type TestDb,
} from '../support/fixtures.ts';

let test: TestDb;
let guestId: string;
let versionId: string;
let baseId: string;
beforeAll(async () => {
  test = await testDatabase();
  guestId = await someGuest(test.db, 'source-1');
  ({ versionId, baseId } = await someTemplate(test.db));
});
afterAll(() => test.close());

const asked = () => ({ userId: null, idempotencyKey: randomUUID() });
const cloneOf = (source: 'guest' | 'template', mode: CloneMode, ...names: string[]): CloneRequest =>
  cloneRequestSchema.parse({
    source: source === 'guest' ? { type: 'guest', id: guestId } : { type: 'template', versionId },
    mode,
    names,
  });

async function claimed(operationId: string | undefined): Promise<Claim> {
  const held = await claim(test.db, { operationId: operationId ?? '', workerId: 'w1' });
  if (!held) throw new Error('not claimable');
  return held;
}

describe('asking', () => {
  it('20 clicks with one key make one batch; the same key with another body is refused', async () => {
    const key = asked();
    const request = cloneOf('template', 'linked', 'a-1', 'a-2');
    const batches = await Promise.all(
      Array.from({ length: 20 }, () => requestClone(test.db, { ...key, request })),
    );
    expect(new Set(batches.map((batch) => batch.batchId)).size).toBe(1);
    expect(batches.filter((batch) => !batch.repeated)).toHaveLength(1);
    expect(new Set(batches.map((batch) => JSON.stringify(batch.operationIds))).size).toBe(1);
    await expect(
      requestClone(test.db, { ...key, request: cloneOf('template', 'linked', 'a-9') }),
    ).rejects.toMatchObject({ code: 'invalid-input', field: 'idempotencyKey' });
    await expect(
      requestClone(test.db, { ...key, request: cloneOf('template', 'full', 'a-1', 'a-2') }),
    ).rejects.toMatchObject({ code: 'invalid-input' });
  });

  it('of 20 people who want one name one gets it; the others are told which name', async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) =>
        requestClone(test.db, {
          ...asked(),
          request: cloneOf('template', 'full', `b-own-${i}`, ...(i % 2 ? ['b-x', 'b-y'] : ['b-y', 'b-x'])),
        }),
      ),
    );
    expect(results.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
    for (const one of results)
      if (one.status === 'rejected')
        expect(one.reason).toMatchObject({ code: 'name-taken', field: 'names.1' });
    expect(await test.db.prisma.guest.count({ where: { name: { startsWith: 'b-own-' } } })).toBe(1);
  });

  it('refuses a source, host, guest or base that is not there, and a malformed request', async () => {
    const nowhere = randomUUID();
    await expect(
      requestClone(test.db, {
        ...asked(),
        request: { ...cloneOf('template', 'full', 'c-1'), source: { type: 'template', versionId: nowhere } },
      }),
    ).rejects.toMatchObject({ code: 'not-found' });
    await expect(
      requestStart(test.db, { ...asked(), guestId: nowhere, waitForAgent: true }),
    ).rejects.toMatchObject({ code: 'not-found' });
    await expect(requestRemoveBase(test.db, { ...asked(), baseId: nowhere })).rejects.toMatchObject({
      code: 'not-found',
    });
    const image = {
      template: 't',
      description: '',
      hostId: 'gone',
      imagePath: '/x',
      osName: 'Linux',
      vcpus: 1,
      memoryMiB: 128,
      firmware: 'bios',
    } as const;
    await expect(requestImport(test.db, { ...asked(), request: image })).rejects.toMatchObject({
      code: 'not-found',
      field: 'hostId',
    });
    await expect(
      requestClone(test.db, {
        ...asked(),
        request: { ...cloneOf('template', 'full', 'c-1'), names: ['$(reboot)'] },
      }),
    ).rejects.toMatchObject({ code: 'invalid-input', field: 'names.0' });
    expect(await test.db.prisma.guest.count({ where: { name: 'c-1' } })).toBe(0);
  });

  it('30 linked clones in one request', async () => {
    const begun = performance.now();
    const batch = await requestClone(test.db, {
      ...asked(),
      request: cloneOf('template', 'linked', ...Array.from({ length: 30 }, (_, i) => `d-${i}`)),
    });
    console.info(`30 clones asked for in ${(performance.now() - begun).toFixed(1)} ms`);
    expect(batch.jobs).toHaveLength(30);
    expect(batch.jobs.every((job) => job.lane === 'interactive')).toBe(true);
  });
});

describe('one guest, one operation', () => {
  it('of many starts, stops and deletes at once one gets through, the others are told that it is busy', async () => {
    const id = await someGuest(test.db, 'e-1');
    await test.db.prisma.guest.update({ where: { id }, data: { managed: true } });
    const results = await Promise.allSettled([
      ...Array.from({ length: 5 }, () =>
        requestStart(test.db, { ...asked(), guestId: id, waitForAgent: false }),
      ),
      ...Array.from({ length: 5 }, () => requestStop(test.db, { ...asked(), guestId: id, force: true })),
      ...Array.from({ length: 5 }, () => requestDelete(test.db, { ...asked(), guestId: id })),
    ]);
    expect(results.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
    for (const one of results)
      if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'busy', retryable: true });
  });

  it('a guest that Offshoot did not make is not deleted; a source is not stopped under a full clone', async () => {
    const id = await someGuest(test.db, 'e-2');
    await expect(requestDelete(test.db, { ...asked(), guestId: id })).rejects.toMatchObject({
      code: 'not-allowed',
    });
    const batch = await requestClone(test.db, {
      ...asked(),
      request: { ...cloneOf('guest', 'full', 'e-3'), source: { type: 'guest', id } },
    });
    await expect(requestStop(test.db, { ...asked(), guestId: id, force: true })).rejects.toMatchObject({
      code: 'busy',
    });
    await requestCancel(test.db, batch.operationIds[0] ?? '');
    await expect(requestStop(test.db, { ...asked(), guestId: id, force: true })).resolves.toMatchObject({
      repeated: false,
    });
  });

  it('a base with children can’t be removed, and the children are named; while it is being removed nothing is cloned from it', async () => {
    await expect(requestRemoveBase(test.db, { ...asked(), baseId })).rejects.toMatchObject({
      code: 'in-use',
      publicMessage: expect.stringContaining('“a-1”'),
    });
    const other = await someTemplate(test.db, 'other', 'd2');
    const removal = await requestRemoveBase(test.db, { ...asked(), baseId: other.baseId });
    const request = {
      ...cloneOf('template', 'full', 'e-4'),
      source: { type: 'template' as const, versionId: other.versionId },
    };
    await expect(requestClone(test.db, { ...asked(), request })).rejects.toMatchObject({ code: 'not-found' });
    const held = await claimed(removal.operationIds[0]);
    await savePlan(test.db, held, somePlan('x', { kind: 'remove-base', creates: [] }));
    await finish(test.db, held, { state: 'finished', result: {} });
    expect(await test.db.prisma.base.count({ where: { id: other.baseId } })).toBe(0);
    expect(await test.db.prisma.template.count({ where: { name: 'other' } })).toBe(0);
  });
});

describe('performing', () => {
  it('of 10 workers one claims; a claim that is not kept alive is taken over, and the first one’s writes are refused', async () => {
    const batch = await requestClone(test.db, { ...asked(), request: cloneOf('template', 'linked', 'f-1') });
    const [operationId = ''] = batch.operationIds;
    const claims = await Promise.all(
      Array.from({ length: 10 }, (_, i) => claim(test.db, { operationId, workerId: `w${i}` })),
    );
    const [first, ...more] = claims.filter((one) => one !== undefined);
    expect(more).toEqual([]);
    if (!first) throw new Error('nobody claimed');
    await savePlan(test.db, first, somePlan('f-1'));
    expect(await heartbeat(test.db, [first])).toMatchObject([
      { operationId, token: first.token, cancelRequested: false },
    ]);
    expect((await listRunnable(test.db, ['h1'])).map((job) => job.operationId)).not.toContain(operationId);
    await test.db.pool.query(
      `UPDATE "operation" SET "heartbeatAt" = now() - interval '11 s' WHERE "id" = $1`,
      [operationId],
    );
    expect((await listRunnable(test.db, ['h1'])).map((job) => job.operationId)).toContain(operationId);
    const second = await claimed(operationId);
    expect(second.resume?.from).toMatchObject({ nextStep: 0 });
    const lost = { code: 'lost-claim' };
    await expect(journalFor(test.db, first).stepStarted(0)).rejects.toMatchObject(lost);
    await expect(savePlan(test.db, first, somePlan('f-1'))).rejects.toMatchObject(lost);
    await expect(finish(test.db, first, { state: 'finished', result: {} })).rejects.toMatchObject(lost);
    expect(await giveBack(test.db, [first])).toEqual([]);
    await journalFor(test.db, second).stepStarted(0);
    expect(await giveBack(test.db, [second])).toEqual([operationId]);
    expect(await test.db.prisma.operation.findUnique({ where: { id: operationId } })).toMatchObject({
      state: 'running',
      claimToken: null,
    });
  });

  it('a step’s end and the next one’s start are one record, as are the plan and the first start, the last end and the operation’s', async () => {
    const batch = await requestClone(test.db, {
      ...asked(),
      request: cloneOf('template', 'linked', 'fused-1'),
    });
    const lost = { code: 'lost-claim' };
    const first = await claimed(batch.operationIds[0]);
    const steps = ['a', 'b'].map((id) => ({ id, kind: 'test', title: id }));
    const plan = somePlan('fused-1', { steps });
    const rowOf = () => test.db.prisma.operation.findUniqueOrThrow({ where: { id: first.operationId } });
    await savePlan(test.db, first, plan, { begins: true });
    expect(await rowOf()).toMatchObject({ nextStep: 0, steps: [{ state: 'running' }, { state: 'pending' }] });
    // It has begun: the next worker goes on with the saved plan.
    await giveBack(test.db, [first]);
    const second = await claimed(first.operationId);
    expect(second.resume?.from).toMatchObject({ nextStep: 0, begun: true });
    const late = journalFor(test.db, first);
    await expect(late.stepFinished(0, undefined, {}, 1)).rejects.toMatchObject(lost);
    expect(await rowOf()).toMatchObject({ nextStep: 0, steps: [{ state: 'running' }, { state: 'pending' }] });

    const journal = journalFor(test.db, second);
    // What a guest said may be cut in the middle of a character, which jsonb does not take.
    await journal.stepFinished(0, 'well\uD83D', { movedBytes: 1 }, 1);
    expect(await rowOf()).toMatchObject({
      nextStep: 1,
      steps: [{ state: 'done', note: 'well\uFFFD' }, { state: 'running' }],
    });
    journal.progress(1, { doneBytes: 5 });
    const status = await journal.lastFinished(1, undefined, {});
    expect(status).toMatchObject({ state: 'done', progress: { doneBytes: 5 } });
    // Killed before the end is recorded: the last step is run again.
    await giveBack(test.db, [second]);
    const third = await claimed(first.operationId);
    expect(third.resume?.from).toMatchObject({ nextStep: 1, begun: true, result: { movedBytes: 1 } });
    const last = { index: 1, status: { ...(status ?? { state: 'done' as const }), note: 'cut\uD83D' } };
    await expect(finish(test.db, second, { state: 'finished', result: {}, last })).rejects.toMatchObject(
      lost,
    );
    await finish(test.db, third, { state: 'finished', result: {}, last });
    expect(await rowOf()).toMatchObject({
      state: 'finished',
      nextStep: 2,
      steps: [
        { state: 'done' },
        {
          state: 'done',
          note: 'cut\uFFFD',
          startedAt: expect.any(String),
          progress: { doneBytes: 5 },
        },
      ],
    });
    const told = await eventsAfter(test.db, '0', { operationId: first.operationId });
    expect(
      told.flatMap(({ data }) =>
        data.type === 'step'
          ? [`${data.index} ${data.status.state}`]
          : data.type === 'state'
            ? [data.state]
            : [],
      ),
    ).toEqual(['queued', 'running', '0 running', '0 done', '1 running', '1 done', 'finished']);
  });

  it('a crash while undoing goes on undoing with its reason; the report has what both runs undid', async () => {
    const batch = await requestClone(test.db, { ...asked(), request: cloneOf('template', 'linked', 'g-1') });
    const held = await claimed(batch.operationIds[0]);
    await savePlan(test.db, held, somePlan('g-1'));
    const journal = journalFor(test.db, held);
    await journal.stepStarted(0);
    await journal.stepFinished(0, undefined, { movedBytes: 1 });
    await journal.stepStarted(1);
    const error = new OffshootError('no-space', { publicMessage: 'Full.', remedy: 'Make room.' });
    await journal.stepFailed(1, error.publicMessage);
    await journal.undoStarted({ cancelled: false, error });
    await journal.stepUndoing(1);
    await journal.stepUndone(1, { undone: 'one' });
    await journal.stepUndoing(0);
    await journal.stepUndone(0, { leftBehind: 'nought stays' });
    await giveBack(test.db, [held]);
    const next = await claimed(held.operationId);
    expect(next.resume?.from).toMatchObject({
      nextStep: 1,
      undoing: { cancelled: false, error: { code: 'no-space', remedy: 'Make room.' } },
      result: { movedBytes: 1 },
    });
    const rest = journalFor(test.db, next);
    await rest.stepUndoing(0);
    await rest.stepUndone(0, { undone: 'nought' });
    const outcome = {
      state: 'failed',
      error,
      undo: { undone: ['nought'], leftBehind: [] },
      result: {},
    } as const;
    const undo = { undone: [...outcome.undo.undone], leftBehind: [] };
    await finish(test.db, next, { ...outcome, undo });
    await finish(test.db, next, { ...outcome, undo }); // its answer was lost: repeating is harmless
    const row = await test.db.prisma.operation.findUniqueOrThrow({ where: { id: held.operationId } });
    expect(row).toMatchObject({
      state: 'failed',
      undo: { undone: ['one', 'nought'], leftBehind: [] },
      error: { code: 'no-space' },
    });
    const again = await requestRetry(test.db, { ...asked(), operationId: held.operationId });
    expect(again.jobs).toHaveLength(1);
    await expect(
      requestRetry(test.db, { ...asked(), operationId: again.operationIds[0] ?? '' }),
    ).rejects.toMatchObject({ code: 'invalid-input' });
  });

  it('a capture that finishes wakes its clones onto its base; as a template it adds versions', async () => {
    const source = await someGuest(test.db, 'h-source');
    const request = {
      ...cloneOf('guest', 'linked', 'h-1', 'h-2'),
      source: { type: 'guest' as const, id: source },
    };
    const batch = await requestClone(test.db, { ...asked(), request });
    const held = await claimed(batch.operationIds[0]);
    await expect(claimed(batch.operationIds[1])).rejects.toThrow('not claimable');
    await savePlan(test.db, held, somePlan('x', { kind: 'capture' }));
    const jobs = await finish(test.db, held, { state: 'finished', result: { base: someBase('d3') } });
    expect(jobs.map((job) => job.operationId)).toEqual(batch.operationIds.slice(1));
    const clone = await claimed(jobs[0]?.operationId);
    expect(await resolveRequest(test.db, clone)).toMatchObject({
      source: { type: 'base', label: 'h-source', base: { digest: 'd3' } },
    });
    for (const number of [1, 2]) {
      const capture = await requestCapture(test.db, {
        ...asked(),
        guestId: source,
        template: { name: 'golden', description: '' },
      });
      const one = await claimed(capture.operationIds[0]);
      await savePlan(test.db, one, somePlan('x', { kind: 'capture' }));
      await finish(test.db, one, { state: 'finished', result: { base: someBase(`g${number}`) } });
    }
    const versions = await test.db.prisma.templateVersion.findMany({
      where: { template: { name: 'golden' } },
      orderBy: { number: 'asc' },
    });
    expect(versions.map((version) => version.number)).toEqual([1, 2]);
  });

  it('a clone is no more consistent than the base it was made from, of a guest or of a template', async () => {
    const consistent = {
      consistency: 'crash',
      consistencyNote: 'crash-consistent: no agent answered',
    } as const;
    const source = { type: 'guest' as const, id: await someGuest(test.db, 'c-source') };
    const batch = await requestClone(test.db, {
      ...asked(),
      request: { ...cloneOf('guest', 'linked', 'c-1'), source },
    });
    const capture = await claimed(batch.operationIds[0]);
    await savePlan(test.db, capture, somePlan('x', { kind: 'capture' }));
    await finish(test.db, capture, { state: 'finished', result: { base: someBase('c1'), ...consistent } });
    const asTemplate = await requestCapture(test.db, {
      ...asked(),
      guestId: source.id,
      template: { name: 'of-running', description: '' },
    });
    const second = await claimed(asTemplate.operationIds[0]);
    await savePlan(test.db, second, somePlan('x', { kind: 'capture' }));
    await finish(test.db, second, { state: 'finished', result: { base: someBase('c2'), ...consistent } });
    const version = await test.db.prisma.templateVersion.findFirstOrThrow({
      where: { template: { name: 'of-running' } },
    });
    const full = await requestClone(test.db, {
      ...asked(),
      request: {
        ...cloneOf('template', 'full', 'c-2'),
        source: { type: 'template', versionId: version.id },
      },
    });
    for (const [operationId, name, baseDigest] of [
      [batch.operationIds[1], 'c-1', 'c1'],
      [full.operationIds[0], 'c-2', undefined],
    ] as const) {
      const held = await claimed(operationId);
      const { baseDigest: _digest, ...plan } = somePlan(name);
      await savePlan(test.db, held, { ...plan, ...(baseDigest === undefined ? {} : { baseDigest }) });
      await finish(test.db, held, { state: 'finished', result: { consistency: 'exact' } });
      const row = await test.db.prisma.operation.findUniqueOrThrow({ where: { id: held.operationId } });
      expect(row.result).toEqual({
        consistency: 'crash',
        consistencyNote: 'crash-consistent: no agent answered, when its source was captured',
      });
    }
  });

  it('30 operations × 4 steps through the journal at once', async () => {
    const batch = await requestClone(test.db, {
      ...asked(),
      request: cloneOf('template', 'linked', ...Array.from({ length: 30 }, (_, i) => `p-${i}`)),
    });
    const begun = performance.now();
    await Promise.all(
      batch.operationIds.map(async (operationId, i) => {
        const held = await claimed(operationId);
        await resolveRequest(test.db, held);
        await savePlan(test.db, held, somePlan(`p-${i}`));
        const journal = journalFor(test.db, held);
        for (let step = 0; step < 4; step++) {
          await journal.stepStarted(step);
          await journal.stepFinished(step, undefined, {});
        }
        await finish(test.db, held, { state: 'finished', result: {} });
      }),
    );
    const ms = performance.now() - begun;
    console.info(
      `30 operations × 4 steps: ${Math.round(ms)} ms in all, ${(ms / (30 * 11)).toFixed(2)} ms a write`,
    );
    expect(
      await test.db.prisma.guest.count({ where: { name: { startsWith: 'p-' }, state: 'running', baseId } }),
    ).toBe(30);
  });
});
