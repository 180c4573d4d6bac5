/** At the portal's start: workers that joined may do what this version's workers do, and Redis knows them. */
import { renewWorkerGrants } from '@offshoot/db/workers';
import { access, db } from '../services.ts';

export async function renewWorkerAccess(): Promise<void> {
  await renewWorkerGrants(db());
  access();
}
