import { randomUUID } from 'node:crypto';
import { cloneOptionsSchema, type OperationResult } from '@offshoot/clone-core/contract';
import type { GuestInside } from '@offshoot/clone-core/contract/identity';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { recordBase } from '../../src/catalog.ts';
import { eventsAfter, latestEventId } from '../../src/events.ts';
import {
  attestable,
  isAttestable,
  keepAttestation,
  keepSignatures,
  noteShared,
  sharedIdentities,
  unsignedCertificates,
} from '../../src/identity.ts';
import { registerHost, syncGuests } from '../../src/inventory.ts';
import {
  claim,
  finish,
  requestClone,
  requestDelete,
  requestStop,
  resolveRequest,
  savePlan,
} from '../../src/operations.ts';
import { transaction } from '../../src/transaction.ts';
import {
  reported,
  someBase,
  somePlan,
  someTemplate,
  testDatabase,
  type TestDb,
} from '../support/fixtures.ts';
import { someAttestation, someOutcome } from '../support/identity.ts';

let test: TestDb;
beforeEach(async () => {
  test = await testDatabase();
});
afterEach(() => test.close());

const asked = () => ({ userId: null, idempotencyKey: randomUUID() });

/** A clone of a template version, made to its end with this result. */
async function cloned(name: string, versionId: string, result: OperationResult) {
  const batch = await requestClone(test.db, {
    ...asked(),
    request: {
      source: { type: 'template', versionId },
      mode: 'linked',
      names: [name],
      options: cloneOptionsSchema.parse({}),
    },
  });
  const held = await claim(test.db, { operationId: batch.operationIds[0] ?? '', workerId: 'w1' });
  if (!held?.guestId) throw new Error('not claimable');
  await savePlan(test.db, held, somePlan(name));
  await finish(test.db, held, { state: 'finished', result });
  return { held, guestId: held.guestId, again: () => finish(test.db, held, { state: 'finished', result }) };
}

const idOf = async (name: string, hostId = 'h1') =>
  test.db.prisma.guest.findUniqueOrThrow({ where: { hostId_name: { hostId, name } } });

it('a finished clone keeps its identity and gets one certificate, which names what it came from', async () => {
  const { versionId } = await someTemplate(test.db, 'sample');
  const { guestId, held, again } = await cloned('web-1', versionId, { identity: someOutcome('web-1') });
  await again();
  expect(await idOf('web-1')).toMatchObject({
    identity: { verdict: 'attested', decided: { hostname: 'web-1' } },
    attested: { hostname: 'web-1' },
    attestedAt: expect.any(Date),
  });
  const unsigned = await unsignedCertificates(test.db);
  expect(unsigned).toHaveLength(1);
  expect(unsigned[0]?.body).toMatchObject({
    version: 1,
    id: unsigned[0]?.id,
    guest: { id: guestId, name: 'web-1', hostId: 'h1' },
    source: { type: 'template', label: 'sample v1', baseDigest: 'd1' },
    mode: 'linked',
    operationId: held.operationId,
    identity: { way: 'seed', policy: 'strict', verdict: 'attested' },
  });
});

it('a clone whose driver says nothing of its identity gets none', async () => {
  const { versionId } = await someTemplate(test.db, 'sample');
  await cloned('web-1', versionId, {});
  expect(await unsignedCertificates(test.db)).toEqual([]);
  expect(await idOf('web-1')).toMatchObject({ identity: null, attested: null });
});

it('a certificate is signed once, never changes afterwards, and outlives its guest', async () => {
  const { versionId } = await someTemplate(test.db, 'sample');
  const { guestId } = await cloned('web-1', versionId, { identity: someOutcome('web-1') });
  const [unsigned] = await unsignedCertificates(test.db);
  if (!unsigned) throw new Error('no certificate');
  const signed = (by: string) => ({
    body: { ...unsigned.body, installation: by },
    signature: `by ${by}`,
    publicKey: 'key',
  });
  expect(await keepSignatures(test.db, [signed('one')])).toBe(1);
  expect(await keepSignatures(test.db, [signed('two')])).toBe(0);
  expect(await unsignedCertificates(test.db)).toEqual([]);
  for (const data of [{ signature: 'x' }, { publicKey: 'x' }, { body: {} }, { signature: null }])
    await expect(test.db.prisma.certificate.update({ where: { id: unsigned.id }, data })).rejects.toThrow(
      'a signed certificate does not change',
    );
  const batch = await requestDelete(test.db, { ...asked(), guestId });
  const held = await claim(test.db, { operationId: batch.operationIds[0] ?? '', workerId: 'w1' });
  if (!held) throw new Error('not claimable');
  await finish(test.db, held, { state: 'finished', result: {} });
  expect(await test.db.prisma.guest.count()).toBe(0);
  expect(await test.db.prisma.certificate.findUniqueOrThrow({ where: { id: unsigned.id } })).toMatchObject({
    guestId: null,
    signature: 'by one',
    body: { installation: 'one', guest: { id: guestId, name: 'web-1' } },
  });
});

