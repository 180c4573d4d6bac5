/** What a worker does with operations: claim, save the plan, keep alive, give back. Every write is fenced by the claim. */
import { randomUUID } from 'node:crypto';
import type {
  Lane,
  OperationKind,
  OperationResult,
  OperationState,
  PlanView,
  PublicError,
  StepState,
  StepStatus,
} from '@offshoot/clone-core/contract';
import type { Plan } from '@offshoot/clone-core/driver';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { StartingPoint } from '@offshoot/clone-core/execute';
import type { Db } from './client.ts';
import { endFollowers, releaseGuests, type EndedRow } from './ending.ts';
import { appendEvents } from './events.ts';
import { persistently, transaction, type Patience, type Tx } from './transaction.ts';
import { storedRequestSchema, type StoredRequest } from './types.ts';

/**
 * Making a base and removing one exclude each other on a host: content that is captured again joins the base that holds
 * it, which must not be on its way out. Whoever comes second waits; the reconciler rings again.
 */
const MAKES_BASE = `'capture', 'import', 'transfer'`;
const excludes = (kinds: string, others: string): string =>
  `(o."kind" IN (${kinds}) AND EXISTS (SELECT 1 FROM "operation" c WHERE c."state" IN ('running', 'undoing')
     AND c."hostId" = o."hostId" AND c."kind" IN (${others})))`;
const KEPT_WAITING = `${excludes(MAKES_BASE, `'remove-base'`)} OR ${excludes(`'remove-base'`, MAKES_BASE)}`;

/** Nothing is begun there. What runs, or is being undone, goes on. */
export const IN_MAINTENANCE = `EXISTS (SELECT 1 FROM "host" h WHERE h."id" = o."hostId" AND h."duty" = 'maintenance')`;

/** A claim whose worker has not been heard of for so long may be taken over, seconds. */
export const CLAIM_EXPIRES_SECONDS = 10;

/** One worker's right to perform one operation, until someone else claims it. */
export interface Claim {
  operationId: string;
  token: string;
  workerId: string;
  kind: OperationKind;
  hostId: string;
  lane: Lane;
  title: string;
  guestId: string | null;
  request: StoredRequest;
  agreedFingerprint: string | null;
  /** Saved by an earlier run, with where to go on. */
  resume: { plan: Plan; from: StartingPoint } | undefined;
  cancelRequested: boolean;
  attempts: number;
}

interface ClaimRecord {
  kind: OperationKind;
  state: OperationState;
  hostId: string;
  lane: Lane;
  title: string;
  guestId: string | null;
  request: unknown;
  agreedFingerprint: string | null;
  plan: Plan | null;
  nextStep: number;
  /** State of the next step, which an earlier worker may have begun. */
  nextState: StepState | null;
  result: OperationResult | null;
  undoReason: { cancelled: boolean; error?: PublicError } | null;
  cancelRequestedAt: Date | null;
  attempts: number;
}

/**
 * Claims an operation that is queued, or whose worker has gone. Resolves with undefined when there is nothing to claim:
 * it ended, it waits (also for bases being made or removed), another worker is at it, or it is another host's by now. An undo
 * goes over all steps again, so what was left behind so far is asked anew.
 */
