import { revokeWorkers } from '@offshoot/db/workers';
import { access, db } from '../services.ts';

/** Ends a host's credentials in PostgreSQL, then in Redis. Safe to repeat; a host that has none stays as it is. */
export async function revoke(hostId: string): Promise<void> {
  await access().expel(await revokeWorkers(db(), hostId));
}
