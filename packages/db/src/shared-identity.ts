/** Who shares what must be unique: of all guests on all hosts, made by Offshoot or not. */
import type { SharedIdentity } from '@offshoot/clone-core/contract/identity';
import type { Db } from './client.ts';

/** Values that more than one guest has. Who has which value, the view `identity_value` tells. */
const SHARED = `SELECT "field", "value" FROM "guest_identity" GROUP BY "field", "value" HAVING count(*) > 1`;

type Row = Omit<SharedIdentity, 'since'> & { since: Date };

/**
 * What guests share now that must be unique: MAC, UUID, machine id, SSH host key, SID. The latter three as their agents
 * said last, so a guest without an agent is compared by MAC and UUID only. At most 500 values, the newest first.
 */
export async function sharedIdentities(db: Db): Promise<SharedIdentity[]> {
  const { rows } = await db.pool.query<Row>(
    `SELECT v."field", v."value", COALESCE(max(s."since"), clock_timestamp()) AS since,
       json_agg(json_build_object('id', v."guestId", 'name', v."name", 'hostId', v."hostId", 'hostName', h."name",
         'running', v."state" = 'running') ORDER BY v."name", v."guestId") AS guests
     FROM "identity_value" v JOIN (${SHARED}) d USING ("field", "value") JOIN "host" h ON h."id" = v."hostId"
       LEFT JOIN "shared_identity" s USING ("field", "value")
     GROUP BY v."field", v."value" ORDER BY since DESC, v."field", v."value" LIMIT 500`,
  );
  return rows.map((row) => ({ ...row, since: row.since.toISOString() }));
}

/** Remembers since when each value is shared, and forgets those that are not any more. */
export async function noteShared(db: Db): Promise<void> {
  await db.pool.query('SELECT offshoot_note_shared()');
}
