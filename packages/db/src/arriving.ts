/** Guests that are on their way from one host to another, and what becomes of their rows. Internal to this package. */
import { inventoryEvent } from './ask.ts';
import type { Db } from './client.ts';
import type { NewEvent } from './events.ts';
import type { Tx } from './transaction.ts';

const UNDERWAY = `('waiting', 'queued', 'running', 'undoing')`;

/**
 * Which of the names belong to guests on their way to the host. The caller holds the lock on reservations: whoever
 * reserves a name there and whoever sends one there take turns.
 */
export async function namesGoingTo(tx: Tx, hostId: string, names: readonly string[]): Promise<string[]> {
  const { rows } = await tx.query<{ title: string }>(
    `SELECT "title" FROM "operation" WHERE "kind" = 'migrate' AND "request" ->> 'targetHostId' = $1
       AND "title" = ANY($2::text[]) AND "state" IN ${UNDERWAY} ORDER BY 1`,
    [hostId, names],
  );
  return rows.map(({ title }) => title);
}

/** Whether that operation brings a guest from the one host to the other just now. */
export async function mayArrive(db: Db, operationId: string, from: string, to: string): Promise<boolean> {
  const { rowCount } = await db.pool.query(
    `SELECT 1 FROM "operation" WHERE "id" = $1 AND "kind" = 'migrate' AND "hostId" = $2
       AND "request" ->> 'targetHostId' = $3 AND "state" IN ('running', 'undoing')`,
    [operationId, from, to],
  );
  return rowCount === 1;
}

/** The guest's row goes to its new host, as the plan of the operation that just finished says. Resolves with what to tell. */
export async function settleMove(
  tx: Tx,
  operationId: string,
  guestId: string | null,
  hostId: string,
): Promise<NewEvent[]> {
  await tx.query('SELECT pg_advisory_xact_lock(7067463, hashtext($1))', [hostId]);
  await tx.query('SELECT offshoot_settle_move($1)', [operationId]);
  return guestId === null ? [] : [inventoryEvent(hostId, [guestId])];
}
