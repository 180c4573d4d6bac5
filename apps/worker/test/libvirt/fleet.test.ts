/** Three hosts of one portal: real libvirt, sshd and worker each, cables between them. Bases go from host to host. */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  cloneRequestSchema,
  importRequestSchema,
  placementSchema,
  type OperationResult,
} from '@offshoot/clone-core/contract';
import {
  requestClone,
  requestDelete,
  requestImport,
  requestRemoveBase,
  requestTransfer,
} from '@offshoot/db/operations';
import { moveFromSilent } from '@offshoot/db/placement';
import { activeWorkers } from '@offshoot/db/workers';
import { openAccess, type Access } from '@offshoot/queue/access';
import {
  obstacle,
  openFleet,
  relayPostgres,
  type Fleet,
  type FleetHost,
  type LabWorker,
  type Portal,
  type Relay,
} from '@offshoot/tools/fleet-lab';
import { makeDisk, MIB, sha256 } from '@offshoot/tools/lab/disks';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { credentialFor, openRig, type PostgresUrl, type Rig } from '../support/services.ts';
import { ended, ring } from '../support/simulated.ts';
import { guestsMove } from './support/fleet-moves.ts';
import { expectFinished } from './support/lab.ts';

const url: PostgresUrl = inject('postgresUrl');
const hindrance = await obstacle();
const why = hindrance ? ` (skipped: ${hindrance.publicMessage})` : '';
let fleet: Fleet;
let rig: Rig;
let relay: Relay;
let workers: Map<string, LabWorker>;
/** Every host's worker signs in with its own credential, and can do no more than its own work. */
let access: Access;
let portals: Map<string, Portal>;

async function admit({ name }: FleetHost): Promise<void> {
  const urls = await credentialFor(rig, access, name);
  const database = new URL(relay.url);
  const { username, password } = new URL(urls.DATABASE_URL);
  Object.assign(database, { username, password });
  portals.set(name, { databaseUrl: database.toString(), redisUrl: urls.REDIS_URL });
}
const startOn = (one: FleetHost): Promise<LabWorker> =>
  one.startWorker(portals.get(one.name) ?? { databaseUrl: '', redisUrl: '' });

const asked = () => ({ userId: null, idempotencyKey: randomUUID() });
const rung = async (batch: Promise<Parameters<typeof ring>[1]>) =>
  (await ring(rig, await batch)).operationIds;
const finished = async (ids: readonly string[]): Promise<OperationResult[]> => {
  const rows = await Promise.all(ids.map((id) => ended(rig, id, 90_000)));
  for (const row of rows) expectFinished(row);
  return rows.map((row) => row.result as OperationResult);
};
const host = (number: number): FleetHost => {
  const found = fleet.hosts[number - 1];
  if (!found) throw new Error('no such host');
  return found;
};

/** A template of so many bytes on the first host; resolves with its version's id and its base's digest. */
async function template(name: string, bytes: number): Promise<{ versionId: string; digest: string }> {
  const image = join(host(1).folder, `${name}.qcow2`);
  await makeDisk(image, bytes);
  const request = importRequestSchema.parse({ template: name, hostId: 'host-1', imagePath: image });
  await finished(await rung(requestImport(rig.db, { ...asked(), request })));
  const version = await rig.db.prisma.templateVersion.findFirstOrThrow({
    where: { template: { name } },
    orderBy: { number: 'desc' },
    include: { base: true },
  });
  return { versionId: version.id, digest: version.base.digest };
}

const copyOn = async (hostId: string, digest: string) => {
  const base = await rig.db.prisma.base.findUniqueOrThrow({ where: { hostId_digest: { hostId, digest } } });
  const [disk] = base.disks as { path: string; digest: string }[];
  if (!disk) throw new Error('no disk');
  return { ...disk, id: base.id, damagedAt: base.damagedAt };
};
const bring = (versionId: string, ...hostIds: string[]) =>
  rung(requestTransfer(rig.db, { ...asked(), versionId, hostIds }));
const linked = (versionId: string, hostId: string, names: string[]) =>
  cloneRequestSchema.parse({
    source: { type: 'template', versionId },
    hostId,
    mode: 'linked',
    names,
    options: { start: false, waitForAgent: false },
  });
/** Files below a host's folder for bases, without those that say so themselves. */
const basesOf = async (one: FleetHost): Promise<string[]> => {
  const folder = join(one.store, 'bases');
  await mkdir(folder, { recursive: true });
  return (await readdir(folder)).toSorted();
};

