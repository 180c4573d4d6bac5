/** After a round: everything is up again, a worker serves, and every operation comes to its end. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { GuestSnapshot, UndoReport } from '@offshoot/clone-core/contract';
import { askDelete } from './guest-actions.ts';
import type { Asked } from './asking.ts';
import { domains } from './host.ts';
import { isEnd } from './watch.ts';
import { Violation } from './violation.ts';
import { ageClaims, HOST_ID } from './workers.ts';
import { patiently, type World } from './world.ts';

/** All operations of a round end within this, milliseconds; what waits for a guest's agent may take longer. */
const END_MS = 45_000;
const AGENT_END_MS = 120_000;
/** The inventory tells what is on the host within this, milliseconds. */
const SETTLE_MS = 20_000;
/** Looks again this often when no event came, milliseconds. */
const LOOK_MS = 500;

/** Repairs and waits. @throws Violation when an operation does not end, or the inventory does not come right. */
export async function quiesce(world: World): Promise<void> {
  const { workers, store } = world;
  await store.free();
  for (const worker of workers.living) workers.thaw(worker);
  await workers.ensure();
  await untilEnded(world);
  await untilSettled(world);
}

async function untilEnded(world: World): Promise<void> {
  const began = Date.now();
  for (;;) {
    const open = await patiently(() =>
      world.db.prisma.operation.findMany({
        where: { finishedAt: null },
        select: { id: true, kind: true, state: true, title: true, request: true },
      }),
    );
    if (open.length === 0) return;
    const allowed = open.some(({ request }) => isWithMemory(request)) ? AGENT_END_MS : END_MS;
    if (Date.now() > began + allowed) {
      const said = open.map(({ id, kind, state, title }) => `${kind} ${title} ${state} (${id})`).join(', ');
      throw new Violation('every operation ends', `after ${allowed / 1000} s not ended: ${said}`);
    }
    const living = world.workers.living.map(({ pid }) => pid);
    const dead = world.workers.sessions.filter((pid) => !living.includes(pid));
    await patiently(() => ageClaims(world.db, dead));
    await world.workers.ensure();
    await world.watch.next(isEnd, LOOK_MS);
  }
}

const isWithMemory = (request: unknown): boolean => {
  const { mode, memory } = request as { mode?: string; memory?: boolean };
  return mode === 'memory' || memory === true;
};

/** The inventory follows the host within seconds: until its rows say what virsh says. */
async function untilSettled(world: World): Promise<void> {
  const deadline = Date.now() + SETTLE_MS;
  for (;;) {
    const differences = await inventoryDifferences(world);
    if (differences.length === 0) return;
    if (Date.now() > deadline) throw new Violation('the inventory tells the truth', differences.join('; '));
    await sleep(100);
  }
}

const states: Readonly<Record<string, string>> = {
  'shut off': 'stopped',
  running: 'running',
  paused: 'paused',
};

const namesOf = (snapshots: unknown): string =>
  ((snapshots as GuestSnapshot[] | null) ?? [])
    .map(({ name }) => name)
    .toSorted()
    .join(', ');

async function inventoryDifferences(world: World): Promise<string[]> {
  const [host, rows] = await Promise.all([
    domains(world.services.libvirtUri),
    patiently(() => world.db.prisma.guest.findMany({ where: { hostId: HOST_ID } })),
  ]);
  const ours = host.filter(({ name }) => name.startsWith(world.prefix));
  const found: string[] = [];
  for (const domain of ours) {
    const row = rows.find(({ uuid }) => uuid === domain.uuid);
    if (!row) found.push(`${domain.name} is on the host and not in the inventory`);
    else if (row.state !== states[domain.state] || row.name !== domain.name)
      found.push(
        `${domain.name} is ${domain.state} on the host, the inventory says ${row.name} ${row.state}`,
      );
    else if (namesOf(row.snapshots) !== domain.snapshots.toSorted().join(', '))
      found.push(
        `${domain.name} has the snapshots ${domain.snapshots.join(', ') || 'none'}, the inventory says ${namesOf(row.snapshots) || 'none'}`,
      );
  }
  for (const row of rows)
    if (
      row.name.startsWith(world.prefix) &&
      row.state !== 'missing' &&
      !ours.some(({ uuid }) => uuid === row.uuid)
    )
      found.push(`${row.name} is ${row.state} in the inventory and not on the host`);
  return found;
}

/**
 * What an undo had to leave behind stays in the inventory: as missing, or as a guest whose deletion failed half-way.
 * Deleting it must work and leave nothing. Resolves with what was asked for.
 */
export async function clearLeftovers(world: World, operationIds: readonly string[]): Promise<Asked[]> {
  const failed = await patiently(() =>
    world.db.prisma.operation.findMany({
      where: { id: { in: [...operationIds] }, kind: 'delete', state: 'failed', guestId: { not: null } },
    }),
  );
  const halfDeleted = failed.flatMap(({ guestId, undo }) =>
    guestId !== null && ((undo as unknown as UndoReport | null)?.leftBehind ?? []).length > 0
      ? [guestId]
      : [],
  );
  const left = await patiently(() =>
    world.db.prisma.guest.findMany({
      where: { hostId: HOST_ID, managed: true, OR: [{ state: 'missing' }, { id: { in: halfDeleted } }] },
    }),
  );
  const asked: Asked[] = [];
  for (const row of left) {
    const one = await askDelete(world, row);
    asked.push({ ...one, label: `${one.label} (left behind)` });
  }
  if (asked.length > 0) await quiesce(world);
  return asked;
}
