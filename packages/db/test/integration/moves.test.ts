/** Guests that go to another host: their base first, their row at the end, and nobody else by their name meanwhile. */
import { randomUUID } from 'node:crypto';
import { cloneRequestSchema } from '@offshoot/clone-core/contract';
import type { ObservedGuest } from '@offshoot/clone-core/driver';
import type { Outcome } from '@offshoot/clone-core/execute';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Db } from '../../src/client.ts';
import { registerHost, syncGuests } from '../../src/inventory.ts';
import {
  claim,
  finish,
  mayArrive,
  requestClone,
  requestDelete,
  requestMove,
  requestRemoveBase,
  requestStart,
  resolveRequest,
  savePlan,
} from '../../src/operations.ts';
import { previewQuestion } from '../../src/placement/question.ts';
import { removeHost } from '../../src/remove-host.ts';
import { revokeWorkers } from '../../src/workers.ts';
import { registerPeer } from '../../src/peers.ts';
import { transaction } from '../../src/transaction.ts';
import type { StoredRequest } from '../../src/types.ts';
import {
  joinedWorker,
  someBase,
  somePlan,
  someTemplate,
  testDatabase,
  type TestDb,
} from '../support/fixtures.ts';

let test: TestDb;
let guestId: string;
let baseId: string;
/** The workers' own sessions: each may touch its host's rows only. */
let workers: Record<string, Db>;
const uuid = randomUUID();
const seen: ObservedGuest = {
  uuid,
  name: 'web-1',
  state: 'running',
  vcpus: 1,
  memoryBytes: 1,
  macs: [],
  disks: [],
};
const asked = () => ({ userId: null, idempotencyKey: randomUUID() });
const row = () => test.db.prisma.guest.findUniqueOrThrow({ where: { id: guestId } });
const linked = (versionId: string, hostId: string, name: string) =>
  requestClone(test.db, {
    ...asked(),
    request: cloneRequestSchema.parse({
      source: { type: 'template', versionId },
      hostId,
      mode: 'linked',
      names: [name],
    }),
  });
async function perform(by: string, id: string | undefined, outcome: Outcome, plan = {}): Promise<void> {
  const db = workers[by] ?? test.db;
  const held = await claim(db, { operationId: id ?? '', workerId: 'w' });
  if (!held) throw new Error('not claimable');
  await savePlan(db, held, somePlan(held.title, { kind: held.kind, ...plan }));
  await finish(db, held, outcome);
}
const folder = '/there/disks/web-1-0123abcd';
const moves = {
  hostId: 'h2',
  owned: [`${folder}/vda.qcow2`, `${folder}/web-1_VARS.fd`],
  baseDigest: 'd1',
};
const arrived = { state: 'finished', result: { base: someBase() } } as const;
const done = { state: 'finished', result: {} } as const;

beforeEach(async () => {
  test = await testDatabase();
  workers = {};
  for (const id of ['h1', 'h2']) {
    await registerHost(test.db, { id, name: id, kind: 'libvirt', simulated: false, workerVersion: 'test' });
    await registerPeer(test.db, id, { address: '10.0.0.1', port: 1, key: `ssh-ed25519 ${id}` });
    workers[id] = await joinedWorker(test.db, id);
  }
  await test.db.pool.query(`UPDATE "host" SET "facts" = '{"store":{"path":"/there"}}' WHERE "id" = 'h2'`);
  const template = await someTemplate(test.db);
  const { versionId } = template;
  baseId = template.baseId;
  const clone = await linked(versionId, 'h1', 'web-1');
  await perform('h1', clone.operationIds[0], done, { guest: { ...somePlan('web-1').guest, uuid } });
  const made = await test.db.prisma.guest.findFirstOrThrow({ where: { name: 'web-1' } });
  expect(made.baseId).toBe(baseId);
  guestId = made.id;
});
const as = (id: 'h1' | 'h2'): Db => workers[id] ?? test.db;
afterEach(async () => {
  for (const worker of Object.values(workers)) await worker.close();
  await test.close();
});

