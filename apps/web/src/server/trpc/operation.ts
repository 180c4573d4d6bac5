import { endedStates, hostIdSchema, operationKinds } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { requestCancel, requestRetry } from '@offshoot/db/operations';
import { z } from 'zod';
import { ring } from '../doorbell.ts';
import { operationById, operationLog, queueAhead } from '../operations.ts';
import { db } from '../services.ts';
import { operationInclude, operationView } from '../views/operation.ts';
import { procedure, router } from './init.ts';
import { onEvent, onEvents } from './live.ts';
import { createRouter } from './create.ts';

const listInput = z.object({
  show: z.enum(['all', 'active', 'failed', 'finished']).default('all'),
  kind: z.enum(operationKinds).nullish(),
  hostId: hostIdSchema.nullish(),
  guestId: z.uuid().nullish(),
  search: z.string().max(200).default(''),
  limit: z.int().min(1).max(200).default(50),
  cursor: z.uuid().nullish(),
});

const statesFor = {
  all: {},
  active: { state: { notIn: [...endedStates] } },
  failed: { state: { in: ['failed', 'cancelled', 'stale'] } },
  finished: { state: 'finished' },
};

export const operationRouter = router({
  /** Newest first. A cursor is the last id of the page before; that of the first page is null. */
  list: procedure.input(listInput.prefault({})).query(async ({ input: { cursor, limit, ...input } }) => {
    const where = {
      ...statesFor[input.show],
      ...(input.kind ? { kind: input.kind } : {}),
      ...(input.hostId ? { hostId: input.hostId } : {}),
      ...(input.guestId ? { guestId: input.guestId } : {}),
      ...(input.search.trim() === ''
        ? {}
        : { title: { contains: input.search.trim(), mode: 'insensitive' as const } }),
    };
    const [rows, newer] = await Promise.all([
      db().prisma.operation.findMany({
        where: { ...where, ...(cursor ? { id: { lt: cursor } } : {}) },
        include: operationInclude,
        orderBy: { id: 'desc' },
        take: limit + 1,
      }),
      cursor
        ? db().prisma.operation.findMany({
            where: { ...where, id: { gte: cursor } },
            select: { id: true },
            orderBy: { id: 'asc' },
            take: limit + 1,
          })
        : [],
    ]);
    const page = rows.slice(0, limit).map(operationView);
    return {
      operations: page,
      nextCursor: rows.length > limit ? (page.at(-1)?.id ?? null) : null,
      newerCursor: newer[limit]?.id ?? null,
    };
  }),

  get: procedure.input(z.object({ id: z.uuid() })).query(({ input }) => operationById(input.id)),

  /** How many operations of its lane go before this queued one. */
  ahead: procedure.input(z.object({ id: z.uuid() })).query(({ input }) => queueAhead(input.id)),

  /** Lines of its log so far; later ones come as events after `cursor`. */
  log: procedure.input(z.object({ id: z.uuid() })).query(({ input }) => operationLog(input.id)),

  batch: procedure.input(z.object({ batchId: z.uuid() })).query(async ({ input }) => {
    const rows = await db().prisma.operation.findMany({
      where: { batchId: input.batchId },
      include: operationInclude,
      orderBy: { id: 'asc' },
    });
    if (rows.length === 0)
      throw new OffshootError('not-found', { publicMessage: 'There is no such batch of operations.' });
    return rows.map(operationView);
  }),

  /** How many operations one click asked for. */
  together: procedure
    .input(z.object({ batchId: z.uuid() }))
    .query(({ input }) => db().prisma.operation.count({ where: { batchId: input.batchId } })),

  create: createRouter,

  cancel: procedure
    .input(z.strictObject({ id: z.uuid() }))
    .mutation(({ input }) => requestCancel(db(), input.id)),

  /** Cancels whatever of the batch has not ended. */
  cancelBatch: procedure.input(z.strictObject({ batchId: z.uuid() })).mutation(async ({ input }) => {
    const rows = await db().prisma.operation.findMany({
      where: { batchId: input.batchId, state: { notIn: [...endedStates] } },
      select: { id: true },
      orderBy: { id: 'desc' },
    });
    for (const row of rows) await requestCancel(db(), row.id);
    return { cancelled: rows.length };
  }),

  retry: procedure
    .input(z.strictObject({ id: z.uuid(), idempotencyKey: z.uuid() }))
    .mutation(async ({ ctx, input }) =>
      ring(
        await requestRetry(db(), {
          userId: ctx.signed.userId,
          operationId: input.id,
          idempotencyKey: input.idempotencyKey,
        }),
      ),
    ),

  onEvent,
  onEvents,
});
