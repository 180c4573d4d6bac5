/** What people wait for while they decide: previews, drift, who stands on a base. Reads only. */
import type { AnyDriver } from '@offshoot/clone-core/drivers';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Db } from '@offshoot/db/client';
import { baseOf, guestOnBase } from '@offshoot/db/operations';
import type { PreviewServer } from '@offshoot/queue/serve';
import { randomIds } from './ids.ts';
import { previewClone, previewGuest } from './preview.ts';

/** A host that hangs must not hold them for ever, milliseconds. */
const PATIENCE_MS = 14_000;

/** The answers by the reads' names. Each @throws OffshootError as the driver does. */
export function readsOf(db: Db, driver: AnyDriver, hostId: string): PreviewServer['answers'] {
  const patience = (): AbortSignal => AbortSignal.timeout(PATIENCE_MS);
  return {
    preview: ({ request }) => previewClone(db, driver, hostId, request, patience()),
    drift: async ({ guestId }) => {
      const { guest, base } = await guestOnBase(db, guestId);
      return driver.drift(guest, base, patience());
    },
    'guest-plan': ({ question }) => previewGuest(db, driver, hostId, question, patience()),
    'base-users': async ({ baseId }) => {
      const { label, base } = await baseOf(db, baseId);
      try {
        // Planning its removal is the driver's own check: it refuses what is in use.
        const request = { kind: 'remove-base', label, base } as const;
        driver.plan(request, await driver.inspect(request, patience()), randomIds);
        return null;
      } catch (thrown) {
        if (thrown instanceof OffshootError && thrown.code === 'in-use') return thrown.publicMessage;
        throw thrown;
      }
    },
  };
}
