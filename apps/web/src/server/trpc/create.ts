import {
  snapshotNameSchema,
  agreedSharesSchema,
  cloneRequestSchema,
  guestNameSchema,
  exportFormats,
  hostIdSchema,
  sourceSchema,
  networkSchema,
  importRequestSchema,
  refreshOptionsSchema,
  verifyDepths,
  type PublicError,
} from '@offshoot/clone-core/contract';
import {
  requestCapture,
  requestClone,
  requestDelete,
  requestExport,
  requestImport,
  requestMove,
  requestRefresh,
  requestPromote,
  requestRemoveBase,
  requestReset,
  requestRestore,
  requestSnapshot,
  requestStart,
  requestStop,
  requestTransfer,
  requestVerify,
} from '@offshoot/db/operations';
import type { BatchResult } from '@offshoot/db/types';
import { TRPCError } from '@trpc/server';
import { z } from 'zod';
import { ring, type Accepted } from '../doorbell.ts';
import { publicErrorOf } from '../errors.ts';
import { checkIdentity } from '../identity/door.ts';
import { db } from '../services.ts';
import { hostOfSource } from '../sources.ts';
import { procedure, router } from './init.ts';

/** Made once per opened form or dialog: the same click twice is one operation. */
const idempotencyKey = z.uuid();
/** Of the preview: when the plan is another one by then, nothing is done and the operation shows the new plan. */
const agreedFingerprint = z.string().max(200).optional();
const guestIds = z.array(z.uuid()).min(1, 'Pick at least one guest.').max(500, 'At most 500 guests at once.');

export type BulkResult = { guestId: string } & (
  | ({ ok: true } & Accepted)
  | { ok: false; error: PublicError }
);

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** Without the keys whose value is undefined: what was left out stays left out. */
function defined<T extends object>(input: T): Defined<T> {
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined)) as Defined<T>;
}

/** Asks for one operation per guest; one that can't be asked for does not hold up the others. */
async function forEach(
  ids: readonly string[],
  key: string,
  ask: (guestId: string, key: string) => Promise<BatchResult>,
): Promise<BulkResult[]> {
  const results: BulkResult[] = [];
  for (const guestId of new Set(ids)) {
    try {
      results.push({
        guestId,
        ok: true,
        ...(await ring(await ask(guestId, ids.length === 1 ? key : `${key}:${guestId}`))),
      });
    } catch (error) {
      // One guest: the call itself fails, with its proper code.
      if (ids.length === 1) throw error;
      const wrapped = new TRPCError({ code: 'INTERNAL_SERVER_ERROR', cause: error });
      results.push({ guestId, ok: false, error: publicErrorOf(wrapped) });
    }
  }
  return results;
}

async function wasAsked(userId: string, key: string): Promise<boolean> {
  return (await db().prisma.operation.count({ where: { requestedById: userId, idempotencyKey: key } })) > 0;
}

