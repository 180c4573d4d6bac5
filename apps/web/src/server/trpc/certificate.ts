import { z } from 'zod';
import { certificateById, certificatesOf, judgeCertificate } from '../identity/certificates.ts';
import { signingKey } from '../identity/key.ts';
import { procedure, router } from './init.ts';

export const certificateRouter = router({
  /** Of one guest, newest first. */
  list: procedure.input(z.object({ guestId: z.uuid() })).query(({ input }) => certificatesOf(input.guestId)),
  /** The whole of one, as it is downloaded. */
  get: procedure.input(z.object({ id: z.uuid() })).query(({ input }) => certificateById(input.id)),
  /** Whether a text is a certificate, who signed it and what it says. */
  verify: procedure
    .input(
      z.strictObject({ text: z.string().max(200_000, 'A certificate has less than 200 000 characters.') }),
    )
    .mutation(({ input }) => judgeCertificate(input.text)),
  /** What certificates of this installation are checked with; null: it has no key. */
  publicKey: procedure.query(() => {
    const key = signingKey();
    return key ? { publicKey: key.publicKey, fingerprint: key.fingerprint } : null;
  }),
});