it('a guest may say anything: zero bytes and broken characters are stored without them', async () => {
  const { versionId } = await someTemplate(test.db, 'sample');
  const wild = 'a\0b\uD800c';
  const attested = someAttestation('web-1', { hostname: wild, osName: wild });
  await cloned('web-1', versionId, {
    identity: someOutcome('web-1', { verdict: 'mismatch', attested, problems: [`It says ${wild}.`] }),
  });
  expect(await idOf('web-1')).toMatchObject({ attested: { hostname: 'ab\uFFFDc', osName: 'ab\uFFFDc' } });
  const guest = await idOf('web-1');
  const endless = someAttestation('web-1', {
    hostname: 'h'.repeat(100_000),
    addresses: Array.from({ length: 10_000 }, () => wild),
  });
  expect(await keepAttestation(test.db, { id: guest.id, uuid: guest.uuid ?? '' }, endless)).toBe(true);
  expect(JSON.stringify((await idOf('web-1')).attested).length).toBeLessThan(50_000);
});

it('what was found inside a base is kept with it and handed to its clones', async () => {
  const inside: GuestInside = {
    kind: 'linux',
    osName: 'Debian GNU/Linux 12 (bookworm)',
    init: 'systemd',
    agent: true,
    agents: [],
    found: [
      {
        what: 'machine-id',
        level: 'warn',
        text: 'A machine id.',
        paths: ['/etc/machine-id'],
        cleanable: true,
      },
    ],
  };
  const baseId = await transaction(test.db, (tx) =>
    recordBase(tx, 'h1', { ...someBase('d7'), inside }, { name: 'looked-into', description: '' }),
  );
  // Published again by someone who did not look: what was found stays.
  await transaction(test.db, (tx) => recordBase(tx, 'h1', someBase('d7')));
  const version = await test.db.prisma.templateVersion.findFirstOrThrow({ where: { baseId } });
  const batch = await requestClone(test.db, {
    ...asked(),
    request: {
      source: { type: 'template', versionId: version.id },
      mode: 'linked',
      names: ['a', 'b'],
      options: cloneOptionsSchema.parse({}),
    },
  });
  const second = await claim(test.db, { operationId: batch.operationIds[1] ?? '', workerId: 'w1' });
  if (!second) throw new Error('not claimable');
  expect(await resolveRequest(test.db, second)).toMatchObject({
    kind: 'clone',
    index: 1,
    source: { base: { inside } },
  });
});

it('guests that share what must be unique are named with their hosts, also those that nobody cloned', async () => {
  const { db } = test;
  await registerHost(db, {
    id: 'h2',
    name: 'Host 2',
    kind: 'simulated',
    simulated: true,
    workerVersion: 'test',
  });
  const uuid = randomUUID();
  const mac = '52:54:00:AA:bb:01';
  await syncGuests(db, 'h1', [
    reported('one', { uuid, macs: [mac] }),
    reported('two', { macs: [mac.toLowerCase(), mac] }),
    reported('blank-1', { macs: ['00:00:00:00:00:00'] }),
    reported('blank-2', { macs: ['00:00:00:00:00:00'] }),
  ]);
  await syncGuests(db, 'h2', [reported('three', { uuid })]);
  const attest = async (name: string, hostId: string, as: Parameters<typeof someAttestation>[1]) => {
    const guest = await idOf(name, hostId);
    await keepAttestation(db, { id: guest.id, uuid: guest.uuid ?? '' }, someAttestation(name, as));
  };
  const machineId = 'ABCDEF0123456789abcdef0123456789';
  const sshHostKeys = [{ type: 'ED25519', fingerprint: 'SHA256:same' }];
  await attest('one', 'h1', { machineId, sid: 'S-1-5-21-1' });
  await attest('two', 'h1', { sshHostKeys });
  await attest('three', 'h2', { machineId: machineId.toLowerCase(), sshHostKeys, sid: 'S-1-5-21-1' });
  await attest('blank-1', 'h1', { machineId: 'uninitialized', sshHostKeys: [] });
  await attest('blank-2', 'h1', { machineId: 'uninitialized', sshHostKeys: [] });
  const found = await sharedIdentities(db);
  const named = Object.fromEntries(
    found.map(({ field, value, guests }) => [
      field,
      [value, guests.map((guest) => `${guest.hostName}/${guest.name}`)],
    ]),
  );
  expect(named).toEqual({
    mac: [mac.toLowerCase(), ['Host 1/one', 'Host 1/two']],
    uuid: [uuid, ['Host 1/one', 'Host 2/three']],
    'machine-id': [machineId.toLowerCase(), ['Host 1/one', 'Host 2/three']],
    'ssh-host-key': ['SHA256:same', ['Host 2/three', 'Host 1/two']],
    sid: ['S-1-5-21-1', ['Host 1/one', 'Host 2/three']],
  });
  expect(found).toHaveLength(5);

  await noteShared(db);
  const since = (await sharedIdentities(db)).map((one) => one.since);
  await noteShared(db);
  expect((await sharedIdentities(db)).map((one) => one.since)).toEqual(since);

  // It gets an identity of its own; the other one goes away.
  await attest('three', 'h2', { machineId: 'f'.repeat(32), sid: 'S-1-5-21-2' });
  const two = await idOf('two');
  await syncGuests(db, 'h1', [reported('one', { uuid, macs: [mac] })]);
  expect((await sharedIdentities(db)).map(({ field }) => field)).toEqual(['uuid']);
  await noteShared(db);
  expect(await db.prisma.sharedIdentity.findMany()).toMatchObject([{ field: 'uuid', value: uuid }]);
  expect(await db.prisma.guest.findUnique({ where: { id: two.id } })).toBeNull();
});

