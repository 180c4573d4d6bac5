/** A fleet to look at: hosts full and empty, one silent, one in trouble, a template on its way along a chain, a day of samples. */
import { randomUUID } from 'node:crypto';
import type { HostFacts } from '@offshoot/clone-core/contract';
import { openDatabase } from '@offshoot/db/client';

const GIB = 1024 ** 3;

/** `count` hosts beside those that are there. */
export async function seedFleet(databaseUrl: string, count: number): Promise<void> {
  const db = openDatabase(databaseUrl);
  try {
    const ids = Array.from({ length: count }, (_, index) => `rack-${String(index + 1).padStart(2, '0')}`);
    for (const [index, id] of ids.entries())
      await db.prisma.host.create({
        data: {
          id,
          name: id,
          kind: 'simulated',
          simulated: true,
          workerVersion: '0.1.0',
          facts: JSON.parse(JSON.stringify(factsOf(index))) as object,
          problem: index === 2 ? 'libvirt does not answer. Start libvirtd on that machine.' : null,
          heartbeatAt: new Date(Date.now() + (index === 4 ? -7 * 3_600_000 : 3_600_000)),
          guests: {
            create: Array.from({ length: 3 + ((index * 5) % 11) }, (_, guest) => ({
              name: `${id}-${guest + 1}`,
              uuid: randomUUID(),
              state: guest === 0 ? 'creating' : guest % 3 === 0 ? 'stopped' : 'running',
              mode: 'full',
              vcpus: 2,
              memoryBytes: BigInt(2 * GIB),
              virtualBytes: BigInt(16 * GIB),
              usedBytes: BigInt(3 * GIB),
              macs: [],
              ownedFiles: [],
            })),
          },
        },
      });
    await chain(db, ids.slice(0, 4));
    await db.pool.query(
      `INSERT INTO "host_sample" ("hostId", "seconds", "at", "beats", "load", "memoryFreeBytes", "storeFreeBytes", "running")
       SELECT h."id", CASE WHEN n <= 120 THEN 30 ELSE 300 END, CASE WHEN n <= 120 THEN date_bin('30 seconds', now(), 'epoch') - make_interval(secs => 30 * n)
           ELSE date_bin('5 minutes', now(), 'epoch') - make_interval(secs => 300 * (n - 108)) END,
         CASE WHEN n <= 120 THEN 6 ELSE 60 END, CASE WHEN n BETWEEN 40 AND 47 THEN NULL ELSE (600 + 500 * sin(n / 9.0) + 150 * sin(n * 1.7))::int END,
         ((h."facts" ->> 'memoryFreeBytes')::numeric * (0.9 + 0.1 * cos(n / 20.0)))::bigint, ((h."facts" -> 'store' ->> 'freeBytes')::numeric + n * 100000000::bigint)::bigint, 7
       FROM "host" h, generate_series(1, 390) n WHERE n NOT BETWEEN 41 AND 46 ON CONFLICT DO NOTHING`,
    );
  } finally {
    await db.close();
  }
}

/** Of the host of that number. */
export function factsOf(index: number): HostFacts {
  const memory = [64, 128, 256][index % 3] ?? 64;
  const store = [1, 2, 8][index % 3] ?? 1;
  return {
    hypervisor: 'QEMU 7.2.22, libvirt 9.0.0',
    accelerator: {
      name: index % 4 === 3 ? 'tcg' : 'kvm',
      provenAt: new Date().toISOString(),
      detail: 'a guest booted in 1.2 s',
    },
    cpus: [8, 16, 32][index % 3] ?? 8,
    load1: 0.4 + ((index * 7) % 13) * 0.9,
    memoryBytes: memory * GIB,
    memoryFreeBytes: memory * GIB * (1 - ((index * 29) % 97) / 100),
    store: {
      path: '/var/lib/offshoot',
      filesystem: index % 2 === 0 ? 'xfs' : 'ext4',
      reflink: index % 2 === 0,
      totalBytes: store * 1024 * GIB,
      freeBytes: store * 1024 * GIB * (1 - ((index * 41) % 99) / 100),
    },
    networks: [{ name: 'default', active: true }],
    copyRate: 812e6,
  };
}

/** Each host takes it from the one before. */
async function chain(db: ReturnType<typeof openDatabase>, ids: readonly string[]): Promise<void> {
  const total = 1.5 * GIB;
  for (const [index, id] of ids.entries()) {
    const source = ids[index - 1];
    if (source === undefined) continue;
    const running = index < 3;
    const progress = {
      doneBytes: total * (0.8 - index * 0.15),
      totalBytes: total,
      rate: 112e6,
      secondsLeft: 3 + index * 2,
    };
    await db.prisma.operation.create({
      data: {
        kind: 'transfer',
        state: running ? 'running' : 'queued',
        hostId: id,
        lane: 'bulk',
        title: 'debian-12 v1',
        batchId: randomUUID(),
        reserves: { vcpus: 0, memoryBytes: 0, storeBytes: 90 * GIB },
        request: { kind: 'transfer', digest: 'x', label: 'debian-12 v1', sources: [source], replace: false },
        plan: {
          steps: [{ id: '1', kind: 'fetch-base', title: 'Fetch', bytes: total }],
          notes: [],
          estimates: {},
        },
        steps: running ? [{ state: 'running', progress }] : [],
      },
    });
  }
}