it('the base goes first, then the guest; its row is on the new host with what it owns there', async () => {
  const batch = await requestMove(test.db, { ...asked(), guestId, hostId: 'h2' });
  const [transfer, move] = batch.operationIds;
  const stored = await test.db.prisma.operation.findUniqueOrThrow({ where: { id: move ?? '' } });
  expect(stored).toMatchObject({ kind: 'migrate', hostId: 'h1', state: 'waiting', afterId: transfer });
  await expect(requestStart(test.db, { ...asked(), guestId, waitForAgent: false })).rejects.toThrow(
    'is on its way to another host',
  );
  const version = await test.db.prisma.templateVersion.findFirstOrThrow();
  await expect(linked(version.id, 'h2', 'web-1')).rejects.toMatchObject({
    code: 'name-taken',
    field: 'names.0',
  });
  await perform('h2', transfer, arrived);
  expect((await row()).baseId).toBe(baseId);
  // Nothing there stands on it yet, and the guest is about to.
  const there = await test.db.prisma.base.findFirstOrThrow({ where: { hostId: 'h2' } });
  const away = requestRemoveBase(test.db, { ...asked(), baseId: there.id, onlyHere: true });
  await expect(away).rejects.toMatchObject({ code: 'in-use' });
  expect(
    await resolveRequest(test.db, {
      request: stored.request as StoredRequest,
      guestId,
      title: 'web-1',
      hostId: 'h1',
    }),
  ).toMatchObject({ kind: 'migrate', target: { hostId: 'h2', name: 'h2' }, base: { digest: 'd1' } });
  expect(await mayArrive(as('h2'), move ?? '', 'h1', 'h2')).toBe(false);
  const held = await claim(as('h1'), { operationId: move ?? '', workerId: 'w' });
  if (!held) throw new Error('not claimable');
  expect(await mayArrive(as('h2'), move ?? '', 'h1', 'h2')).toBe(true);
  expect(await mayArrive(as('h2'), move ?? '', 'h2', 'h1')).toBe(false);
  // Seen there before it is known to be there.
  await syncGuests(as('h2'), 'h2', [seen]);
  expect(await test.db.prisma.guest.count()).toBe(1);
  // The row goes with the finished operation only.
  await expect(as('h1').pool.query(`UPDATE "guest" SET "hostId" = 'h2'`)).rejects.toThrow('whose a guest is');
  await savePlan(as('h1'), held, somePlan('web-1', { kind: 'migrate', moves }));
  await finish(as('h1'), held, done);
  const base = await test.db.prisma.base.findFirstOrThrow({ where: { hostId: 'h2' } });
  expect(await row()).toMatchObject({
    hostId: 'h2',
    uuid,
    mode: 'linked',
    baseId: base.id,
    ownedFiles: moves.owned,
  });
  await syncGuests(test.db, 'h1', []);
  await syncGuests(test.db, 'h2', [seen]);
  expect(await row()).toMatchObject({ hostId: 'h2', state: 'running' });
  // Its new host deletes it, though what the old one did for it is another host's.
  const [deletion] = (await requestDelete(test.db, { ...asked(), guestId })).operationIds;
  await perform('h2', deletion, done);
  expect(await test.db.prisma.guest.count()).toBe(0);
  expect(await test.db.prisma.operation.findUniqueOrThrow({ where: { id: move ?? '' } })).toMatchObject({
    state: 'finished',
    guestId: null,
  });
});

it('the host it leaves does not decide what its new host deletes', async () => {
  const other = { uuid: randomUUID(), name: 'other' };
  await syncGuests(test.db, 'h2', [{ ...seen, ...other }]);
  const others = '/there/disks/other-89abcdef';
  await test.db.pool.query(
    `UPDATE "guest" SET "managed" = true, "ownedFiles" = ARRAY['${others}/vda.qcow2'] WHERE "name" = 'other'`,
  );
  const back = async (): Promise<void> => {
    await test.db.pool.query(`UPDATE "guest" SET "hostId" = 'h1' WHERE "id" = $1`, [guestId]);
  };
  const moved = async (...owned: string[]): Promise<[string, string[]]> => {
    const ids = (await requestMove(test.db, { ...asked(), guestId, hostId: 'h2' })).operationIds;
    if (ids.length > 1) await perform('h2', ids[0], arrived);
    await perform('h1', ids.at(-1), done, { moves: { ...moves, owned } });
    expect(await row()).toMatchObject({ hostId: 'h2', mode: 'linked' });
    return [ids.at(-1) ?? '', (await row()).ownedFiles];
  };
  const forged = [
    '/etc/passwd',
    '/there/bases/d1/vda.qcow2',
    '/there/disks/loose.qcow2',
    `${others}/vda.qcow2`,
    `${folder}/../other-89abcdef/vda.qcow2`,
    `${folder}/..`,
    `${folder}/.`,
    `${folder}//vda.qcow2`,
    `${folder}/deeper/vda.qcow2`,
    `${folder}-leaving/vda.qcow2`,
  ];
  const [, kept] = await moved(...forged.slice(0, 3), ...moves.owned, ...forged.slice(3));
  expect(kept).toEqual(moves.owned);
  await back();
  // The folder of another guest, whichever file of it.
  expect((await moved(`${others}/vdb.qcow2`, ...moves.owned))[1]).toEqual([]);
  await back();
  // One that is being made there.
  const { id: versionId } = await test.db.prisma.templateVersion.findFirstOrThrow();
  const [making] = (await linked(versionId, 'h2', 'new')).operationIds;
  const held = await claim(as('h2'), { operationId: making ?? '', workerId: 'w' });
  if (!held) throw new Error('not claimable');
  const creates = [{ type: 'file' as const, name: '/there/disks/new-00000000/vda.qcow2' }];
  await savePlan(as('h2'), held, somePlan('new', { creates }));
  expect((await moved('/there/disks/new-00000000/vda.qcow2'))[1]).toEqual([]);
  await back();

  // Nor can it say so past the end of the operation, or do the move again.
  const [again, once] = await moved(...moves.owned);
  expect(once).toEqual(moves.owned);
  const steal = as('h1').pool;
  await expect(
    steal.query(`UPDATE "operation" SET "state" = 'running' WHERE "id" = $1`, [again]),
  ).rejects.toThrow('how an operation ended');
  await steal.query(
    `UPDATE "operation" SET "finishedAt" = '2099-01-01', "plan" = jsonb_set("plan", '{moves,owned}', '["${folder}/x"]') WHERE "id" = $1`,
    [again],
  );
  await steal.query('SELECT offshoot_settle_move($1)', [again]);
  expect((await row()).ownedFiles).toEqual(moves.owned);
  await back();
  await steal.query('SELECT offshoot_settle_move($1)', [again]);
  expect(await row()).toMatchObject({ hostId: 'h1' });
  // Nor write the row itself while it ends a move, as if a clone elsewhere waited for it.
  const [real] = (await requestMove(test.db, { ...asked(), guestId, hostId: 'h2' })).operationIds;
  const follower = randomUUID();
  await steal.query(
    `INSERT INTO "operation" ("id", "kind", "state", "hostId", "lane", "title", "batchId", "guestId", "afterId", "request")
     VALUES ($1, 'promote', 'waiting', 'h1', 'bulk', 'x', $1, $2, $3, '{}')`,
    [follower, guestId, real],
  );
  await steal.query(`UPDATE "guest" SET "state" = 'creating' WHERE "id" = $1`, [guestId]);
  const forging = transaction(as('h1'), async (tx) => {
    await tx.query(`UPDATE "operation" SET "state" = 'finished' WHERE "id" = $1`, [real]);
    await tx.query(`UPDATE "guest" SET "hostId" = 'h2', "ownedFiles" = '{/etc/passwd}' WHERE "id" = $1`, [
      guestId,
    ]);
  });
  await expect(forging).rejects.toThrow('whose a guest is');
});

