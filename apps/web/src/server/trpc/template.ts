import { OffshootError } from '@offshoot/clone-core/errors';
import { cleanSchema } from '@offshoot/clone-core/contract/identity';
import { keepCleaning, listTemplates, templateById } from '@offshoot/db/catalog';
import { z } from 'zod';
import { db } from '../services.ts';
import { templateView } from '../views/template.ts';
import { procedure, router } from './init.ts';

export const templateRouter = router({
  list: procedure.query(async () => (await listTemplates(db())).map(templateView)),
  get: procedure.input(z.object({ id: z.uuid() })).query(async ({ input }) => {
    const found = await templateById(db(), input.id);
    if (!found)
      throw new OffshootError('not-found', {
        publicMessage: 'There is no such template. It may have been deleted.',
      });
    return templateView(found);
  }),
  /** What clones of a template leave out, when nobody says otherwise. */
  clean: procedure.input(z.strictObject({ id: z.uuid(), clean: cleanSchema })).mutation(async ({ input }) => {
    await keepCleaning(db(), input.id, input.clean);
    return { clean: input.clean };
  }),
  /** Guests standing on a version's base: what deleting it would break. */
  children: procedure.input(z.object({ baseId: z.uuid() })).query(({ input }) =>
    db().prisma.guest.findMany({
      where: { baseId: input.baseId },
      select: { id: true, name: true, state: true },
      orderBy: { name: 'asc' },
      take: 200,
    }),
  ),
});