export async function claim(
  db: Db,
  who: { operationId: string; workerId: string; hostId?: string },
  patience: Patience = {},
): Promise<Claim | undefined> {
  const token = randomUUID();
  const row = await persistently(
    () =>
      transaction(db, async (tx) => {
        // Sent together; the second one looks when the first has its lock.
        const [, { rows }] = await Promise.all([
          tx.query({
            name: 'claim-alone',
            text: `SELECT pg_advisory_xact_lock(7067464, hashtext("hostId")) FROM "operation"
              WHERE "id" = $1 AND "kind" IN (${MAKES_BASE}, 'remove-base')`,
            values: [who.operationId],
          }),
          tx.query<ClaimRecord & { was: OperationState }>({
            name: 'claim',
            text: `WITH before AS (SELECT "id", "state" FROM "operation" WHERE "id" = $1 FOR NO KEY UPDATE)
       UPDATE "operation" o SET "claimToken" = $2, "claimedBy" = $3, "heartbeatAt" = clock_timestamp(), "attempts" = o."attempts" + 1,
         "state" = CASE o."state" WHEN 'queued' THEN 'running' ELSE o."state" END, "startedAt" = COALESCE(o."startedAt", clock_timestamp()),
         "undo" = CASE o."state" WHEN 'undoing' THEN jsonb_set(o."undo", '{leftBehind}', '[]') ELSE o."undo" END
       FROM before WHERE o."id" = before."id" AND ($5::text IS NULL OR o."hostId" = $5) AND ((o."state" = 'queued' AND NOT (${KEPT_WAITING}) AND NOT (${IN_MAINTENANCE})) OR (o."state" IN ('running', 'undoing')
         AND (o."claimToken" IS NULL OR o."claimToken" = $2 OR o."heartbeatAt" < clock_timestamp() - make_interval(secs => $4))))
       RETURNING before."state" AS was, o."kind", o."state", o."hostId", o."lane", o."title", o."guestId", o."request", o."agreedFingerprint",
         o."plan", o."nextStep", o."steps" -> o."nextStep" ->> 'state' AS "nextState", o."result", o."undoReason", o."cancelRequestedAt", o."attempts"`,
            values: [who.operationId, token, who.workerId, CLAIM_EXPIRES_SECONDS, who.hostId ?? null],
          }),
        ]);
        const found = rows[0];
        if (found?.was === 'queued') {
          await appendEvents(tx, [
            {
              operationId: who.operationId,
              hostId: found.hostId,
              guestId: found.guestId,
              data: { type: 'state', state: 'running' },
            },
          ]);
        }
        return found;
      }),
    patience,
  );
  return row && toClaim(row, who, token);
}

function toClaim(row: ClaimRecord, who: { operationId: string; workerId: string }, token: string): Claim {
  const { kind, hostId, lane, title, guestId, agreedFingerprint, attempts } = row;
  return {
    ...who,
    token,
    kind,
    hostId,
    lane,
    title,
    guestId,
    agreedFingerprint,
    attempts,
    request: storedRequestSchema.parse(row.request),
    cancelRequested: row.cancelRequestedAt !== null,
    resume: row.plan ? { plan: row.plan, from: startingPoint(row) } : undefined,
  };
}

function startingPoint(row: ClaimRecord): StartingPoint {
  return {
    nextStep: row.nextStep,
    begun: row.nextState !== null && row.nextState !== 'pending',
    ...(row.result ? { result: row.result } : {}),
    ...(row.state === 'undoing' ? { undoing: undoing(row.undoReason) } : {}),
  };
}

function undoing(reason: ClaimRecord['undoReason']): { cancelled: boolean; error?: OffshootError } {
  if (!reason?.error) return { cancelled: reason?.cancelled ?? false };
  const { code, message, remedy, field, retryable } = reason.error;
  const error = new OffshootError(code, {
    publicMessage: message,
    retryable,
    ...(remedy === undefined ? {} : { remedy }),
    ...(field === undefined ? {} : { field }),
  });
  return { cancelled: reason.cancelled, error };
}

export const lostClaim = (operationId: string): OffshootError =>
  new OffshootError('lost-claim', {
    publicMessage: 'Another worker has taken this operation over.',
    context: { operationId },
  });

/** The part of a plan that browsers see. */
export function viewOf(plan: Plan): PlanView {
  return {
    summary: plan.summary,
    estimates: plan.estimates,
    ...(plan.consistency === undefined ? {} : { consistency: plan.consistency }),
    ...(plan.strategy === undefined ? {} : { strategy: plan.strategy }),
    notes: plan.notes,
    steps: plan.steps.map(({ id, kind, title, bytes }) => ({
      id,
      kind,
      title,
      ...(bytes === undefined ? {} : { bytes }),
    })),
    fingerprint: plan.fingerprint,
  };
}

