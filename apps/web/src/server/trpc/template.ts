import { OffshootError } from '@offshoot/clone-core/errors';
import { cleanSchema } from '@offshoot/clone-core/contract/identity';
import { copiesOf, keepCleaning, listTemplates, templateById } from '@offshoot/db/catalog';
import { z } from 'zod';
import { db } from '../services.ts';
import { digestsOf, templateView } from '../views/template.ts';
import { procedure, router } from './init.ts';

/** Guests and hosts of a version that its page names. */
const SHOWN = 12;

export const templateRouter = router({
  list: procedure.query(async () => {
    const rows = await listTemplates(db());
    const copies = await copiesOf(db(), rows.flatMap(digestsOf));
    return rows.map((row) => templateView(row, copies));
  }),
  get: procedure.input(z.object({ id: z.uuid() })).query(async ({ input }) => {
    const found = await templateById(db(), input.id);
    if (!found)
      throw new OffshootError('not-found', {
        publicMessage: 'There is no such template. It may have been deleted.',
      });
    return templateView(found, await copiesOf(db(), digestsOf(found)));
  }),
  /** What clones of a template leave out, when nobody says otherwise. */
  clean: procedure.input(z.strictObject({ id: z.uuid(), clean: cleanSchema })).mutation(async ({ input }) => {
    await keepCleaning(db(), input.id, input.clean);
    return { clean: input.clean };
  }),
  /** The first guests that stand on a version's disks, on any host, and the hosts that have these disks. */
  spread: procedure.input(z.object({ digest: z.string().max(200) })).query(async ({ input: { digest } }) => {
    const [guests, bases] = await Promise.all([
      db().prisma.guest.findMany({
        where: { base: { digest } },
        select: { id: true, name: true },
        orderBy: [{ name: 'asc' }, { id: 'asc' }],
        take: SHOWN,
      }),
      db().prisma.base.findMany({
        where: { digest },
        select: { host: { select: { id: true, name: true } } },
        orderBy: { host: { name: 'asc' } },
        take: SHOWN,
      }),
    ]);
    return { guests, hosts: bases.map(({ host }) => host) };
  }),
});
