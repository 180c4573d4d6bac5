/** Rows to begin a test with. */
import { randomUUID } from 'node:crypto';
import type { CapturedBase } from '@offshoot/clone-core/contract';
import type { Plan } from '@offshoot/clone-core/driver';
import { inject } from 'vitest';
import { recordBase } from '../../src/catalog.ts';
import { openDatabase, type Db } from '../../src/client.ts';
import { registerHost, syncGuests } from '../../src/inventory.ts';
import { transaction } from '../../src/transaction.ts';
import { admitWorker } from '../../src/workers.ts';
import { freshDatabase } from './postgres.ts';

export interface TestDb {
  db: Db;
  close(): Promise<void>;
}

/** A fresh database on the run's server, with host `h1`. */
export async function testDatabase(serverUrl: string = inject('postgresUrl')): Promise<TestDb> {
  const fresh = await freshDatabase(serverUrl);
  const db = openDatabase(fresh.url, { poolSize: 16 });
  await registerHost(db, {
    id: 'h1',
    name: 'Host 1',
    kind: 'simulated',
    simulated: true,
    workerVersion: 'test',
  });
  return {
    db,
    async close() {
      await db.close();
      await fresh.drop();
    },
  };
}

/** The session of a worker that joined as the host, which may touch its host's rows only. The caller closes it. */
export async function joinedWorker(db: Db, hostId: string): Promise<Db> {
  const { role, password } = await admitWorker(db, {
    hostId,
    hostName: hostId,
    kind: 'libvirt',
    machine: null,
  });
  const url = new URL(db.url);
  url.username = role;
  url.password = password;
  return openDatabase(url.toString());
}

export const someBase = (digest = 'd1'): CapturedBase => ({
  digest,
  definition: '<domain/>',
  disks: [
    {
      target: 'vda',
      path: `/store/bases/${digest}.qcow2`,
      format: 'qcow2',
      digest,
      virtualBytes: 1000,
      allocatedBytes: 100,
    },
  ],
});

/** A template version on `h1`; resolves with its id and its base's. */
export async function someTemplate(
  db: Db,
  name = 'sample',
  digest = 'd1',
): Promise<{ versionId: string; baseId: string }> {
  const baseId = await transaction(db, (tx) =>
    recordBase(tx, 'h1', someBase(digest), { name, description: '' }),
  );
  const version = await db.prisma.templateVersion.findFirstOrThrow({ where: { baseId } });
  return { versionId: version.id, baseId };
}

/** A running guest as its host reports it. */
export const reported = (name: string, part: { uuid?: string; macs?: string[] } = {}) => ({
  name,
  uuid: part.uuid ?? randomUUID(),
  state: 'running' as const,
  vcpus: 1,
  memoryBytes: 1,
  macs: part.macs ?? [],
  disks: [],
});

/** A guest found on `h1`; resolves with its row's id. */
export async function someGuest(db: Db, name: string): Promise<string> {
  const uuid = randomUUID();
  const others = await db.prisma.guest.findMany({ where: { hostId: 'h1' } });
  const seen = (one: { uuid: string; name: string }) => ({
    ...one,
    state: 'stopped' as const,
    vcpus: 1,
    memoryBytes: 1,
    macs: [],
    disks: [],
  });
  await syncGuests(db, 'h1', [
    ...others.flatMap((one) => (one.uuid === null ? [] : [seen({ uuid: one.uuid, name: one.name })])),
    seen({ uuid, name }),
  ]);
  return (await db.prisma.guest.findUniqueOrThrow({ where: { hostId_name: { hostId: 'h1', name } } })).id;
}

export function somePlan(name: string, more: Partial<Plan> = {}): Plan {
  return {
    version: 1,
    driver: 'simulated',
    kind: 'clone',
    summary: `Linked clone ${name}`,
    estimates: { readBytes: 0, moveBytes: 0, storeBytes: 1, seconds: 1 },
    notes: [],
    fingerprint: 'f1',
    steps: ['a', 'b', 'c', 'd'].map((id) => ({ id, kind: 'test', title: `Step ${id}` })),
    creates: [
      { type: 'guest', name },
      { type: 'file', name: `/store/${name}.qcow2` },
    ],
    guest: {
      name,
      uuid: randomUUID(),
      macs: ['52:54:00:00:00:01'],
      memoryBytes: 1,
      vcpus: 1,
      virtualBytes: 1,
    },
    baseDigest: 'd1',
    ...more,
  };
}
