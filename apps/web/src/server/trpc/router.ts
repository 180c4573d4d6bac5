import { certificateRouter } from './certificate.ts';
import { fleetRouter } from './fleet.ts';
import { guestRouter } from './guest.ts';
import { hostRouter } from './host.ts';
import { identityRouter } from './identity.ts';
import { router } from './init.ts';
import { lineageRouter } from './lineage.ts';
import { meRouter } from './me.ts';
import { operationRouter } from './operation.ts';
import { overviewRouter } from './overview.ts';
import { previewRouter } from './preview.ts';
import { templateRouter } from './template.ts';

export const appRouter = router({
  certificate: certificateRouter,
  fleet: fleetRouter,
  guest: guestRouter,
  host: hostRouter,
  identity: identityRouter,
  lineage: lineageRouter,
  me: meRouter,
  operation: operationRouter,
  overview: overviewRouter,
  preview: previewRouter,
  template: templateRouter,
});

export type AppRouter = typeof appRouter;
