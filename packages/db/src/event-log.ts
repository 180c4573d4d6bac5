/** The event log's statements. Internal to this package; others import events.ts. */
import type { HostEventData, OperationEventData, StreamEvent } from '@offshoot/clone-core/contract';
import pg from 'pg';
import type { Db } from './client.ts';
import { storable } from './storable.ts';
import { lastly, onDisk, type Tx } from './transaction.ts';

export interface EventFilter {
  operationId?: string;
  batchId?: string;
}

export interface NewEvent {
  operationId?: string | null;
  hostId?: string | null;
  guestId?: string | null;
  data: OperationEventData | HostEventData;
}

/** An event with the batch of its operation, which filters need. */
export interface LoggedEvent {
  event: StreamEvent;
  batchId: string | null;
}

interface EventRecord {
  id: string;
  at: Date;
  operationId: string | null;
  hostId: string | null;
  guestId: string | null;
  data: StreamEvent['data'];
  batchId: string | null;
}

/**
 * Appends events, in order, when the transaction ends: the log's lock, which every writer of the fleet waits for, is taken in
 * the same breath as the commit, and not held while that is written to the disk. What the transaction does after this call comes before them.
 */
export async function appendEvents(tx: Tx, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return;
  await lastly(
    tx,
    `INSERT INTO "event" ("at", "operationId", "hostId", "guestId", "data")
     SELECT clock_timestamp(), (e.value ->> 'operationId')::uuid, e.value ->> 'hostId', (e.value ->> 'guestId')::uuid, e.value -> 'data'
     FROM jsonb_array_elements(${pg.escapeLiteral(storable(events))}::jsonb) WITH ORDINALITY e ORDER BY e.ordinality`,
  );
}

/** Events after the cursor, oldest first. */
export async function eventsAfter(
  db: Db,
  cursor: string,
  filter: EventFilter,
  limit = 500,
): Promise<StreamEvent[]> {
  const events = await readLog(db, cursor, filter, limit);
  return events.map((logged) => logged.event);
}

/** As `eventsAfter`, with what filters need. Internal to this package. */
export async function readLog(
  db: Pick<Db, 'pool'>,
  cursor: string,
  filter: EventFilter,
  limit: number,
): Promise<LoggedEvent[]> {
  const { rows } = await db.pool.query<EventRecord>({
    name: `events-${filter.operationId === undefined ? 0 : 1}${filter.batchId === undefined ? 0 : 1}`,
    text: `SELECT e."id", e."at", e."operationId", e."hostId", e."guestId", e."data", o."batchId"
      FROM "event" e LEFT JOIN "operation" o ON o."id" = e."operationId"
      WHERE e."id" > $1::bigint
        ${filter.operationId === undefined ? 'AND $3::uuid IS NULL' : 'AND e."operationId" = $3::uuid'}
        ${filter.batchId === undefined ? 'AND $4::uuid IS NULL' : 'AND e."operationId" IN (SELECT "id" FROM "operation" WHERE "batchId" = $4::uuid)'}
      ORDER BY e."id" LIMIT $2`,
    values: [cursor, limit, filter.operationId ?? null, filter.batchId ?? null],
  });
  // Whoever was told of an id goes on from there: it must not be handed out again after a crash.
  if (rows.length > 0) await onDisk(db);
  return rows.map((row) => ({
    batchId: row.batchId,
    event: {
      id: row.id,
      at: row.at.toISOString(),
      operationId: row.operationId,
      hostId: row.hostId,
      guestId: row.guestId,
      data: row.data,
    },
  }));
}

/** Id of the newest event, "0" when there is none: where to stream from to see only what is new. */
export async function latestEventId(db: Pick<Db, 'pool'>): Promise<string> {
  const { rows } = await db.pool.query<{ id: string }>(
    'SELECT COALESCE(max("id"), 0)::text AS id FROM "event"',
  );
  await onDisk(db);
  return rows[0]?.id ?? '0';
}
