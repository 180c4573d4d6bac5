import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeDriver } from '@offshoot/clone-core/drivers';
import { localShell } from '@offshoot/clone-core/shell/local';
import { openDatabase } from '@offshoot/db/client';
import { registerHost, syncGuests } from '@offshoot/db/inventory';
import { requestStop } from '@offshoot/db/operations';
import { freshDatabase } from '@offshoot/db/testing/postgres';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { removeLeftovers } from '../../src/upkeep.ts';

let fresh: Awaited<ReturnType<typeof freshDatabase>>;
let db: ReturnType<typeof openDatabase>;
let store: string;
beforeAll(async () => {
  fresh = await freshDatabase(inject('postgresUrl'));
  db = openDatabase(fresh.url);
  store = await mkdtemp(join(tmpdir(), 'offshoot-left-'));
});
afterAll(async () => {
  await db.close();
  await fresh.drop();
  await rm(store, { recursive: true });
});

/** A folder of the store with one disk in it, last written that many minutes ago. */
async function folder(name: string, minutes: number): Promise<string> {
  const path = join(store, 'bases', name);
  const then = new Date(Date.now() - minutes * 60_000);
  await mkdir(path, { recursive: true });
  await writeFile(join(path, 'vda.qcow2.partial'), 'x', { mode: 0o444 });
  for (const each of [join(path, 'vda.qcow2.partial'), path]) await utimes(each, then, then);
  return name;
}

it('what a capture left goes once no operation names it; what is worked on, or young, stays', async () => {
  await registerHost(db, {
    id: 'h1',
    name: 'Host 1',
    kind: 'libvirt',
    simulated: false,
    workerVersion: 'test',
  });
  const report = { state: 'running' as const, vcpus: 1, memoryBytes: 1, macs: [], disks: [] };
  await syncGuests(db, 'h1', [{ ...report, name: 'one', uuid: randomUUID() }]);
  const guest = await db.prisma.guest.findFirstOrThrow();
  const asked = { userId: null, idempotencyKey: randomUUID(), guestId: guest.id, force: false };
  const { operationIds } = await requestStop(db, asked);
  const id = randomUUID();
  const of = { where: { id: operationIds[0] ?? '' } };
  const plan = { steps: [{ into: `/store/bases/.capture-${id}` }] };
  await db.prisma.operation.update({ ...of, data: { state: 'undoing', plan } });

  const worked = await folder(`.capture-${id}`, 60);
  const young = await folder(`.capture-${randomUUID()}`, 1);
  const others = [await folder('0123456789ab', 60), await folder(`.transfer-${randomUUID()}`, 60)];
  await folder(`.capture-${randomUUID()}`, 60);
  await folder(`.unpack-${randomUUID()}`, 60);
  const driver = makeDriver({ kind: 'libvirt', store }, localShell());
  const sweep = () =>
    removeLeftovers(db, { id: 'h1', driver }, new AbortController().signal, pino({ level: 'silent' }));
  await sweep();
  expect((await readdir(join(store, 'bases'))).toSorted()).toEqual([worked, young, ...others].toSorted());
  await db.prisma.operation.update({ ...of, data: { state: 'failed', finishedAt: new Date() } });
  await sweep();
  expect((await readdir(join(store, 'bases'))).toSorted()).toEqual([young, ...others].toSorted());
});