/**
 * Stores the plan before its first effect, and on a clone's guest row what it decided. Throws `lost-claim`.
 * @param options.begins also records the start of its first step
 */
export function savePlan(
  db: Db,
  held: Claim,
  plan: Plan,
  { begins = false, ...patience }: Patience & { begins?: boolean } = {},
): Promise<void> {
  const first: StepStatus | undefined =
    begins && plan.steps.length > 0 ? { state: 'running', startedAt: new Date().toISOString() } : undefined;
  const steps = plan.steps.map((_, index): StepStatus =>
    index === 0 && first ? first : { state: 'pending' },
  );
  return persistently(
    () =>
      transaction(db, async (tx) => {
        // Sent together: all is taken back when the claim turns out to be lost.
        const [{ rowCount }] = await Promise.all([
          tx.query({
            name: 'save-plan',
            text: `UPDATE "operation" SET "plan" = $3, "steps" = $4, "nextStep" = 0,
               "reserves" = CASE WHEN "reserves" IS NOT NULL THEN jsonb_set("reserves", '{storeBytes}', to_jsonb($5::bigint)) END
             WHERE "id" = $1 AND "claimToken" = $2 AND "state" = 'running'`,
            values: [
              held.operationId,
              held.token,
              JSON.stringify(plan),
              JSON.stringify(steps),
              Math.ceil(plan.estimates.storeBytes),
            ],
          }),
          plan.guest && held.kind === 'clone' ? promiseGuest(tx, held.guestId, plan.guest) : undefined,
        ]);
        if (rowCount === 0) throw lostClaim(held.operationId);
        const { operationId, hostId, guestId } = held;
        const tellers = { operationId, hostId, guestId };
        await appendEvents(tx, [
          { ...tellers, data: { type: 'plan', plan: viewOf(plan) } },
          ...(first ? [{ ...tellers, data: { type: 'step' as const, index: 0, status: first } }] : []),
        ]);
      }),
    patience,
  );
}

async function promiseGuest(
  tx: Tx,
  guestId: string | null,
  { uuid, macs, vcpus, memoryBytes, virtualBytes }: NonNullable<Plan['guest']>,
): Promise<void> {
  await tx.query({
    name: 'save-plan-guest',
    text: `UPDATE "guest" SET "uuid" = $2, "macs" = $3, "vcpus" = $4, "memoryBytes" = $5, "virtualBytes" = $6 WHERE "id" = $1`,
    values: [guestId, uuid, macs, vcpus, memoryBytes, virtualBytes],
  });
}

/** The facts changed since the preview: ends the operation as `stale`, with the new plan for review; nothing was done. */
export function markStale(
  db: Db,
  held: Claim,
  plan: Plan,
  error: OffshootError,
  patience: Patience = {},
): Promise<void> {
  return persistently(
    () =>
      transaction(db, async (tx) => {
        const { rows } = await tx.query<EndedRow>(
          `UPDATE "operation" SET "state" = 'stale', "plan" = $3, "error" = $4, "finishedAt" = clock_timestamp(), "heartbeatAt" = NULL
       WHERE "id" = $1 AND "claimToken" = $2 AND "state" IN ('running', 'stale') RETURNING "id", "kind", "hostId", "guestId", "title"`,
          [held.operationId, held.token, JSON.stringify(plan), JSON.stringify(error.toPublic())],
        );
        const row = rows[0];
        if (!row) throw lostClaim(held.operationId);
        const tellers = { operationId: row.id, hostId: row.hostId, guestId: row.guestId };
        const released = await releaseGuests(tx, rows);
        const followers = await endFollowers(tx, row, { state: 'stale' });
        await appendEvents(tx, [
          { ...tellers, data: { type: 'plan', plan: viewOf(plan) } },
          { ...tellers, data: { type: 'state', state: 'stale', error: error.toPublic() } },
          ...released,
          ...followers,
        ]);
      }),
    patience,
  );
}
