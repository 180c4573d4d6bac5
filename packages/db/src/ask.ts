/** How operations come to be: one click, one batch; rows and events in one transaction. Internal to this package. */
import { createHash } from 'node:crypto';
import type { Lane, OperationKind, OperationState } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Db } from './client.ts';
import { needServing } from './duty.ts';
import { appendEvents, type NewEvent } from './events.ts';
import type { Reserve } from './placement/reserve.ts';
import { isDatabaseAway, newId, transaction, type Tx } from './transaction.ts';
import type { BatchResult, JobRef, StoredRequest } from './types.ts';

/** Who asks, and the key that makes a repeated click the same click. */
export interface Asked {
  userId: string | null;
  /** 1 to 200 characters, chosen by the client per click. */
  idempotencyKey: string;
}

export interface NewOperation {
  id: string;
  kind: OperationKind;
  state: Extract<OperationState, 'queued' | 'waiting'>;
  hostId: string;
  lane: Lane;
  guestId: string | null;
  title: string;
  afterId: string | null;
  request: StoredRequest;
  agreedFingerprint: string | null;
  reserves?: Reserve;
}

/** JSON with sorted keys, so that equal values have equal texts: PostgreSQL keeps keys in an order of its own. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/**
 * Runs `make` once per user and key, also under concurrency, and inserts the operations it returns with their first
 * events. The same key again: the same batch back. The same key with another body: `invalid-input`.
 */
export async function ask(
  db: Db,
  asked: Asked,
  body: unknown,
  make: (tx: Tx) => Promise<{ operations: NewOperation[]; events?: NewEvent[] }>,
): Promise<BatchResult> {
  if (asked.idempotencyKey.length < 1 || asked.idempotencyKey.length > 200) {
    throw new OffshootError('invalid-input', {
      publicMessage: 'The request’s key has 1 to 200 characters.',
      field: 'idempotencyKey',
    });
  }
  const digest = createHash('sha256').update(canonical(body)).digest('hex');
  try {
    return await transaction(db, async (tx) => {
      await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 7067461))', [
        `${asked.userId ?? ''}\n${asked.idempotencyKey}`,
      ]);
      const before = await batchOf(tx, asked, digest);
      if (before) return before;
      const { operations, events = [] } = await make(tx);
      await needServing(tx, operations);
      const batchId = newId();
      await insertOperations(tx, asked, batchId, digest, operations);
      await appendEvents(tx, [...operations.map(bornEvent), ...events]);
      return batchResult(batchId, operations, false);
    });
  } catch (error) {
    if (!isDatabaseAway(error)) throw error;
    throw new OffshootError('host-unreachable', {
      publicMessage: 'Offshoot’s database does not answer, so nothing was started.',
      remedy: 'Try again in a moment.',
      retryable: true,
      cause: error,
    });
  }
}

const bornEvent = (operation: NewOperation): NewEvent => ({
  operationId: operation.id,
  hostId: operation.hostId,
  guestId: operation.guestId,
  data: { type: 'state', state: operation.state },
});

/** Inserts operations that nobody clicked for: they follow from another one. The caller appends the events and rings. */
export async function insertUnasked(
  tx: Tx,
  operations: readonly NewOperation[],
): Promise<{ jobs: JobRef[]; events: NewEvent[] }> {
  if (operations.length === 0) return { jobs: [], events: [] };
  const batchId = newId();
  await insertOperations(tx, { userId: null, idempotencyKey: null }, batchId, null, operations);
  return { jobs: batchResult(batchId, operations, false).jobs, events: operations.map(bornEvent) };
}

function batchResult(
  batchId: string,
  operations: readonly Pick<NewOperation, 'id' | 'hostId' | 'lane' | 'state'>[],
  repeated: boolean,
): BatchResult {
  return {
    batchId,
    operationIds: operations.map((operation) => operation.id),
    repeated,
    jobs: operations
      .filter((operation) => operation.state === 'queued')
      .map((operation) => ({ operationId: operation.id, hostId: operation.hostId, lane: operation.lane })),
  };
}

async function batchOf(tx: Tx, asked: Asked, digest: string): Promise<BatchResult | undefined> {
  const { rows } = await tx.query<{ batchId: string; requestDigest: string | null }>(
    'SELECT "batchId", "requestDigest" FROM "operation" WHERE "idempotencyKey" = $1 AND "requestedById" IS NOT DISTINCT FROM $2',
    [asked.idempotencyKey, asked.userId],
  );
  const first = rows[0];
  if (!first) return undefined;
  if (first.requestDigest !== digest) {
    throw new OffshootError('invalid-input', {
      publicMessage: 'This request’s key was used for another request already, so nothing was started.',
      remedy: 'Reload the page and ask again.',
      field: 'idempotencyKey',
    });
  }
  const operations = await tx.query<Pick<NewOperation, 'id' | 'hostId' | 'lane' | 'state'>>(
    'SELECT "id", "hostId", "lane", "state" FROM "operation" WHERE "batchId" = $1 ORDER BY "id"',
    [first.batchId],
  );
  return batchResult(first.batchId, operations.rows, true);
}

async function insertOperations(
  tx: Tx,
  asked: { userId: string | null; idempotencyKey: string | null },
  batchId: string,
  digest: string | null,
  operations: readonly NewOperation[],
): Promise<void> {
  const rows = operations.map((operation, index) => ({
    ...operation,
    batchId,
    requestedById: asked.userId,
    idempotencyKey: index === 0 ? asked.idempotencyKey : null,
    requestDigest: index === 0 ? digest : null,
  }));
  await tx.query(
    `INSERT INTO "operation" ("id", "kind", "state", "hostId", "lane", "guestId", "title", "afterId", "request",
       "agreedFingerprint", "reserves", "batchId", "requestedById", "idempotencyKey", "requestDigest", "createdAt")
     SELECT "id", "kind", "state", "hostId", "lane", "guestId", "title", "afterId", "request",
       "agreedFingerprint", "reserves", "batchId", "requestedById", "idempotencyKey", "requestDigest", clock_timestamp()
     FROM jsonb_to_recordset($1::jsonb) AS r("id" uuid, "kind" text, "state" text, "hostId" text, "lane" text, "guestId" uuid,
       "title" text, "afterId" uuid, "request" jsonb, "agreedFingerprint" text, "reserves" jsonb, "batchId" uuid, "requestedById" text,
       "idempotencyKey" text, "requestDigest" text)`,
    [JSON.stringify(rows)],
  );
}

/** An event that tells the Guests page which rows to read again. */
export const inventoryEvent = (hostId: string, guestIds: string[]): NewEvent => ({
  hostId,
  data: { type: 'inventory', guestIds },
});
