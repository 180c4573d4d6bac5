import { cloneRequestSchema } from '@offshoot/clone-core/contract';
import { hostOfSource } from '../sources.ts';
import { queues } from '../services.ts';
import { procedure, router } from './init.ts';

export const previewRouter = router({
  /** What a clone request would do, as its host's worker plans it now. */
  clone: procedure
    .input(cloneRequestSchema)
    .query(async ({ input }) => queues().preview(await hostOfSource(input.source), input)),
});