it('what an agent says is kept unless an operation is at the guest, and is news only when it is another', async () => {
  const { db } = test;
  await syncGuests(db, 'h1', [reported('one'), reported('two')]);
  const [one, two] = [await idOf('one'), await idOf('two')];
  const ref = { id: one.id, uuid: one.uuid ?? '' };
  expect((await attestable(db, 'h1')).map((guest) => guest.name).toSorted()).toEqual(['one', 'two']);
  const news = async (work: () => Promise<unknown>) => {
    const before = await latestEventId(db);
    await work();
    return (await eventsAfter(db, before, {})).map((event) => event.data);
  };
  const say = (part = {}) => keepAttestation(db, ref, someAttestation('one', part));
  expect(await news(() => say())).toEqual([{ type: 'inventory', guestIds: [one.id] }]);
  expect(await news(() => say({ at: '2026-02-01T00:00:00.000Z', bootId: 'another' }))).toEqual([]);
  expect(await news(() => say({ hostname: 'another' }))).toEqual([{ type: 'inventory', guestIds: [one.id] }]);
  // The one that was never asked comes first.
  expect((await attestable(db, 'h1')).map((guest) => guest.name)).toEqual(['two', 'one']);
  await requestStop(db, { ...asked(), guestId: one.id, force: false });
  expect(await isAttestable(db, one.id)).toBe(false);
  expect(await isAttestable(db, two.id)).toBe(true);
  expect(await keepAttestation(db, ref, someAttestation('late'))).toBe(false);
  expect((await idOf('one')).attested).toMatchObject({ hostname: 'another' });
  expect((await attestable(db, 'h1')).map((guest) => guest.name)).toEqual(['two']);
});

it('what was left out of a clone is left out again when it is reset; what was not is not', async () => {
  const { versionId } = await someTemplate(test.db, 'sample');
  const { changed } = someOutcome('x');
  const cleaned = await cloned('cleaned', versionId, {
    identity: someOutcome('cleaned', { changed: [...changed, 'secrets', 'logs'] }),
  });
  const plain = await cloned('plain', versionId, { identity: someOutcome('plain') });
  const resolved = (guestId: string) =>
    resolveRequest(test.db, {
      request: { kind: 'reset', waitForAgent: false, agentTimeoutSeconds: 60 },
      guestId,
      title: '',
    });
  expect(await resolved(cleaned.guestId)).toMatchObject({ kind: 'reset', clean: ['logs', 'secrets'] });
  expect(await resolved(plain.guestId)).not.toHaveProperty('clean');

  // What it was to be inside goes along: of its request, or of what is left of it.
  const { options } = plain.held.request as { options: { identity: unknown } };
  const { decided } = someOutcome('plain');
  expect(await resolved(plain.guestId)).toMatchObject({
    identity: { options: options.identity, index: 0, decided },
  });
  await test.db.pool.query('DELETE FROM "operation" WHERE "id" = $1', [plain.held.operationId]);
  expect(await resolved(plain.guestId)).toMatchObject({
    identity: { options: { policy: 'strict', users: [] }, decided, forgotten: true },
  });
  const same = await cloned('same', versionId, { identity: someOutcome('same', { way: 'none' }) });
  expect(await resolved(same.guestId)).not.toHaveProperty('identity');
});
