/** Shapes that are stored in, or answered from, operation rows. */
import type { PrismaClient } from './generated/client.ts';
import {
  cloneModes,
  cloneOptionsSchema,
  exportFormats,
  guestNameSchema,
  networkSchema,
  importRequestSchema,
  placementSchema,
  refreshOptionsSchema,
  snapshotNameSchema,
  sourceSchema,
  verifyDepths,
  type CloneMode,
  type Lane,
} from '@offshoot/clone-core/contract';
import { z } from 'zod';

export const captureTemplateSchema = z.strictObject({
  name: guestNameSchema,
  description: z.string().max(500).default(''),
});
/** Catalog entry that a capture makes, or adds a version to. */
export type CaptureTemplate = z.infer<typeof captureTemplateSchema>;

/** Clones of these modes stand on a base; of a guest it is captured first. */
export const needsBase = (mode: CloneMode): boolean => mode === 'linked' || mode === 'memory';

/** What is stored in `operation.request`: everything needed to perform the operation, or to ask for it again. */
export const storedRequestSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('clone'),
    source: sourceSchema,
    mode: z.enum(cloneModes),
    name: guestNameSchema,
    options: cloneOptionsSchema,
    /** Its host was chosen so, and may be chosen again. */
    placement: placementSchema.optional(),
    /** Place among the names that were asked for together; a retry keeps it. */
    index: z.int().min(0).default(0),
  }),
  /** Without `template`: the hidden base of linked or memory clones of that guest. */
  z.strictObject({
    kind: z.literal('capture'),
    guestId: z.uuid(),
    template: captureTemplateSchema.optional(),
    /** With what runs in it. */
    memory: z.boolean().optional(),
  }),
  z.strictObject({ kind: z.literal('import'), ...importRequestSchema.shape }),
  z.strictObject({
    kind: z.literal('start'),
    waitForAgent: z.boolean(),
    agentTimeoutSeconds: z.int().min(5).max(3600),
  }),
  z.strictObject({ kind: z.literal('stop'), force: z.boolean(), timeoutSeconds: z.int().min(1).max(3600) }),
  z.strictObject({ kind: z.literal('delete') }),
  z.strictObject({ kind: z.literal('remove-base'), baseId: z.uuid() }),
  z.strictObject({ kind: z.literal('verify'), depth: z.enum(verifyDepths) }),
  z.strictObject({
    kind: z.literal('reset'),
    /** When it ran: finish only when its agent answers again. */
    waitForAgent: z.boolean(),
    agentTimeoutSeconds: z.int().min(5).max(3600),
  }),
  z.strictObject({ kind: z.literal('refresh'), options: refreshOptionsSchema }),
  /** Number of the generation that the guest is put back to. */
  z.strictObject({ kind: z.literal('restore'), to: z.int().min(0) }),
  z.strictObject({ kind: z.literal('snapshot'), name: snapshotNameSchema }),
  z.strictObject({ kind: z.literal('revert'), name: snapshotNameSchema }),
  z.strictObject({ kind: z.literal('remove-snapshot'), name: snapshotNameSchema }),
  z.strictObject({ kind: z.literal('promote') }),
  z.strictObject({ kind: z.literal('export'), source: sourceSchema, format: z.enum(exportFormats) }),
  z.strictObject({
    kind: z.literal('migrate'),
    /** Where the guest goes. */
    targetHostId: z.string(),
    network: networkSchema.optional(),
    /** Of the base it stands on, which must stay there until it has come. */
    baseDigest: z.string().optional(),
  }),
  z.strictObject({
    kind: z.literal('transfer'),
    digest: z.string(),
    label: z.string(),
    /** Ids of hosts, in order of preference; some may only be getting it themselves. */
    sources: z.array(z.string()),
    /** The host's own copy is damaged. */
    replace: z.boolean(),
    bytesPerSecond: z.int().min(1).optional(),
  }),
]);
export type StoredRequest = z.infer<typeof storedRequestSchema>;

/** A row of the operation table, as Prisma reads it. */
export type OperationRow = NonNullable<Awaited<ReturnType<PrismaClient['operation']['findUnique']>>>;

/** A doorbell to ring: the row is the truth. */
export interface JobRef {
  operationId: string;
  hostId: string;
  lane: Lane;
  /** How often it was claimed before: a later attempt needs a doorbell of its own. */
  attempt?: number;
}

export interface BatchResult {
  batchId: string;
  /** Of the whole batch, in the order of the request's names; a capture that goes before comes first. */
  operationIds: string[];
  /** The same key was seen before: nothing new was made. */
  repeated: boolean;
  /** Jobs to enqueue now; those that wait for another are rung when it has finished. */
  jobs: JobRef[];
}
