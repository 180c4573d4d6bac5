import { cloneRequestSchema, guestQuestionSchema } from '@offshoot/clone-core/contract';
import { dutyProblem } from '@offshoot/db/duty';
import { exporterOf, refuseQuestion } from '@offshoot/db/operations';
import { checkIdentity } from '../identity/door.ts';
import { hostOfGuest, hostOfSource } from '../sources.ts';
import { previewPlaced } from '../placement.ts';
import { db, queues } from '../services.ts';
import { procedure, router } from './init.ts';

export const previewRouter = router({
  /** What a clone request would do, as its host's worker plans it now. */
  clone: procedure.input(cloneRequestSchema).query(async ({ input }) => {
    if (input.placement) {
      const placed = await previewPlaced(db(), (hostId, request) => queues().preview(hostId, request), input);
      await checkIdentity(input, placed.placement?.shares.map(({ hostId }) => hostId) ?? []);
      return placed;
    }
    const hostId = input.hostId ?? (await hostOfSource(input.source));
    const resting = await dutyProblem(db(), hostId);
    if (resting) throw resting;
    await checkIdentity(input, [hostId]);
    return queues().preview(hostId, input);
  }),

  /** What a change to a guest, or an export, would do, as the worker of its host plans it now. */
  guest: procedure.input(guestQuestionSchema).query(async ({ input }) => {
    const hostId =
      input.kind === 'export-version'
        ? (await exporterOf(db().pool, input.versionId)).hostId
        : await hostOfGuest(input.guestId);
    await refuseQuestion(db(), input);
    return { ...(await queues().previewGuest(hostId, input)), hostId };
  }),
});
