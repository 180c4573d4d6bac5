import { OffshootError } from '@offshoot/clone-core/errors';
import { z } from 'zod';
import { blastOfBase, blastOfGuests, lineageGraph } from '../lineage.ts';
import { db, queues } from '../services.ts';
import { procedure, router } from './init.ts';

const focus = z.strictObject({ type: z.enum(['guest', 'template']), id: z.uuid() });

export const lineageRouter = router({
  /** Everything, or the tree that one guest or template is in. */
  graph: procedure
    .input(z.strictObject({ focus: focus.nullish() }).prefault({}))
    .query(({ input }) => lineageGraph(input.focus ?? undefined)),

  /** How far a guest has drifted from its base, as its host's worker reads it now. */
  drift: procedure.input(z.strictObject({ guestId: z.uuid() })).query(async ({ input }) => {
    const guest = await db().prisma.guest.findUnique({
      where: { id: input.guestId },
      select: { hostId: true },
    });
    if (!guest)
      throw new OffshootError('not-found', {
        publicMessage: 'There is no such guest. It may have been deleted.',
      });
    return queues().drift(guest.hostId, input.guestId);
  }),

  /** What depends on guests that are to be deleted. */
  blastOfGuests: procedure
    .input(z.strictObject({ guestIds: z.array(z.uuid()).min(1).max(500) }))
    .query(({ input }) => blastOfGuests(input.guestIds)),

  /** What depends on a base, as the database knows it. */
  blastOfBase: procedure
    .input(z.strictObject({ baseId: z.uuid() }))
    .query(({ input }) => blastOfBase(input.baseId)),

  /** What stands on a base as its host itself finds it, guests of other tools included; null: nothing. */
  baseUsers: procedure.input(z.strictObject({ baseId: z.uuid() })).query(async ({ input }) => {
    const base = await db().prisma.base.findUnique({
      where: { id: input.baseId },
      select: { hostId: true },
    });
    if (!base)
      throw new OffshootError('not-found', {
        publicMessage: 'That base does not exist any more.',
        remedy: 'Reload the page.',
      });
    return { users: await queues().baseUsers(base.hostId, input.baseId) };
  }),
});
