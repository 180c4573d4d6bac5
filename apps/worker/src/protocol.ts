/** Whether this worker and the portal's database understand each other. Versions may differ; this number may not. */
import { WORKER_PROTOCOL } from '@offshoot/clone-core/contract/joining';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Db } from '@offshoot/db/client';
import { portalProtocol, reportHost } from '@offshoot/db/inventory';

/** @throws OffshootError `not-allowed`, which the Hosts page then shows too. */
export async function needProtocol(db: Db, hostId: string, version: string): Promise<void> {
  const portal = await portalProtocol(db);
  if (portal === WORKER_PROTOCOL) return;
  const error = new OffshootError('not-allowed', {
    publicMessage: `Its worker is of version ${version}, which this portal can’t work with: it is ${portal > WORKER_PROTOCOL ? 'too old' : 'newer than the portal'}.`,
    remedy:
      portal > WORKER_PROTOCOL
        ? 'Download the worker from the portal (/api/join/worker) and start it again; the host need not join anew.'
        : 'Update the portal, then start the worker again.',
    context: { portal, worker: WORKER_PROTOCOL },
  });
  await reportHost(db, hostId, { problem: [error.publicMessage, error.remedy].join(' ') });
  throw error;
}
