import { hostIdSchema } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { z } from 'zod';
import { hostById, listHosts } from '../hosts.ts';
import { log } from '../log.ts';
import { queues } from '../services.ts';
import { procedure, router } from './init.ts';

export const hostRouter = router({
  list: procedure.query(() => listHosts()),
  get: procedure.input(z.object({ id: hostIdSchema })).query(async ({ input }) => {
    const host = await hostById(input.id);
    if (!host) throw new OffshootError('not-found', { publicMessage: `There is no host "${input.id}".` });
    return host;
  }),
  /** Jobs per lane; null when Redis does not answer. */
  lanes: procedure.input(z.object({ id: hostIdSchema })).query(async ({ input }) => {
    try {
      return await queues().counts(input.id);
    } catch (error) {
      log.warn({ err: error }, 'queue counts are unavailable');
      return null;
    }
  }),
});
