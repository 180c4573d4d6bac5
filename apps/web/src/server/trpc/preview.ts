import { cloneRequestSchema, guestQuestionSchema } from '@offshoot/clone-core/contract';
import { hostOfGuest, hostOfSource } from '../sources.ts';
import { queues } from '../services.ts';
import { procedure, router } from './init.ts';

export const previewRouter = router({
  /** What a clone request would do, as its host's worker plans it now. */
  clone: procedure
    .input(cloneRequestSchema)
    .query(async ({ input }) => queues().preview(await hostOfSource(input.source), input)),

  /** What a change to a guest would do, as its host's worker plans it now. */
  guest: procedure
    .input(guestQuestionSchema)
    .query(async ({ input }) => queues().previewGuest(await hostOfGuest(input.guestId), input)),
});
