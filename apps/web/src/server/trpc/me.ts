import { z } from 'zod';
import { choosePassword, hasPassword, mayChoosePassword, signOutEverywhereElse } from '../account.ts';
import { procedure, router } from './init.ts';

export const meRouter = router({
  get: procedure.query(async ({ ctx }) => ({
    id: ctx.signed.userId,
    name: ctx.signed.name,
    email: ctx.signed.email,
    role: ctx.signed.role,
    hasPassword: await hasPassword(ctx.signed.userId),
    /** Signed in by link a moment ago: a password can be chosen without the old one. */
    mayChoosePassword: mayChoosePassword(ctx.headers),
  })),
  choosePassword: procedure
    .input(
      z.strictObject({
        newPassword: z
          .string()
          .min(10, 'A password has at least 10 characters.')
          .max(128, 'A password has at most 128 characters.'),
        currentPassword: z.string().max(128).optional(),
      }),
    )
    .mutation(async ({ ctx, input }) => {
      await choosePassword(ctx.headers, input);
      return { done: true as const };
    }),
  signOutEverywhereElse: procedure.mutation(async ({ ctx }) => {
    await signOutEverywhereElse(ctx.headers);
    return { done: true as const };
  }),
});
