/** Keeping claims alive, giving them back, and finding what nobody works on. */
import type { OperationState } from '@offshoot/clone-core/contract';
import { CLAIM_EXPIRES_SECONDS, IN_MAINTENANCE, type Claim } from './claims.ts';
import type { Db } from './client.ts';
import { appendEvents } from './events.ts';
import { listen } from './listen.ts';
import { persistently, transaction, type Patience } from './transaction.ts';
import type { JobRef } from './types.ts';

/**
 * Lets go of operations without ending them (shutdown): the next worker goes on where they stand. One that has not
 * begun a step is queued again. Resolves with what was still held.
 */
export function giveBack(
  db: Db,
  held: readonly Pick<Claim, 'operationId' | 'token'>[],
  patience: Patience = {},
): Promise<string[]> {
  return persistently(
    () =>
      transaction(db, async (tx) => {
        const { rows } = await tx.query<{
          id: string;
          hostId: string;
          guestId: string | null;
          state: OperationState;
        }>(
          `UPDATE "operation" o SET "claimToken" = NULL, "claimedBy" = NULL, "heartbeatAt" = NULL,
         "state" = CASE WHEN o."state" = 'running' AND COALESCE(o."steps" -> 0 ->> 'state', 'pending') = 'pending' THEN 'queued' ELSE o."state" END,
         "plan" = CASE WHEN o."state" = 'running' AND COALESCE(o."steps" -> 0 ->> 'state', 'pending') = 'pending' THEN NULL ELSE o."plan" END
       FROM unnest($1::uuid[], $2::uuid[]) AS h("id", "token")
       WHERE o."id" = h."id" AND o."claimToken" = h."token" AND o."state" IN ('running', 'undoing')
       RETURNING o."id", o."hostId", o."guestId", o."state"`,
          [held.map((one) => one.operationId), held.map((one) => one.token)],
        );
        const queued = rows.filter((row) => row.state === 'queued');
        await appendEvents(
          tx,
          queued.map((row) => ({
            operationId: row.id,
            hostId: row.hostId,
            guestId: row.guestId,
            data: { type: 'state', state: 'queued' },
          })),
        );
        return rows.map((row) => row.id);
      }),
    patience,
  );
}

export interface HeldOperation {
  operationId: string;
  token: string;
  cancelRequested: boolean;
}

/** One UPDATE keeps these claims alive, and no other of the same worker; what it does not answer with has been lost. */
export async function heartbeat(
  db: Db,
  held: readonly Pick<Claim, 'operationId' | 'token'>[],
): Promise<HeldOperation[]> {
  const { rows } = await db.pool.query<HeldOperation>({
    name: 'heartbeat',
    text: `UPDATE "operation" o SET "heartbeatAt" = clock_timestamp()
     FROM unnest($1::uuid[], $2::uuid[]) AS h("id", "token")
     WHERE o."id" = h."id" AND o."claimToken" = h."token" AND o."state" IN ('running', 'undoing')
     RETURNING o."id" AS "operationId", o."claimToken" AS "token", o."cancelRequestedAt" IS NOT NULL AS "cancelRequested"`,
    values: [held.map((one) => one.operationId), held.map((one) => one.token)],
  });
  return rows;
}

/** Operations of these hosts that a worker should be at: queued ones, and those whose worker has gone. Oldest first. */
export async function listRunnable(db: Db, hostIds: readonly string[], limit = 200): Promise<JobRef[]> {
  const { rows } = await db.pool.query<JobRef>({
    name: 'runnable',
    text: `SELECT "id" AS "operationId", "hostId", "lane", "attempts" AS "attempt" FROM "operation" o WHERE "hostId" = ANY($1::text[]) AND (("state" = 'queued' AND NOT (${IN_MAINTENANCE}))
       OR ("state" IN ('running', 'undoing') AND ("claimToken" IS NULL OR "heartbeatAt" < clock_timestamp() - make_interval(secs => $2))))
     ORDER BY "id" LIMIT $3`,
    values: [hostIds, CLAIM_EXPIRES_SECONDS, limit],
  });
  return rows;
}

/**
 * Calls back within milliseconds of a cancel of a running operation, until the signal aborts. One missed during a
 * restart of PostgreSQL is told by the next heartbeat. Resolves once it listens; `ended` after the abort.
 */
export function watchCancels(
  db: Db,
  onCancel: (operationId: string) => void,
  signal: AbortSignal,
): Promise<{ ended: Promise<void> }> {
  const told = async (operationId: string): Promise<void> => {
    if (!/^[0-9a-f-]{36}$/.test(operationId)) return;
    const { rowCount } = await db.pool.query(
      'SELECT 1 FROM "operation" WHERE "id" = $1 AND "cancelRequestedAt" IS NOT NULL',
      [operationId],
    );
    if (rowCount === 1) onCancel(operationId);
  };
  // Anyone who signs in may notify: the row says whether it was asked for. Unread, it is told by the next heartbeat.
  const onNotify = (operationId: string): void => void told(operationId).catch(() => undefined);
  return listen(db.url, 'offshoot_cancel', { onNotify }, signal);
}
