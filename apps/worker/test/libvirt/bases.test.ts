/** Bases on the real libvirt: no door lets one go while something stands on it, and one goes with its last clone. */
import { randomUUID } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { requestDelete, requestPromote, requestRemoveBase, requestReset } from '@offshoot/db/operations';
import { assertSameContent, makeDisk, MIB } from '@offshoot/tools/lab/disks';
import { virsh } from '@offshoot/tools/lab/host';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import type { PostgresUrl } from '../support/services.ts';
import { clone, ended, ring } from '../support/simulated.ts';
import { diskOf, expectFinished, openLab, type Lab } from './support/lab.ts';

const url: PostgresUrl = inject('postgresUrl');
let lab: Lab;
let sourceDisk: string;
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

async function linkedClones(...names: string[]): Promise<void> {
  const id = await lab.source(named('source'), { disks: [{ path: sourceDisk }] });
  const batch = await clone(lab, 'linked', names.map(named), { source: { type: 'guest', id } });
  for (const operation of batch.operationIds) expectFinished(await ended(lab, operation));
}

const onlyBase = async () => {
  const [base, ...more] = await lab.db.prisma.base.findMany();
  expect(more).toEqual([]);
  if (!base) throw new Error('there is no base');
  const [disk] = base.disks as { path: string }[];
  return { id: base.id, path: disk?.path ?? '' };
};
const gone = async (): Promise<void> => {
  await expect.poll(() => lab.db.prisma.base.count(), { timeout: 40_000 }).toBe(0);
  await expect.poll(() => lab.db.prisma.operation.count({ where: { finishedAt: null } })).toBe(0);
};

it('every door: a base with a clone on it stays, whoever asks', async () => {
  await lab.worker();
  await linkedClones('only');
  const base = await onlyBase();
  const before = await stat(base.path);
  expect(before.mode & 0o222).toBe(0);

  // The portal's request, as the page's button sends it.
  await expect(requestRemoveBase(lab.db, { ...asked(), baseId: base.id })).rejects.toMatchObject({
    code: 'in-use',
    publicMessage: expect.stringContaining(named('only')),
  });
  // The database itself.
  await expect(lab.db.pool.query('DELETE FROM "base" WHERE "id" = $1', [base.id])).rejects.toThrow(
    /violates .*foreign key constraint/,
  );
  // A removal that was queued past the check: the worker looks again.
  const { id: guestId } = await row('only');
  const setBase = (baseId: string | null) =>
    lab.db.prisma.guest.update({ where: { id: guestId }, data: { baseId } });
  await setBase(null);
  const batch = await requestRemoveBase(lab.db, { ...asked(), baseId: base.id });
  await setBase(base.id);
  await ring(lab, batch);
  expect(await ended(lab, batch.operationIds[0])).toMatchObject({
    state: 'failed',
    error: { code: 'in-use' },
  });
  // No record of the clone at all: the driver looks at the disks on the host.
  await setBase(null);
  const forgotten = await rung(requestRemoveBase(lab.db, { ...asked(), baseId: base.id }));
  expect(forgotten).toMatchObject({
    state: 'failed',
    error: { code: 'in-use', message: expect.stringContaining(named('only')) },
  });
  await setBase(base.id);

  expect((await stat(base.path)).mtimeMs).toBe(before.mtimeMs);
  await assertSameContent(sourceDisk, await diskOf(named('only')));
  await lab.expectTidy();
});

it('the last clone goes, and its base with it; also when worker and Redis lose it in between', async () => {
  const first = await lab.worker();
  await linkedClones('a', 'b');
  const base = await onlyBase();
  expectFinished(await rung(requestDelete(lab.db, { ...asked(), guestId: (await row('a')).id })));
  expect(await lab.db.prisma.operation.count({ where: { kind: 'remove-base' } })).toBe(0);
  const last = await ring(lab, await requestDelete(lab.db, { ...asked(), guestId: (await row('b')).id }));
  expectFinished(await ended(lab, last.operationIds[0]));
  // The doorbell is lost too: one that a killed worker held is only rung again after a minute.
  await first.kill();
  await lab.redis.flushAll();
  await lab.worker();
  await gone();
  await expect(stat(base.path)).rejects.toThrow('ENOENT');
  expect(await lab.files()).toEqual([]);
  await lab.expectTidy();
});

it('a clone that is detached from its base is a full one, and the base goes', async () => {
  await lab.worker();
  await linkedClones('own');
  const { id } = await row('own');
  expectFinished(await rung(requestPromote(lab.db, { ...asked(), guestId: id })));
  await gone();
  expect(await row('own')).toMatchObject({ mode: 'full', baseId: null });
  await assertSameContent(sourceDisk, await diskOf(named('own')));
  await expect(requestPromote(lab.db, { ...asked(), guestId: id })).rejects.toMatchObject({
    code: 'unavailable-mode',
  });
  await lab.expectTidy();
});

it('a reset clone is the same guest on the same base; a full clone is told what to do instead', async () => {
  await lab.worker();
  await linkedClones('mine');
  const before = await row('mine');
  const disk = await diskOf(named('mine'));
  const definition = await virsh('dumpxml', '--inactive', named('mine'));
  await execa('qemu-io', ['-c', 'write -q -P 9 0 4M', disk]);
  const [one, two] = await Promise.allSettled([
    requestReset(lab.db, { ...asked(), guestId: before.id, waitForAgent: false }),
    requestReset(lab.db, { ...asked(), guestId: before.id, waitForAgent: false }),
  ]);
  const asking = [one, two].flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  expect(asking).toHaveLength(1);
  const reset = asking[0];
  if (!reset) throw new Error('neither was accepted');
  await ring(lab, reset);
  expectFinished(await ended(lab, reset.operationIds[0]));
  await assertSameContent(sourceDisk, disk);
  expect(await virsh('dumpxml', '--inactive', named('mine'))).toBe(definition);
  const { uuid, macs, baseId, ownedFiles } = await row('mine');
  expect({ uuid, macs, baseId, ownedFiles }).toEqual({
    uuid: before.uuid,
    macs: before.macs,
    baseId: before.baseId,
    ownedFiles: before.ownedFiles,
  });
  await lab.expectTidy();

  const full = await clone(lab, 'full', [named('whole')], {
    source: { type: 'guest', id: (await row('source')).id },
  });
  expectFinished(await ended(lab, full.operationIds[0]));
  await expect(
    requestReset(lab.db, { ...asked(), guestId: (await row('whole')).id, waitForAgent: false }),
  ).rejects.toMatchObject({ code: 'unavailable-mode', remedy: expect.any(String) });
});
