/**
 * When a host falls silent, or goes into maintenance, in the middle of a batch: clones whose host was chosen, and that have not begun, are chosen another
 * one. What has begun stays: the host's next worker goes on with it or undoes it.
 */
import type { OperationState } from '@offshoot/clone-core/contract';
import { place } from '@offshoot/clone-core/placement';
import { insertUnasked, inventoryEvent } from '../ask.ts';
import type { Db } from '../client.ts';
import { endUnstarted } from '../ending.ts';
import { appendEvents, type NewEvent } from '../events.ts';
import { transaction, type Tx } from '../transaction.ts';
import { makeTransfers, underwayTo } from '../transfer.ts';
import { needsBase, storedRequestSchema, type JobRef, type StoredRequest } from '../types.ts';
import { basesOn } from './bases.ts';
import { questionFor } from './question.ts';
import { lockReservations } from './reserve.ts';

/** A restart of a worker, or of its machine's network, is waited for so long, seconds. */
const PATIENCE_SECONDS = 30;

interface Stranded {
  id: string;
  batchId: string;
  hostId: string;
  hostName: string;
  /** In maintenance rather than silent. */
  resting: boolean;
  guestId: string | null;
  afterId: string | null;
  title: string;
  request: Extract<StoredRequest, { kind: 'clone' }>;
}

/**
 * Moves what can be moved; what finds no other place stays where it is. Resolves with the jobs to ring for and how many
 * were moved. Safe to call from anywhere at once.
 */
export async function moveFromSilent(
  db: Db,
  { afterSeconds = PATIENCE_SECONDS }: { afterSeconds?: number } = {},
): Promise<{ jobs: JobRef[]; moved: number }> {
  // Almost always there is nothing: seen without a lock.
  const { rows: any } = await db.pool.query(
    `SELECT 1 FROM "operation" o JOIN "host" h ON h."id" = o."hostId" WHERE ${STRANDED} LIMIT 1`,
    [afterSeconds],
  );
  if (any.length === 0) return { jobs: [], moved: 0 };
  return transaction(db, async (tx) => {
    await lockReservations(tx);
    const jobs: JobRef[] = [];
    const events: NewEvent[] = [];
    let moved = 0;
    for (const group of await strandedOf(tx, afterSeconds)) {
      const done = await moveGroup(tx, group);
      jobs.push(...done.jobs);
      events.push(...done.events);
      moved += done.moved;
    }
    await appendEvents(tx, events);
    return { jobs, moved };
  });
}

const STRANDED = `o."kind" = 'clone' AND o."state" IN ('waiting', 'queued') AND o."request" ? 'placement'
  AND (h."duty" = 'maintenance' OR h."heartbeatAt" IS NULL OR h."heartbeatAt" < clock_timestamp() - make_interval(secs => $1))`;

/** By batch, of one source and kind each: those of a batch were asked for together. Locked, so that none begins meanwhile. */
async function strandedOf(tx: Tx, afterSeconds: number): Promise<Stranded[][]> {
  const { rows } = await tx.query<Omit<Stranded, 'request'> & { request: unknown }>(
    `SELECT o."id", o."batchId", o."hostId", h."name" AS "hostName", h."duty" = 'maintenance' AS resting, o."guestId", o."afterId", o."title", o."request"
     FROM "operation" o JOIN "host" h ON h."id" = o."hostId" WHERE ${STRANDED} ORDER BY o."id" FOR NO KEY UPDATE OF o SKIP LOCKED`,
    [afterSeconds],
  );
  const groups = new Map<string, Stranded[]>();
  for (const row of rows) {
    const request = storedRequestSchema.parse(row.request);
    if (request.kind !== 'clone') continue;
    groups.set(row.batchId, [...(groups.get(row.batchId) ?? []), { ...row, request }]);
  }
  return [...groups.values()];
}