describe.skipIf(hindrance !== undefined)(`a fleet${why}`, () => {
  beforeAll(async () => {
    fleet = await openFleet({ hosts: 3, rate: '400mbit' });
    rig = await openRig(url, {});
    relay = await relayPostgres(rig.databaseUrl, join(fleet.folder, 'pg'));
    workers = new Map();
    portals = new Map();
    access = openAccess(
      rig.redis.url,
      () => activeWorkers(rig.db),
      () => undefined,
    );
    for (const each of fleet.hosts) await admit(each);
    await Promise.all(fleet.hosts.map(async (each) => workers.set(each.name, await startOn(each))));
  });
  afterAll(async () => {
    await fleet.close();
    access.close();
    await relay.close();
    await rig.close();
  });

  it('three workers register three hosts', async () => {
    const hosts = await rig.db.prisma.host.findMany({ orderBy: { id: 'asc' } });
    expect(hosts.map(({ id, problem }) => [id, problem])).toEqual([
      ['host-1', null],
      ['host-2', null],
      ['host-3', null],
    ]);
    expect(new Set(hosts.map(({ peer }) => (peer as { key: string }).key)).size).toBe(3);
  });

  it('to two hosts as a chain: exact copies, and the source sends each byte about once', async () => {
    const bytes = 96 * MIB;
    const { versionId, digest } = await template('chain', bytes);
    const before = await host(1).traffic();
    const results = await finished(await bring(versionId, 'host-2', 'host-3'));
    const sent = (await host(1).traffic()).sent - before.sent;
    expect(results.map(({ transfer }) => transfer?.from)).toEqual([['host-1'], ['host-2']]);
    expect(sent).toBeLessThan(bytes * 1.2);
    for (const hostId of ['host-2', 'host-3']) {
      const copy = await copyOn(hostId, digest);
      expect(await sha256(copy.path)).toBe(copy.digest);
    }
  });

  it('linked clones on a host without the base: transfer first, said in the preview, then the clones', async () => {
    const { versionId, digest } = await template('first', 48 * MIB);
    const request = linked(versionId, 'host-3', ['f-1', 'f-2']);
    const preview = await rig.queues.preview('host-3', request);
    expect(preview.transfer?.summary).toBe('Bring first v1 here from host-1');
    expect(preview.transfer?.estimates.moveBytes).toBeGreaterThanOrEqual(48 * MIB);
    expect(preview.total.moveBytes).toBe(preview.transfer?.estimates.moveBytes);
    expect(preview.transfer?.estimates.seconds).toBeGreaterThan(0);
    const batch = requestClone(rig.db, { ...asked(), request, agreedFingerprint: preview.fingerprint });
    const ids = await rung(batch);
    await finished(ids);
    expect(await host(3).run(['virsh', '-q', '-c', 'qemu:///system', 'list', '--all', '--name'])).toContain(
      'f-2',
    );
    const base = await copyOn('host-3', digest);
    const guests = await rig.db.prisma.guest.findMany({ where: { name: { in: ['f-1', 'f-2'] } } });
    expect(guests.map(({ hostId, baseId }) => [hostId, baseId])).toEqual([
      ['host-3', base.id],
      ['host-3', base.id],
    ]);
    expect(
      (await rig.queues.preview('host-3', linked(versionId, 'host-3', ['f-3']))).transfer,
    ).toBeUndefined();
    for (const { id } of guests)
      await finished(await rung(requestDelete(rig.db, { ...asked(), guestId: id })));
  });

  it('a class over three hosts, and one of them dies in the middle: its share is made on the others, and nothing is left when it is back', async () => {
    const { versionId } = await template('class', 48 * MIB);
    const names = Array.from({ length: 9 }, (_, index) => `seat-${index + 1}`);
    const { hostId: _none, ...request } = {
      ...linked(versionId, 'host-1', names),
      placement: placementSchema.parse({}),
    };
    await host(2).limit('20mbit');
    const ids = await rung(requestClone(rig.db, { ...asked(), request }));
    const operations = await rig.db.prisma.operation.findMany({ where: { id: { in: ids } } });
    const on = (hostId: string) =>
      operations.filter((each) => each.hostId === hostId && each.kind === 'clone');
    for (const { name } of fleet.hosts) expect(on(name).length).toBeGreaterThan(0);
    const [arriving] = operations.filter((each) => each.kind === 'transfer' && each.hostId === 'host-2');
    const lost = arriving?.id ?? '';
    await expect.poll(async () => progressOf(lost), { timeout: 30_000, interval: 50 }).toBeGreaterThan(0);
    await workers.get('host-2')?.kill();
    await host(2).killLibvirtd();
    // As if half a minute had gone by.
    await rig.db.pool.query(
      `UPDATE "host" SET "heartbeatAt" = clock_timestamp() - interval '1 minute' WHERE "id" = 'host-2'`,
    );
    const { jobs, moved } = await moveFromSilent(rig.db);
    for (const job of jobs) await rig.queues.enqueueOperation(job);
    expect(moved).toBe(on('host-2').length);
    await finished(ids.filter((id) => id !== lost));
    const guests = await rig.db.prisma.guest.findMany({ where: { name: { in: names } } });
    expect(guests.map(({ hostId }) => hostId).toSorted()).toEqual(expect.not.arrayContaining(['host-2']));
    expect(guests).toHaveLength(9);
    await host(2).limit('400mbit');
    await host(2).startLibvirtd();
    workers.set('host-2', await host(2).startWorker({ databaseUrl: relay.url, redisUrl: rig.redis.url }));
    expect((await ended(rig, lost, 30_000)).state).toBe('cancelled');
    expect(await basesOf(host(2))).toEqual(
      expect.not.arrayContaining([expect.stringMatching(/^\.transfer/)]),
    );
    expect(
      await host(2).run(['virsh', '-q', '-c', 'qemu:///system', 'list', '--all', '--name']),
    ).not.toContain('seat-');
    const deletions = await Promise.all(
      guests.map(({ id }) => rung(requestDelete(rig.db, { ...asked(), guestId: id }))),
    );
    await finished(deletions.flat());
  });

  it('a cable that is cut in the middle and plugged in again: it goes on where it was', async () => {
    const bytes = 192 * MIB;
    const { versionId, digest } = await template('cut', bytes);
    const before = await host(2).traffic();
    const [id = ''] = await bring(versionId, 'host-2');
    await expect
      .poll(async () => progressOf(id), { timeout: 30_000, interval: 50 })
      .toBeGreaterThan(bytes / 4);
    await host(2).cut();
    const atCut = await progressOf(id);
    await expect.poll(async () => noteOf(id), { timeout: 30_000 }).toContain('waiting for host-1');
    expect(await progressOf(id)).toBeLessThan(bytes);
    await host(2).restore();
    const [result] = await finished([id]);
    const received = (await host(2).traffic()).received - before.received;
    expect(atCut).toBeGreaterThan(0);
    expect(result?.transfer?.interruptions).toBeGreaterThan(0);
    expect(received).toBeLessThan(bytes * 1.08);
    const copy = await copyOn('host-2', digest);
    expect(await sha256(copy.path)).toBe(copy.digest);
  });

  it('a worker that is killed in the middle: the next one goes on with what was written', async () => {
    const bytes = 192 * MIB;
    const { versionId, digest } = await template('killed', bytes);
    const [id = ''] = await bring(versionId, 'host-3');
    await expect
      .poll(async () => progressOf(id), { timeout: 30_000, interval: 50 })
      .toBeGreaterThan(bytes / 3);
    await workers.get('host-3')?.kill();
    workers.set('host-3', await startOn(host(3)));
    const [result] = await finished([id]);
    expect(result?.transfer?.reusedBytes).toBeGreaterThan(bytes / 4);
    const copy = await copyOn('host-3', digest);
    expect(await sha256(copy.path)).toBe(copy.digest);
    expect((await basesOf(host(3))).filter((name) => name.startsWith('.transfer'))).toEqual([]);
  });

  it('a copy that is damaged on disk is found, set aside, and fetched again from a whole one', async () => {
    const { versionId, digest } = await template('damaged', 32 * MIB);
    await finished(await bring(versionId, 'host-2'));
    const origin = await copyOn('host-1', digest);
    const file = await open(origin.path, 'r+');
    await file.write(Buffer.alloc(512, 0x5a), 0, 512, 20 * MIB);
    await file.close();
    expect(await sha256(origin.path)).not.toBe(origin.digest);
    const [result] = await finished(await bring(versionId, 'host-3'));
    expect(result?.transfer?.damaged).toEqual(['host-1']);
    const repaired = await copyOn('host-3', digest);
    expect(await sha256(repaired.path)).toBe(origin.digest);
    await expect.poll(async () => (await copyOn('host-1', digest)).damagedAt, { timeout: 30_000 }).toBeNull();
    expect(await sha256(origin.path)).toBe(origin.digest);
    const healing = await rig.db.prisma.operation.findFirstOrThrow({
      where: { kind: 'transfer', hostId: 'host-1' },
    });
    expect((healing.result as OperationResult).transfer).toMatchObject({ receivedBytes: 65_536 });
  });

  guestsMove(() => ({ fleet, rig }), '400mbit');

  it('a removed version is gone from every host, and nothing is left', async () => {
    for (const version of await rig.db.prisma.templateVersion.findMany())
      await finished(await rung(requestRemoveBase(rig.db, { ...asked(), baseId: version.baseId })));
    for (const each of fleet.hosts) expect(await basesOf(each)).toEqual([]);
    expect(await rig.db.prisma.base.count()).toBe(0);
    expect(await rig.db.prisma.operation.count({ where: { finishedAt: null } })).toBe(0);
  });

  it('its key never leaves a host', async () => {
    const key = await readFile(join(host(1).store, '.peer_ed25519'), 'utf8');
    const rows = JSON.stringify(await rig.db.prisma.host.findMany());
    expect(rows).not.toContain(key.split('\n')[1]);
  });
});

interface Running {
  state: string;
  progress?: { doneBytes?: number; note?: string };
}
async function running(id: string): Promise<Running | undefined> {
  const { steps } = await rig.db.prisma.operation.findUniqueOrThrow({ where: { id } });
  return (steps as Running[] | null)?.[0];
}
const progressOf = async (id: string): Promise<number> => (await running(id))?.progress?.doneBytes ?? 0;
const noteOf = async (id: string): Promise<string> => (await running(id))?.progress?.note ?? '';
