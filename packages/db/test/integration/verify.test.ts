import { randomUUID } from 'node:crypto';
import { refreshOptionsSchema, type Verification } from '@offshoot/clone-core/contract';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  claim,
  finish,
  guestOnBase,
  requestCancel,
  requestRefresh,
  requestStart,
  requestVerify,
  resolveRequest,
  savePlan,
  type Claim,
} from '../../src/operations.ts';
import { someGuest, somePlan, someTemplate, testDatabase, type TestDb } from '../support/fixtures.ts';

let test: TestDb;
beforeAll(async () => {
  test = await testDatabase();
});
afterAll(() => test.close());

const asked = () => ({ userId: null, idempotencyKey: randomUUID() });
const verify = (guestId: string) => requestVerify(test.db, { ...asked(), guestId, depth: 'whole' });

async function claimed(operationId: string | undefined): Promise<Claim> {
  const held = await claim(test.db, { operationId: operationId ?? '', workerId: 'w1' });
  if (!held) throw new Error('not claimable');
  return held;
}

it('a guest that is no clone, or whose source is gone, is not compared', async () => {
  const id = await someGuest(test.db, 'alone');
  await expect(verify(id)).rejects.toMatchObject({
    code: 'source-missing',
    publicMessage: expect.stringContaining('no clone'),
  });
  await test.db.prisma.guest.update({ where: { id }, data: { mode: 'full', sourceName: 'old-web' } });
  await expect(verify(id)).rejects.toMatchObject({ publicMessage: expect.stringContaining('“old-web”') });
  await expect(guestOnBase(test.db, id)).rejects.toMatchObject({ code: 'source-missing' });
});

it('a full clone is compared with its source, which nobody starts meanwhile; the result stays on the guest', async () => {
  const source = await someGuest(test.db, 'source');
  const id = await someGuest(test.db, 'copy');
  await test.db.prisma.guest.update({ where: { id }, data: { mode: 'full', sourceGuestId: source } });
  const batch = await verify(id);
  expect(batch.jobs).toMatchObject([{ lane: 'bulk' }]);
  for (const guestId of [id, source])
    await expect(requestStart(test.db, { ...asked(), guestId, waitForAgent: false })).rejects.toMatchObject({
      code: 'busy',
      publicMessage: expect.stringContaining('compared'),
    });
  const held = await claimed(batch.operationIds[0]);
  expect(await resolveRequest(test.db, held)).toMatchObject({
    kind: 'verify',
    depth: 'whole',
    guest: { name: 'copy' },
    against: { type: 'guest', guest: { name: 'source' } },
  });
  await savePlan(test.db, held, somePlan('copy', { kind: 'verify', creates: [] }));
  const verified: Verification = {
    at: new Date().toISOString(),
    against: { type: 'guest', label: 'source' },
    depth: 'whole',
    equal: true,
    disks: [],
  };
  await finish(test.db, held, { state: 'finished', result: { verified } });
  expect(await test.db.prisma.guest.findUniqueOrThrow({ where: { id } })).toMatchObject({
    verified,
    state: 'stopped',
    uuid: expect.any(String),
  });
  const busy = await requestStart(test.db, { ...asked(), guestId: source, waitForAgent: false });
  await expect(verify(id)).rejects.toMatchObject({ code: 'busy' });
  await requestCancel(test.db, busy.operationIds[0] ?? '');

  // With other disks it is no word on these.
  const options = refreshOptionsSchema.parse({});
  const refresh = await claimed(
    (await requestRefresh(test.db, { ...asked(), guestId: id, options })).operationIds[0],
  );
  await savePlan(test.db, refresh, somePlan('copy', { kind: 'refresh', creates: [] }));
  await finish(test.db, refresh, { state: 'finished', result: {} });
  expect(await test.db.prisma.guest.findUniqueOrThrow({ where: { id } })).toMatchObject({ verified: null });
});

it('a linked clone is compared with its base, a full clone of a template with that version', async () => {
  const { versionId, baseId } = await someTemplate(test.db, 'sample', 'd9');
  const id = await someGuest(test.db, 'web');
  const row = { templateVersionId: versionId, sourceName: 'sample v1' };
  await test.db.prisma.guest.update({ where: { id }, data: { ...row, mode: 'linked', baseId } });
  for (const data of [
    { mode: 'linked', baseId },
    { mode: 'full', baseId: null },
  ]) {
    await test.db.prisma.guest.update({ where: { id }, data });
    const [operationId] = (await verify(id)).operationIds;
    expect(await resolveRequest(test.db, await claimed(operationId))).toMatchObject({
      against: { type: 'base', label: 'sample v1', base: { digest: 'd9' } },
    });
    await test.db.pool.query(
      `UPDATE "operation" SET "state" = 'cancelled', "finishedAt" = clock_timestamp() WHERE "id" = $1`,
      [operationId],
    );
  }
});