async function moveGroup(
  tx: Tx,
  group: readonly Stranded[],
): Promise<{ jobs: JobRef[]; events: NewEvent[]; moved: number }> {
  const [first] = group;
  const nothing = { jobs: [], events: [], moved: 0 };
  if (!first) return nothing;
  const { source, placement: asked } = first.request;
  if (source.type !== 'template' || !asked) return nothing;
  const placement = asked.hostIds ? { ...asked, hostIds: await stillThere(tx, asked.hostIds) } : asked;
  const mates = await batchMates(tx, first.batchId);
  // They are to be on one host: some alone do not go elsewhere.
  if (placement.rule === 'together' && mates.length > group.length) return nothing;
  const movable = await withFreeNames(tx, group);
  const question = await questionFor(
    tx,
    {
      ...first.request,
      placement,
      versionId: source.versionId,
      names: movable.map(({ request }) => request.name),
    },
    placement.rule === 'apart' ? mates.map(({ hostId }) => hostId) : [],
  );
  const { shares } = place(question);
  const bases = await basesOn(tx, question.digest);
  const { digest, label } = question;
  const transfers = await makeTransfers(
    tx,
    { digest, label },
    shares.map(({ hostId }) => hostId),
  );
  const born = await insertUnasked(tx, transfers);
  const underway = await underwayTo(tx, digest);
  const [jobs, events] = [[...born.jobs], [...born.events]];
  const gone: Stranded[] = [];
  for (const { hostId, name, seats } of shares)
    for (const seat of seats) {
      const one = movable[seat];
      if (!one) continue;
      const baseId = bases.get(hostId) ?? null;
      const afterId = baseId === null ? (underway.get(hostId) ?? null) : null;
      const state: OperationState = afterId === null ? 'queued' : 'waiting';
      await tx.query(
        `UPDATE "operation" SET "hostId" = $2, "afterId" = $3, "state" = $4, "agreedFingerprint" = NULL WHERE "id" = $1`,
        [one.id, hostId, afterId, state],
      );
      await tx.query('UPDATE "guest" SET "hostId" = $2, "baseId" = $3 WHERE "id" = $1', [
        one.guestId,
        hostId,
        needsBase(one.request.mode) ? baseId : null,
      ]);
      const tellers = { operationId: one.id, hostId, guestId: one.guestId };
      events.push(
        {
          ...tellers,
          data: {
            type: 'log',
            index: 0,
            line: `${one.hostName} ${one.resting ? 'went into maintenance' : 'stopped answering'} before this began: made on ${name} instead.`,
          },
        },
        { ...tellers, data: { type: 'state', state } },
      );
      if (one.guestId !== null)
        events.push(inventoryEvent(one.hostId, [one.guestId]), inventoryEvent(hostId, [one.guestId]));
      if (state === 'queued')
        jobs.push({
          operationId: one.id,
          hostId,
          lane: one.request.mode === 'full' ? 'bulk' : 'interactive',
        });
      gone.push(one);
    }
  events.push(...(await dropTransfers(tx, gone)));
  return { jobs, events, moved: gone.length };
}

/** Of the hosts that were picked, those that were not removed since. */
async function stillThere(tx: Tx, hostIds: readonly string[]): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>('SELECT "id" FROM "host" WHERE "id" = ANY($1::text[])', [
    hostIds,
  ]);
  return rows.map(({ id }) => id);
}

/** The batch's clones, wherever they are. */
async function batchMates(tx: Tx, batchId: string): Promise<{ hostId: string }[]> {
  const { rows } = await tx.query<{ hostId: string }>(
    `SELECT "hostId" FROM "operation" WHERE "batchId" = $1 AND "kind" = 'clone' AND "state" NOT IN ('failed', 'cancelled', 'stale')`,
    [batchId],
  );
  return rows;
}

/** A name that was taken elsewhere since then stays where it was reserved. */
async function withFreeNames(tx: Tx, group: readonly Stranded[]): Promise<Stranded[]> {
  const { rows } = await tx.query<{ name: string }>(
    'SELECT "name" FROM "guest" WHERE "name" = ANY($1::text[]) AND "id" <> ALL($2::uuid[])',
    [group.map(({ request }) => request.name), group.flatMap(({ guestId }) => guestId ?? [])],
  );
  const taken = new Set(rows.map(({ name }) => name));
  return group.filter(({ request }) => !taken.has(request.name));
}

/** Transfers of this batch to the silent host that nobody waits for any more: ended, or undone when it is back. */
async function dropTransfers(tx: Tx, gone: readonly Stranded[]): Promise<NewEvent[]> {
  const { rows } = await tx.query<{ id: string; state: OperationState }>(
    `SELECT t."id", t."state" FROM "operation" t WHERE t."id" = ANY($1::uuid[]) AND t."batchId" = ANY($2::uuid[]) AND t."kind" = 'transfer'
       AND NOT EXISTS (SELECT 1 FROM "operation" f WHERE f."afterId" = t."id" AND f."state" = 'waiting')
     ORDER BY t."id" FOR NO KEY UPDATE`,
    [gone.flatMap(({ afterId }) => afterId ?? []), gone.map(({ batchId }) => batchId)],
  );
  const running = rows.filter(({ state }) => state === 'running').map(({ id }) => id);
  await tx.query(
    'UPDATE "operation" SET "cancelRequestedAt" = COALESCE("cancelRequestedAt", clock_timestamp()) WHERE "id" = ANY($1::uuid[])',
    [running],
  );
  const unbegun = rows.filter(({ state }) => state === 'queued' || state === 'waiting').map(({ id }) => id);
  return endUnstarted(tx, unbegun, { state: 'cancelled' });
}
