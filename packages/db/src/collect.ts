/** Bases that nobody sees and nothing stands on any more: their removal is asked for by itself. */
import { insertUnasked, type NewOperation } from './ask.ts';
import type { Db } from './client.ts';
import { endUnstarted } from './ending.ts';
import { appendEvents, type NewEvent } from './events.ts';
import { makeRemoveBase } from './guest-requests.ts';
import { persistently, transaction, type Tx } from './transaction.ts';
import type { JobRef } from './types.ts';

/** A removal that was refused (a guest of another hand stands on the base) is not tried again for so long, minutes. */
const AGAIN_AFTER_MINUTES = 60;
/** One that failed for the moment (the host did not answer), minutes. */
const RETRY_AFTER_MINUTES = 1;

/** No template version is made of this content, no guest's disks are overlays on it, and neither it nor a guest on it goes to a host. */
const UNUSED = `NOT EXISTS (SELECT 1 FROM "template_version" v JOIN "base" vb ON vb."id" = v."baseId" WHERE vb."digest" = b."digest")
  AND NOT EXISTS (SELECT 1 FROM "guest" g WHERE g."baseId" = b."id")
  AND NOT EXISTS (SELECT 1 FROM "operation" t WHERE t."kind" = 'transfer' AND t."request" ->> 'digest' = b."digest"
    AND t."state" IN ('waiting', 'queued', 'running', 'undoing'))
  AND NOT EXISTS (SELECT 1 FROM "operation" m WHERE m."kind" = 'migrate' AND m."request" ->> 'baseDigest' = b."digest"
    AND m."state" IN ('waiting', 'queued', 'running', 'undoing'))`;

/**
 * Asks for the removal of every base of the hosts that no template shows and nothing stands on, once each. Inside the
 * transaction that took the last child away, so that a crash can't lose it; the caller appends the events last.
 */
export async function collectBases(
  tx: Tx,
  ...hostIds: string[]
): Promise<{ jobs: JobRef[]; events: NewEvent[] }> {
  const locked = await tx.query<{ id: string }>(
    `SELECT b."id" FROM "base" b WHERE b."hostId" = ANY($1::text[]) AND ${UNUSED} ORDER BY b."id" FOR NO KEY UPDATE OF b SKIP LOCKED`,
    [hostIds],
  );
  if (locked.rows.length === 0) return { jobs: [], events: [] };
  // Locked now. A child may have come between the first look and the lock, so this one decides.
  const { rows } = await tx.query<{ id: string }>(
    `SELECT b."id" FROM "base" b WHERE b."id" = ANY($1::uuid[]) AND ${UNUSED}
       AND NOT EXISTS (SELECT 1 FROM "operation" o WHERE o."kind" = 'remove-base' AND o."request" ->> 'baseId' = b."id"::text
         AND (o."finishedAt" IS NULL OR o."finishedAt" > clock_timestamp()
           - make_interval(mins => CASE WHEN o."error" ->> 'retryable' = 'true' THEN $3::int ELSE $2::int END)))
     ORDER BY b."id"`,
    [locked.rows.map((row) => row.id), AGAIN_AFTER_MINUTES, RETRY_AFTER_MINUTES],
  );
  const operations: NewOperation[] = [];
  for (const { id } of rows) operations.push(...(await makeRemoveBase(tx, id)).operations);
  return insertUnasked(tx, operations);
}

/** As `collectBases`, in a transaction of its own: for what a cancel or a hand on the database left. Resolves with the jobs to ring for. */
export function collectUnusedBases(db: Db, hostId: string): Promise<JobRef[]> {
  return persistently(() =>
    transaction(db, async (tx) => {
      const { jobs, events } = await collectBases(tx, hostId);
      await appendEvents(tx, events);
      return jobs;
    }),
  );
}

/** A base was just made again from the same content: removals of it that have not begun must not take it away. */
export async function keepFromRemoval(tx: Tx, hostId: string, baseId: string): Promise<NewEvent[]> {
  const { rows } = await tx.query<{ id: string }>(
    `SELECT "id" FROM "operation" WHERE "state" = 'queued' AND "hostId" = $1 AND "kind" = 'remove-base'
       AND "request" ->> 'baseId' = $2 FOR NO KEY UPDATE`,
    [hostId, baseId],
  );
  return endUnstarted(
    tx,
    rows.map((row) => row.id),
    {
      state: 'failed',
      error: {
        code: 'in-use',
        message: 'The same disks were captured again meanwhile, so the base stays.',
        remedy: 'Remove it when nothing stands on it any more.',
        retryable: false,
      },
    },
  );
}

/** Of the ids, those that no operation of the host that has not ended yet has in its plan. */
export async function inNoPlan(db: Db, hostId: string, ids: readonly string[]): Promise<string[]> {
  const { rows } = await db.pool.query<{ id: string }>(
    `SELECT i AS id FROM unnest($2::text[]) i WHERE NOT EXISTS (SELECT 1 FROM "operation" o WHERE o."hostId" = $1
       AND o."state" IN ('waiting', 'queued', 'running', 'undoing') AND position(i IN o."plan"::text) > 0)`,
    [hostId, ids],
  );
  return rows.map(({ id }) => id);
}
