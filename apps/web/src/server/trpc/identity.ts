import type { AttestedIdentity, IdentityOutcome } from '@offshoot/clone-core/contract/identity';
import { OffshootError } from '@offshoot/clone-core/errors';
import { agents } from '@offshoot/clone-core/identity/agents';
import { sharedIdentities } from '@offshoot/db/identity';
import { z } from 'zod';
import { certificatesOf } from '../identity/certificates.ts';
import { hashGuestPassword, sealForGuest } from '../identity/door.ts';
import { db } from '../services.ts';
import { procedure, router } from './init.ts';

export const identityRouter = router({
  /** Guests that share what must be unique. */
  alarms: procedure.query(() => sharedIdentities(db())),

  /** What a guest was made to be, what its agent says now, and its certificates. */
  ofGuest: procedure.input(z.object({ id: z.uuid() })).query(async ({ input }) => {
    const row = await db().prisma.guest.findUnique({
      where: { id: input.id },
      select: { identity: true, attested: true, attestedAt: true },
    });
    if (!row)
      throw new OffshootError('not-found', {
        publicMessage: 'There is no such guest. It may have been deleted.',
      });
    return {
      outcome: row.identity as unknown as IdentityOutcome | null,
      attested: row.attested as unknown as AttestedIdentity | null,
      attestedAt: row.attestedAt?.toISOString() ?? null,
      certificates: await certificatesOf(input.id),
    };
  }),

  /** Agents whose own identity can be reset. */
  agents: procedure.query(() => agents.map(({ id, name, note }) => ({ id, name, note }))),

  /** A guest user's password goes in here and its hash comes out; the clear text is kept nowhere. */
  hashPassword: procedure
    .input(
      z.strictObject({
        password: z.string().min(1, 'Type a password.').max(200, 'A password has at most 72 bytes here.'),
      }),
    )
    .mutation(async ({ input }) => ({ passwordHash: await hashGuestPassword(input.password) })),

  /** A secret that a Windows guest needs in clear goes in here and comes out sealed. */
  seal: procedure
    .input(
      z.strictObject({ secret: z.string().min(1, 'Type a password.').max(500, 'At most 500 characters.') }),
    )
    .mutation(({ input }) => ({ sealed: sealForGuest(input.secret) })),
});