it('one that fails stays where it was', async () => {
  const [transfer, move] = (await requestMove(test.db, { ...asked(), guestId, hostId: 'h2' })).operationIds;
  await perform('h2', transfer, arrived);
  await perform('h1', move, { state: 'cancelled', undo: { undone: [], leftBehind: [] } }, { moves });
  expect(await row()).toMatchObject({ hostId: 'h1', mode: 'linked' });
});

it('is refused where it is already, where none come, and by name', async () => {
  const to = (hostId: string) => requestMove(test.db, { ...asked(), guestId, hostId });
  await expect(to('h1')).rejects.toMatchObject({ code: 'unavailable-mode', field: 'hostId' });
  await expect(to('h9')).rejects.toThrow('The host h9 is not known');
  await syncGuests(test.db, 'h2', [{ ...seen, uuid: randomUUID() }]);
  await expect(to('h2')).rejects.toThrow('h2 has a guest named “web-1” already');
  await syncGuests(test.db, 'h2', []);
  await registerPeer(test.db, 'h2', null);
  await expect(to('h2')).rejects.toThrow('h2 takes no guests from other hosts.');
});

it('ends, and leaves the guest free, when its host-to-be is removed', async () => {
  const [, move] = (await requestMove(test.db, { ...asked(), guestId, hostId: 'h2' })).operationIds;
  await revokeWorkers(test.db, 'h2');
  await removeHost(test.db, 'h2', { forget: true });
  expect(await test.db.prisma.operation.findUniqueOrThrow({ where: { id: move ?? '' } })).toMatchObject({
    state: 'failed',
    error: { code: 'not-found' },
  });
  await requestStart(test.db, { ...asked(), guestId, waitForAgent: false });
});

it('takes what it needs of the host that it goes to, and that host stays while it is under way', async () => {
  const versionId = (await test.db.prisma.templateVersion.findFirstOrThrow()).id;
  const promised = async (): Promise<number[]> => {
    const request = cloneRequestSchema.parse({
      source: { type: 'template', versionId },
      mode: 'linked',
      names: ['other'],
      placement: {},
    });
    const { placement, mode, names, options } = request;
    if (!placement) throw new Error('no placement');
    const { hosts } = await previewQuestion(test.db, { placement, mode, names, options, versionId });
    return hosts.map(({ busyVcpus }) => busyVcpus);
  };
  await test.db.prisma.guest.update({ where: { id: guestId }, data: { vcpus: 3, state: 'running' } });
  const [arrival, move] = (await requestMove(test.db, { ...asked(), guestId, hostId: 'h2' })).operationIds;
  expect(await promised()).toEqual([3, 3]); // it runs on the one, and will on the other
  await perform('h2', arrival, arrived);
  const held = await claim(as('h1'), { operationId: move ?? '', workerId: 'w' });
  if (!held) throw new Error('not claimable');
  await revokeWorkers(test.db, 'h2');
  await expect(removeHost(test.db, 'h2', { forget: true })).rejects.toMatchObject({
    code: 'in-use',
    publicMessage: 'A guest is on the way to “h2” just now.',
  });
  await finish(as('h1'), held, { state: 'cancelled', undo: { undone: [], leftBehind: [] } });
  expect((await promised())[1]).toBe(0);
  await removeHost(test.db, 'h2', { forget: true });
});
