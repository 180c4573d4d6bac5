/** How operations end: what happens to guests, bases and followers. Internal to this package; runs inside a transaction. */
import type { OperationKind, OperationState, PublicError } from '@offshoot/clone-core/contract';
import { inventoryEvent } from './ask.ts';
import type { NewEvent } from './events.ts';
import type { Tx } from './transaction.ts';
import type { JobRef } from './types.ts';

export interface EndedRow {
  id: string;
  kind: OperationKind;
  hostId: string;
  guestId: string | null;
  title: string;
}

interface Ending {
  state: Extract<OperationState, 'failed' | 'cancelled' | 'stale'>;
  error?: PublicError;
}

/**
 * Ends operations that never began, and those that wait for them. Their guests' rows go: the names are free again.
 * The caller holds the rows' locks or is their only changer. Returns the events to append.
 */
export async function endUnstarted(
  tx: Tx,
  operationIds: readonly string[],
  ending: Ending,
): Promise<NewEvent[]> {
  if (operationIds.length === 0) return [];
  const { rows } = await tx.query<EndedRow>(
    `UPDATE "operation" SET "state" = $2, "error" = $3, "finishedAt" = clock_timestamp(),
       "cancelRequestedAt" = CASE WHEN $2 = 'cancelled' THEN clock_timestamp() ELSE "cancelRequestedAt" END
     WHERE "id" = ANY($1::uuid[]) AND "state" IN ('waiting', 'queued') RETURNING "id", "kind", "hostId", "guestId", "title"`,
    [operationIds, ending.state, ending.error === undefined ? null : JSON.stringify(ending.error)],
  );
  const events: NewEvent[] = [];
  for (const row of rows) {
    events.push({
      operationId: row.id,
      hostId: row.hostId,
      guestId: row.guestId,
      data: {
        type: 'state',
        state: ending.state,
        ...(ending.error ? { error: ending.error } : {}),
        undo: { undone: [], leftBehind: [] },
      },
    });
  }
  events.push(...(await releaseGuests(tx, rows)));
  for (const row of rows) events.push(...(await endFollowers(tx, row, ending)));
  return events;
}

/** Rows reserved by clones that left nothing go; guests that were to be deleted live on. */
export async function releaseGuests(tx: Tx, rows: readonly EndedRow[]): Promise<NewEvent[]> {
  const idsOf = (kind: OperationKind): string[] =>
    rows.flatMap((row) => (row.kind === kind && row.guestId !== null ? [row.guestId] : []));
  const made = idsOf('clone');
  const deleting = idsOf('delete');
  if (made.length > 0) await tx.query(`DELETE FROM "guest" WHERE "id" = ANY($1::uuid[])`, [made]);
  // The inventory corrects the state within seconds if the guest runs.
  if (deleting.length > 0)
    await tx.query(
      `UPDATE "guest" SET "state" = 'stopped' WHERE "id" = ANY($1::uuid[]) AND "state" = 'deleting'`,
      [deleting],
    );
  const hostId = rows[0]?.hostId;
  const changed = [...made, ...deleting];
  return hostId === undefined || changed.length === 0 ? [] : [inventoryEvent(hostId, changed)];
}

/** Ends everything that waits for an operation that did not finish, saying why. */
export async function endFollowers(tx: Tx, row: EndedRow, ending: Ending): Promise<NewEvent[]> {
  const { rows } = await tx.query<{ id: string }>(
    `SELECT "id" FROM "operation" WHERE "afterId" = $1 AND "state" = 'waiting' ORDER BY "id" FOR NO KEY UPDATE`,
    [row.id],
  );
  if (rows.length === 0) return [];
  return endUnstarted(
    tx,
    rows.map((follower) => follower.id),
    followerEnding(row, ending),
  );
}

function followerEnding(row: EndedRow, ending: Ending): Ending {
  if (ending.state !== 'failed') return { state: ending.state };
  return {
    state: 'failed',
    error: {
      code: ending.error?.code ?? 'internal',
      message:
        `“${row.title}” could not be ${row.kind === 'transfer' ? 'brought to this host' : 'captured'}, so this clone was not begun. ${ending.error?.message ?? ''}`.trim(),
      ...(ending.error?.remedy === undefined ? {} : { remedy: ending.error.remedy }),
      retryable: ending.error?.retryable ?? false,
    },
  };
}

/** Lets everything run that waited for this operation; on the base that it made, when it made one. */
export async function wakeFollowers(
  tx: Tx,
  operationId: string,
  baseId: string | null,
): Promise<{ jobs: JobRef[]; events: NewEvent[] }> {
  const { rows } = await tx.query<JobRef & { guestId: string | null; kind: OperationKind }>(
    `UPDATE "operation" SET "state" = 'queued' WHERE "afterId" = $1 AND "state" = 'waiting'
     RETURNING "id" AS "operationId", "hostId", "lane", "guestId", "kind"`,
    [operationId],
  );
  // Of clones: a guest that goes to the base stands on its own host's copy until it is there.
  const guestIds = rows.flatMap((row) => (row.guestId === null || row.kind !== 'clone' ? [] : [row.guestId]));
  if (baseId !== null && guestIds.length > 0) {
    await tx.query(
      `UPDATE "guest" SET "baseId" = $2 WHERE "id" = ANY($1::uuid[]) AND "mode" IN ('linked', 'memory')`,
      [guestIds, baseId],
    );
  }
  return {
    jobs: rows
      .map(({ operationId: id, hostId, lane }) => ({ operationId: id, hostId, lane }))
      .toSorted((a, b) => (a.operationId < b.operationId ? -1 : 1)),
    events: rows.map((row) => ({
      operationId: row.operationId,
      hostId: row.hostId,
      guestId: row.guestId,
      data: { type: 'state', state: 'queued' },
    })),
  };
}
