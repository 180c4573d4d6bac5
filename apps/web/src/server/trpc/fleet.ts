import { hostIdSchema } from '@offshoot/clone-core/contract';
import { duties } from '@offshoot/clone-core/contract/joining';
import { OffshootError } from '@offshoot/clone-core/errors';
import { setDuty } from '@offshoot/db/duty';
import { makeJoinToken, makeRejoinToken } from '@offshoot/db/joining';
import { hostContents, refuseRemoval, removeHost } from '@offshoot/db/remove-host';
import { z } from 'zod';
import { invitation } from '../fleet/invitation.ts';
import { revoke } from '../fleet/revoke.ts';
import { db } from '../services.ts';
import { procedure, router } from './init.ts';

/** Who decides which machines belong to the portal. */
const administration = procedure.use(({ ctx, next }) => {
  if (ctx.signed.role !== 'admin')
    throw new OffshootError('not-allowed', {
      publicMessage: 'Only administrators add, rest and remove hosts.',
      remedy: 'Ask one of them.',
    });
  return next();
});
const host = z.strictObject({ id: hostIdSchema });

export const fleetRouter = router({
  /** A one-time token for a new host, with all that its line needs. */
  invite: administration
    .input(
      z.strictObject({
        name: z
          .string()
          .trim()
          .min(1, 'Give the host a name.')
          .max(40, 'A host’s name has at most 40 characters.')
          .regex(
            /^[\p{L}\p{N}][\p{L}\p{N} ._-]*$/u,
            'A host’s name has letters, digits, spaces, dots and dashes.',
          ),
      }),
    )
    .mutation(({ ctx, input }) =>
      invitation(ctx.headers, () => makeJoinToken(db(), { name: input.name, userId: ctx.signed.userId })),
    ),

  /** The same for a host that is there: its machine was set up anew, or its credential was revoked. */
  inviteAgain: administration
    .input(host)
    .mutation(({ ctx, input }) =>
      invitation(ctx.headers, () => makeRejoinToken(db(), { hostId: input.id, userId: ctx.signed.userId })),
    ),

  /** Its worker stops working, at once. */
  revoke: administration.input(host).mutation(({ input }) => revoke(input.id)),

  setDuty: administration
    .input(host.extend({ duty: z.enum(duties) }))
    .mutation(({ input }) => setDuty(db(), input.id, input.duty)),

  /** What would go with it. */
  contents: administration.input(host).query(({ input }) => hostContents(db().pool, input.id)),

  remove: administration.input(host.extend({ forget: z.boolean() })).mutation(async ({ input }) => {
    await refuseRemoval(db(), input.id, { forget: input.forget });
    await revoke(input.id);
    await removeHost(db(), input.id, { forget: input.forget });
  }),
});
