/** Simulated hosts for tests: their configuration, what is on them, and waiting for what operations become. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  cloneRequestSchema,
  isEnded,
  type CloneMode,
  type CloneRequest,
  type OperationState,
  type StepStatus,
} from '@offshoot/clone-core/contract';
import { requestClone, requestImport } from '@offshoot/db/operations';
import type { BatchResult, OperationRow } from '@offshoot/db/types';
import { openRig, type Rig, type RigOptions } from './services.ts';

export interface SimulatedRig extends Rig {
  /** Files on the simulated host that Offshoot's plans made. */
  ownFiles(): Promise<string[]>;
  guestsOnHost(): Promise<string[]>;
  /** The environment of a worker whose host has this speed and these faults. */
  hostEnv(more?: object): Record<string, string>;
}

interface HostState {
  guests: { name: string }[];
  files: Record<string, { owner?: string }>;
}

/** Fast: copies at 100 GB/s, boots in 0.2 s. */
export const fast = { speed: { copyRate: 100e9, latencyMs: 1, tickMs: 10, bootMs: 200 } };
/** Copies so slowly that a test can do something meanwhile. */
export const slow = { speed: { copyRate: 300e6, latencyMs: 1, tickMs: 25, bootMs: 200 } };

export async function openSimulatedRig(
  postgresUrl: string,
  config: object = fast,
  options: RigOptions = {},
): Promise<SimulatedRig> {
  const folder = await mkdtemp(join(tmpdir(), 'offshoot-sim-'));
  const stateFile = join(folder, 'host.json');
  const hostEnv = (more: object = {}): Record<string, string> => ({
    OFFSHOOT_HOST_KIND: 'simulated',
    OFFSHOOT_STORE: '/simulated',
    OFFSHOOT_SIMULATED: JSON.stringify({ stateFile, ...config, ...more }),
  });
  const rig = await openRig(postgresUrl, hostEnv(), options);
  const state = async (): Promise<HostState> =>
    existsSync(stateFile)
      ? (JSON.parse(await readFile(stateFile, 'utf8')) as HostState)
      : { guests: [], files: {} };
  return {
    ...rig,
    hostEnv,
    ownFiles: async () =>
      Object.entries((await state()).files)
        .filter(([, file]) => file.owner !== undefined)
        .map(([path]) => path),
    guestsOnHost: async () => (await state()).guests.map((guest) => guest.name),
    async close() {
      await rig.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function ring(rig: Rig, batch: BatchResult): Promise<BatchResult> {
  for (const job of batch.jobs) await rig.queues.enqueueOperation(job);
  return batch;
}

export const options = cloneRequestSchema.shape.options.parse({ start: false });

export async function sampleGuest(rig: Rig, name = 'simulated-01'): Promise<string> {
  return (await rig.db.prisma.guest.findUniqueOrThrow({ where: { hostId_name: { hostId: 'h1', name } } })).id;
}

/** Clones a sample guest (or the given source) and rings. */
export async function clone(
  rig: Rig,
  mode: CloneMode,
  names: string[],
  more: {
    source?: CloneRequest['source'];
    agreedFingerprint?: string;
    idempotencyKey?: string;
    userId?: string;
    options?: CloneRequest['options'];
  } = {},
): Promise<BatchResult> {
  const {
    source = { type: 'guest', id: await sampleGuest(rig) },
    agreedFingerprint,
    idempotencyKey = randomUUID(),
    userId = null,
  } = more;
  return ring(
    rig,
    await requestClone(rig.db, {
      userId,
      idempotencyKey,
      request: { source, mode, names, options: more.options ?? options },
      ...(agreedFingerprint === undefined ? {} : { agreedFingerprint }),
    }),
  );
}

/** Imports the simulated image as a template; resolves with the source to clone from. */
export async function importTemplate(rig: Rig): Promise<{ type: 'template'; versionId: string }> {
  const batch = await ring(
    rig,
    await requestImport(rig.db, {
      userId: null,
      idempotencyKey: randomUUID(),
      request: {
        template: 'sample',
        description: '',
        hostId: 'h1',
        imagePath: '/srv/images/simulated-linux.qcow2',
        osName: 'Linux',
        vcpus: 1,
        memoryMiB: 128,
        firmware: 'bios',
      },
    }),
  );
  const row = await ended(rig, batch.operationIds[0]);
  if (row.state !== 'finished') throw new Error(JSON.stringify(row.error));
  const version = await rig.db.prisma.templateVersion.findFirstOrThrow();
  return { type: 'template', versionId: version.id };
}

async function poll<T>(what: string, timeoutMs: number, look: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let lastError: unknown;
  for (;;) {
    try {
      const found = await look();
      if (found !== undefined) return found;
    } catch (error) {
      lastError = error;
    }
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`, { cause: lastError });
    await sleep(20);
  }
}

/** Waits until the operation has ended. Survives a database that is away meanwhile. */
export function ended(rig: Rig, operationId: string | undefined, timeoutMs = 45_000): Promise<OperationRow> {
  return poll(`the end of operation ${operationId}`, timeoutMs, async () => {
    const row = await rig.db.prisma.operation.findUniqueOrThrow({ where: { id: operationId ?? '' } });
    return isEnded(row.state as OperationState) ? row : undefined;
  });
}

/** Waits until the operation is in a step that has moved bytes. */
export function copying(rig: Rig, operationId: string | undefined): Promise<OperationRow> {
  return poll(`progress of operation ${operationId}`, 20_000, async () => {
    const row = await rig.db.prisma.operation.findUniqueOrThrow({ where: { id: operationId ?? '' } });
    const steps = row.steps as unknown as StepStatus[] | null;
    return steps?.some((step) => step.state === 'running' && (step.progress?.doneBytes ?? 0) > 0)
      ? row
      : undefined;
  });
}

/** Waits until the operation's row is in this state. */
export function inState(
  rig: Rig,
  operationId: string | undefined,
  state: OperationState,
): Promise<OperationRow> {
  return poll(`state ${state} of operation ${operationId}`, 20_000, async () => {
    const row = await rig.db.prisma.operation.findUniqueOrThrow({ where: { id: operationId ?? '' } });
    return row.state === state ? row : undefined;
  });
}
