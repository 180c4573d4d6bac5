import { cloneModes, guestStates, hostIdSchema } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { acceptDefinition, adoptGuest } from '@offshoot/db/inventory';
import { releaseState } from '@offshoot/db/operations';
import { z } from 'zod';
import { needsALook } from '../attention.ts';
import { db } from '../services.ts';
import { guestInclude, guestView, isWindows } from '../views/guest.ts';
import { procedure, router } from './init.ts';

export const guestSorts = ['name', 'state', 'usedBytes', 'createdAt', 'address'] as const;

/** Guests that a list of sources offers at once; the search narrows them. */
const SOURCES = 50;

const listInput = z.object({
  search: z.string().max(200).default(''),
  state: z.enum(guestStates).nullish(),
  hostId: hostIdSchema.nullish(),
  mode: z.enum([...cloneModes, 'found', 'foreign']).nullish(),
  ownerId: z.string().max(64).nullish(),
  /** Those only that someone has to look at. */
  look: z.boolean().default(false),
  sort: z.enum(guestSorts).default('name'),
  descending: z.boolean().default(false),
  page: z.int().min(1).max(100_000).default(1),
  pageSize: z.int().min(1).max(500).default(50),
});

export const guestRouter = router({
  list: procedure.input(listInput.prefault({})).query(async ({ input }) => {
    const like = { contains: input.search.trim(), mode: 'insensitive' as const };
    const where = {
      ...(input.search.trim() === ''
        ? {}
        : {
            OR: [
              { name: like },
              { address: like },
              { sourceName: like },
              { macs: { has: input.search.trim().toLowerCase() } },
            ],
          }),
      ...(input.state ? { state: input.state } : {}),
      ...(input.hostId ? { hostId: input.hostId } : {}),
      ...(input.look ? { AND: [needsALook] } : {}),
      ...(input.ownerId ? { ownerId: input.ownerId } : {}),
      ...(input.mode === 'foreign'
        ? { managed: false }
        : input.mode
          ? { mode: input.mode === 'found' ? null : input.mode }
          : {}),
    };
    const direction = input.descending ? ('desc' as const) : ('asc' as const);
    const nulls = input.sort === 'usedBytes' || input.sort === 'address';
    const order = nulls
      ? { [input.sort]: { sort: direction, nulls: 'last' as const } }
      : { [input.sort]: direction };
    const [total, rows] = await Promise.all([
      db().prisma.guest.count({ where }),
      db().prisma.guest.findMany({
        where,
        include: guestInclude,
        orderBy: [order, { id: 'asc' }],
        skip: (input.page - 1) * input.pageSize,
        take: input.pageSize,
      }),
    ]);
    return { total, guests: rows.map(guestView) };
  }),

  /** How many someone has to look at. */
  toLookAt: procedure.query(() => db().prisma.guest.count({ where: needsALook })),

  get: procedure.input(z.object({ id: z.uuid() })).query(async ({ input }) => {
    const row = await db().prisma.guest.findUnique({ where: { id: input.id }, include: guestInclude });
    if (!row)
      throw new OffshootError('not-found', {
        publicMessage: 'There is no such guest. It may have been deleted.',
      });
    return guestView(row);
  }),

  /** A state kept on purpose is kept no longer: a later refresh removes it. */
  releaseState: procedure
    .input(z.object({ guestId: z.uuid(), number: z.int().min(0) }))
    .mutation(({ input }) => releaseState(db(), input)),

  /** Guests that can be cloned, by name: the first of those that match, and the one that a link means. */
  sources: procedure
    .input(z.object({ search: z.string().max(200).default(''), id: z.uuid().nullish() }).prefault({}))
    .query(async ({ input }) => {
      const select = {
        id: true,
        name: true,
        state: true,
        virtualBytes: true,
        attested: true,
        identity: true,
        templateVersion: { select: { template: { select: { osName: true } } } },
        host: { select: { id: true, name: true } },
      } as const;
      const clonable = { state: { in: ['running', 'stopped', 'paused'] } };
      const [found, linked] = await Promise.all([
        db().prisma.guest.findMany({
          where: { ...clonable, name: { contains: input.search.trim(), mode: 'insensitive' } },
          select,
          orderBy: [{ name: 'asc' }, { id: 'asc' }],
          take: SOURCES + 1,
        }),
        input.id ? db().prisma.guest.findFirst({ where: { ...clonable, id: input.id }, select }) : null,
      ]);
      const shown = found.slice(0, SOURCES);
      if (linked && !shown.some(({ id }) => id === linked.id)) shown.unshift(linked);
      return {
        guests: shown.map(({ id, name, state, host, virtualBytes, ...inside }) => ({
          id,
          name,
          state,
          host,
          windows: isWindows(inside),
          virtualBytes: virtualBytes === null ? null : Number(virtualBytes),
        })),
        more: found.length > SOURCES,
      };
    }),

  /** Names that begin so, of guests of any host: for proposing one that is free. */
  namesLike: procedure.input(z.object({ prefix: z.string().max(100) })).query(async ({ input }) => {
    const rows = await db().prisma.guest.findMany({
      where: { name: { startsWith: input.prefix } },
      select: { name: true },
      distinct: ['name'],
      take: 5000,
    });
    return rows.map(({ name }) => name);
  }),

  /** Guests cloned from this one. */
  clones: procedure.input(z.object({ id: z.uuid() })).query(({ input }) =>
    db().prisma.guest.findMany({
      where: { sourceGuestId: input.id },
      select: { id: true, name: true, state: true, mode: true },
      orderBy: { name: 'asc' },
      take: 200,
    }),
  ),

  /** Takes a guest that others made as one of Offshoot's own. */
  adopt: procedure
    .input(z.strictObject({ guestId: z.uuid(), withDisks: z.boolean() }))
    .mutation(({ ctx, input }) => adoptGuest(db(), { userId: ctx.signed.userId, ...input })),

  /** Takes what others changed of a guest's definition for the right one. */
  acceptDefinition: procedure
    .input(z.strictObject({ guestId: z.uuid() }))
    .mutation(({ input }) => acceptDefinition(db(), input)),

  /** People who own guests, for the filter. */
  owners: procedure.query(() =>
    db().prisma.user.findMany({
      where: { guests: { some: {} } },
      select: { id: true, name: true },
      orderBy: { name: 'asc' },
    }),
  ),
});
