import { hostIdSchema } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { z } from 'zod';
import { basesOn } from '../hosts/bases.ts';
import { bringPreview } from '../hosts/bring.ts';
import { healthOf } from '../hosts/health.ts';
import {
  fleetSums,
  hostById,
  hostChoices,
  hostNames,
  hostPage,
  hostSorts,
  listHosts,
} from '../hosts/list.ts';
import { transfersNow } from '../hosts/transfers.ts';
import { log } from '../log.ts';
import { queues } from '../services.ts';
import { hostStates } from '../views/host.ts';
import { procedure, router } from './init.ts';

const one = z.object({ id: hostIdSchema });

const pageInput = z.object({
  search: z.string().max(200).default(''),
  state: z.enum(hostStates).nullish(),
  accelerator: z.enum(['kvm', 'tcg', 'simulated']).nullish(),
  sort: z.enum(hostSorts).default('name'),
  descending: z.boolean().default(false),
  page: z.int().min(1).max(100_000).default(1),
  pageSize: z.int().min(1).max(200).default(50),
});

export const hostRouter = router({
  /** Every host with all that is known of it. Pages use `page` or `names`. */
  list: procedure.query(() => listHosts()),
  choices: procedure.query(() => hostChoices()),
  names: procedure.query(() => hostNames()),
  page: procedure.input(pageInput.prefault({})).query(async ({ input }) => {
    const [page, fleet] = await Promise.all([hostPage(input), fleetSums()]);
    return { ...page, fleet };
  }),
  get: procedure.input(one).query(async ({ input }) => {
    const host = await hostById(input.id);
    if (!host) throw new OffshootError('not-found', { publicMessage: `There is no host "${input.id}".` });
    return host;
  }),
  /** Jobs per lane; null when Redis does not answer. */
  lanes: procedure.input(one).query(async ({ input }) => {
    try {
      return await queues().counts(input.id);
    } catch (error) {
      log.warn({ err: error }, 'queue counts are unavailable');
      return null;
    }
  }),
  /** Bases on their way: of one host, or of all. */
  transfers: procedure
    .input(z.object({ id: hostIdSchema.optional() }).prefault({}))
    .query(({ input }) => transfersNow(input.id)),
  bases: procedure.input(one).query(({ input }) => basesOn(input.id)),
  health: procedure
    .input(one.extend({ span: z.enum(['hour', 'day']).default('hour') }))
    .query(({ input }) => healthOf(input.id, input.span)),
  /** What bringing a template version to each host would move. */
  bring: procedure
    .input(z.object({ versionId: z.uuid() }))
    .query(({ input }) => bringPreview(input.versionId)),
});
