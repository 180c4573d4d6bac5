/** The sample template and the first clone, made through the same doors as everyone's. */
import { join } from 'node:path';
import {
  cloneRequestSchema,
  importRequestSchema,
  isEnded,
  type OperationResult,
  type StepProgress,
} from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Db } from '@offshoot/db/client';
import { openEventHub, streamFrom } from '@offshoot/db/events';
import { requestClone, requestImport } from '@offshoot/db/operations';
import type { BatchResult } from '@offshoot/db/types';
import type { Queues } from '@offshoot/queue/jobs';
import { ensureSampleImage } from '../sample-guest/build.ts';

export const SAMPLE_TEMPLATE = 'sample';
export const FIRST_CLONE = 'first-clone';
const HOST_ID = 'local';

export interface SampleParts {
  db: Db;
  queues: Queues;
  data: string;
  /** Name of an active libvirt network; unset: user-mode networking. */
  network: string | undefined;
  onProgress: (title: string, progress: StepProgress) => void;
}

/** Whether a template has been made here before, by anyone: then neither sample nor first clone is wanted. */
export async function isFirstStart(db: Db): Promise<boolean> {
  return (await db.prisma.template.count()) === 0 && (await db.prisma.operation.count()) === 0;
}

/** Builds the sample image and imports it. Resolves with the template's version. */
export async function makeSampleTemplate(parts: SampleParts, say: (line: string) => void): Promise<string> {
  const image = await ensureSampleImage(join(parts.data, 'cache'), say);
  const request = importRequestSchema.parse({
    template: SAMPLE_TEMPLATE,
    description: 'A small real Linux with a guest agent, to try Offshoot with.',
    hostId: HOST_ID,
    imagePath: image,
    osName: 'Offshoot sample guest',
    vcpus: 1,
    memoryMiB: 128,
    ...(parts.network === undefined ? {} : { network: parts.network }),
  });
  await perform(
    parts,
    await requestImport(parts.db, { userId: null, idempotencyKey: `sample-${Date.now()}`, request }),
  );
  const version = await parts.db.prisma.templateVersion.findFirst({
    where: { template: { name: SAMPLE_TEMPLATE } },
    orderBy: { number: 'desc' },
  });
  if (!version)
    throw new OffshootError('internal', {
      publicMessage: 'The sample template was imported but is not in the catalog.',
    });
  return version.id;
}

/** Clones the sample and waits for the clone's agent. */
export async function makeFirstClone(
  parts: SampleParts,
  versionId: string,
): Promise<OperationResult & { name: string }> {
  const name = await freeName(parts.db);
  const request = cloneRequestSchema.parse({
    source: { type: 'template', versionId },
    mode: 'linked',
    names: [name],
  });
  const result = await perform(
    parts,
    await requestClone(parts.db, { userId: null, idempotencyKey: `first-clone-${Date.now()}`, request }),
  );
  return { ...result, name };
}

/** Another data folder's first clone may live on this host already: first-clone, first-clone-2, … */
async function freeName(db: Db): Promise<string> {
  const rows = await db.prisma.guest.findMany({
    where: { hostId: HOST_ID, name: { startsWith: FIRST_CLONE } },
    select: { name: true },
  });
  const taken = new Set(rows.map((row) => row.name));
  if (!taken.has(FIRST_CLONE)) return FIRST_CLONE;
  let number = 2;
  while (taken.has(`${FIRST_CLONE}-${number}`)) number++;
  return `${FIRST_CLONE}-${number}`;
}

/** Rings for the batch's one operation and follows it to its end. @throws OffshootError with the operation's own words. */
async function perform(
  { db, queues, onProgress }: SampleParts,
  batch: BatchResult,
): Promise<OperationResult> {
  const [operationId] = batch.operationIds;
  if (operationId === undefined)
    throw new OffshootError('internal', { publicMessage: 'No operation was made.' });
  const hub = await openEventHub(db);
  const stop = new AbortController();
  try {
    for (const job of batch.jobs) await queues.enqueueOperation(job);
    let titles: string[] = [];
    for await (const event of streamFrom(db, hub, {
      cursor: '0',
      filter: { operationId },
      signal: stop.signal,
    })) {
      const { data } = event;
      if (data.type === 'plan') titles = data.plan.steps.map((step) => step.title);
      if (data.type === 'step' && data.status.state === 'running')
        onProgress(titles[data.index] ?? '', data.status.progress ?? {});
      if (data.type === 'progress') onProgress(titles[data.index] ?? '', data.progress);
      if (data.type === 'state' && isEnded(data.state)) {
        if (data.state === 'finished') return data.result ?? {};
        throw new OffshootError(data.error?.code ?? 'internal', {
          publicMessage: data.error?.message ?? `It ended ${data.state}.`,
          ...(data.error?.remedy === undefined ? {} : { remedy: data.error.remedy }),
        });
      }
    }
    throw new OffshootError('internal', {
      publicMessage: 'The event stream ended before the operation did.',
    });
  } finally {
    stop.abort();
    await hub.close();
  }
}
