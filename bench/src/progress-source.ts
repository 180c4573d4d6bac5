/** Operations that report progress as a worker does: claimed rows of a host of their own, written through the journal. */
import { randomUUID } from 'node:crypto';
import { cloneRequestSchema, type StepProgress } from '@offshoot/clone-core/contract';
import type { Plan } from '@offshoot/clone-core/driver';
import type { Journal } from '@offshoot/clone-core/execute';
import type { Db } from '@offshoot/db/client';
import { registerHost, syncGuests } from '@offshoot/db/inventory';
import { journalFor } from '@offshoot/db/journal';
import { claim, finish, requestClone, savePlan } from '@offshoot/db/operations';

const plan: Plan = {
  version: 1,
  driver: 'simulated',
  kind: 'clone',
  summary: 'Bench operation (simulated)',
  estimates: { readBytes: 0, moveBytes: 0, storeBytes: 0, seconds: 0 },
  notes: [],
  steps: [{ id: 'copy', kind: 'copy', title: 'Report progress' }],
  fingerprint: 'bench',
  creates: [],
};

export interface Reporter {
  operationId: string;
  report(progress: StepProgress): void;
  finish(): Promise<void>;
}

/** Makes `count` running operations on a host that no worker serves. Their guests' rows go with the scratch database. */
export async function reporters(db: Db, count: number): Promise<{ batchId: string; reporters: Reporter[] }> {
  const hostId = `bench-${randomUUID().slice(0, 8)}`;
  await registerHost(db, {
    id: hostId,
    name: hostId,
    kind: 'simulated',
    simulated: true,
    workerVersion: 'bench',
  });
  const uuid = randomUUID();
  await syncGuests(db, hostId, [
    { uuid, name: `${hostId}-source`, state: 'stopped', vcpus: 1, memoryBytes: 0, macs: [], disks: [] },
  ]);
  const source = await db.prisma.guest.findFirstOrThrow({ where: { hostId } });
  const names = Array.from({ length: count }, (_, index) => `${hostId}-${index}`);
  const request = cloneRequestSchema.parse({ source: { type: 'guest', id: source.id }, mode: 'full', names });
  const batch = await requestClone(db, { userId: null, idempotencyKey: randomUUID(), request });
  const made = await Promise.all(batch.operationIds.map((operationId) => reporter(db, operationId)));
  return { batchId: batch.batchId, reporters: made };
}

async function reporter(db: Db, operationId: string): Promise<Reporter> {
  const held = await claim(db, { operationId, workerId: 'bench' });
  if (!held) throw new Error('the operation could not be claimed');
  await savePlan(db, held, plan);
  const journal: Journal = journalFor(db, held);
  await journal.stepStarted(0);
  return {
    operationId,
    report: (progress) => journal.progress(0, progress),
    async finish() {
      await journal.stepFinished(0, undefined, {});
      await finish(db, held, { state: 'finished', result: {} });
    },
  };
}