export const createRouter = router({
  clone: procedure
    .input(
      z.strictObject({
        idempotencyKey,
        request: cloneRequestSchema,
        agreedFingerprint,
        /** Where hosts were chosen: which gets what, as the preview said. */
        agreedShares: agreedSharesSchema.optional(),
      }),
    )
    .mutation(async ({ ctx, input }) => {
      // Of a click that was answered before, the addresses are taken: by its own guests.
      if (!(await wasAsked(ctx.signed.userId, input.idempotencyKey)))
        await checkIdentity(
          input.request,
          input.agreedShares?.map(({ hostId }) => hostId) ??
            input.request.placement?.hostIds ?? [
              input.request.hostId ?? (await hostOfSource(input.request.source)),
            ],
        );
      return ring(await requestClone(db(), { userId: ctx.signed.userId, ...defined(input) }));
    }),

  import: procedure
    .input(z.strictObject({ idempotencyKey, request: importRequestSchema }))
    .mutation(async ({ ctx, input }) =>
      ring(await requestImport(db(), { userId: ctx.signed.userId, ...input })),
    ),

  capture: procedure
    .input(
      z.strictObject({
        idempotencyKey,
        guestId: z.uuid(),
        template: z.strictObject({ name: guestNameSchema, description: z.string().max(500).default('') }),
        /** A warm template: with what runs in the guest. */
        memory: z.boolean().optional(),
        agreedFingerprint,
      }),
    )
    .mutation(async ({ ctx, input }) =>
      ring(await requestCapture(db(), { userId: ctx.signed.userId, ...defined(input) })),
    ),

  /** Brings a template version to hosts that do not have it. */
  transfer: procedure
    .input(
      z.strictObject({
        idempotencyKey,
        versionId: z.uuid(),
        hostIds: z.array(hostIdSchema).min(1, 'Choose at least one host.').max(500),
        /** Each host takes it no faster than this. */
        bytesPerSecond: z.int().min(1024).optional(),
      }),
    )
    .mutation(async ({ ctx, input: { bytesPerSecond, ...input } }) =>
      ring(
        await requestTransfer(db(), {
          userId: ctx.signed.userId,
          ...input,
          ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
        }),
      ),
    ),

  start: procedure
    .input(z.strictObject({ idempotencyKey, guestIds, waitForAgent: z.boolean().default(false) }))
    .mutation(({ ctx, input }) =>
      forEach(input.guestIds, input.idempotencyKey, (guestId, key) =>
        requestStart(db(), {
          userId: ctx.signed.userId,
          idempotencyKey: key,
          guestId,
          waitForAgent: input.waitForAgent,
        }),
      ),
    ),

  stop: procedure
    .input(z.strictObject({ idempotencyKey, guestIds, force: z.boolean().default(false) }))
    .mutation(({ ctx, input }) =>
      forEach(input.guestIds, input.idempotencyKey, (guestId, key) =>
        requestStop(db(), { userId: ctx.signed.userId, idempotencyKey: key, guestId, force: input.force }),
      ),
    ),

  delete: procedure
    .input(z.strictObject({ idempotencyKey, guestIds }))
    .mutation(({ ctx, input }) =>
      forEach(input.guestIds, input.idempotencyKey, (guestId, key) =>
        requestDelete(db(), { userId: ctx.signed.userId, idempotencyKey: key, guestId }),
      ),
    ),

  verify: procedure
    .input(z.strictObject({ idempotencyKey, guestId: z.uuid(), depth: z.enum(verifyDepths) }))
    .mutation(async ({ ctx, input }) =>
      ring(await requestVerify(db(), { userId: ctx.signed.userId, ...input })),
    ),

  snapshot: procedure
    .input(
      z.strictObject({
        idempotencyKey,
        guestId: z.uuid(),
        kind: z.enum(['snapshot', 'revert', 'remove-snapshot']),
        name: snapshotNameSchema,
        agreedFingerprint,
      }),
    )
    .mutation(async ({ ctx, input }) =>
      ring(await requestSnapshot(db(), { userId: ctx.signed.userId, ...defined(input) })),
    ),

  /** Writes a guest's or a template version's disks into files for other hypervisors. */
  export: procedure
    .input(
      z.strictObject({
        idempotencyKey,
        source: sourceSchema,
        format: z.enum(exportFormats),
        agreedFingerprint,
      }),
    )
    .mutation(async ({ ctx, input }) =>
      ring(await requestExport(db(), { userId: ctx.signed.userId, ...defined(input) })),
    ),

  /** Moves a guest, running or stopped, to another host. */
  migrate: procedure
    .input(
      z.strictObject({
        idempotencyKey,
        guestId: z.uuid(),
        hostId: hostIdSchema,
        network: networkSchema.optional(),
        agreedFingerprint,
      }),
    )
    .mutation(async ({ ctx, input }) =>
      ring(await requestMove(db(), { userId: ctx.signed.userId, ...defined(input) })),
    ),

  promote: procedure
    .input(z.strictObject({ idempotencyKey, guestId: z.uuid(), agreedFingerprint }))
    .mutation(async ({ ctx, input }) =>
      ring(await requestPromote(db(), { userId: ctx.signed.userId, ...defined(input) })),
    ),

  reset: procedure
    .input(
      z.strictObject({
        idempotencyKey,
        guestIds,
        waitForAgent: z.boolean().default(true),
        /** Of one guest. */
        agreedFingerprint,
      }),
    )
    .mutation(({ ctx, input: { guestIds: ids, idempotencyKey: once, ...input } }) =>
      forEach(ids, once, (guestId, key) =>
        requestReset(db(), { userId: ctx.signed.userId, idempotencyKey: key, guestId, ...defined(input) }),
      ),
    ),

  refresh: procedure
    .input(
      z.strictObject({
        idempotencyKey,
        guestId: z.uuid(),
        options: refreshOptionsSchema.prefault({}),
        agreedFingerprint,
      }),
    )
    .mutation(async ({ ctx, input }) =>
      ring(await requestRefresh(db(), { userId: ctx.signed.userId, ...defined(input) })),
    ),

  restore: procedure
    .input(z.strictObject({ idempotencyKey, guestId: z.uuid(), to: z.int().min(0), agreedFingerprint }))
    .mutation(async ({ ctx, input }) =>
      ring(await requestRestore(db(), { userId: ctx.signed.userId, ...defined(input) })),
    ),

  removeBase: procedure
    .input(
      z.strictObject({
        idempotencyKey,
        baseId: z.uuid(),
        /** Copies on other hosts stay. */
        onlyHere: z.boolean().optional(),
      }),
    )
    .mutation(async ({ ctx, input }) =>
      ring(await requestRemoveBase(db(), { userId: ctx.signed.userId, ...defined(input) })),
    ),
});
