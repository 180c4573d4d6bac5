/** The end of an operation that a worker performed: its row, its guest or base, and those that wait for it. */
import type {
  CapturedBase,
  Generations,
  GuestSnapshot,
  OperationResult,
  PublicError,
  StepStatus,
  UndoReport,
} from '@offshoot/clone-core/contract';
import type { Plan } from '@offshoot/clone-core/driver';
import type { Outcome } from '@offshoot/clone-core/execute';
import { OffshootError } from '@offshoot/clone-core/errors';
import { settleMove } from './arriving.ts';
import { insertUnasked, inventoryEvent } from './ask.ts';
import { recordBase, removeBase } from './catalog.ts';
import { certify, keepIdentity } from './certificates.ts';
import { lostClaim, type Claim } from './claims.ts';
import { collectBases, keepFromRemoval } from './collect.ts';
import type { Db } from './client.ts';
import { endFollowers, releaseGuests, wakeFollowers, type EndedRow } from './ending.ts';
import { appendEvents, type NewEvent } from './events.ts';
import { makeGuestOperation } from './guest-requests.ts';
import { withConsistencyOfBase } from './inherited.ts';
import { forgetDisks } from './recorded.ts';
import { storable } from './storable.ts';
import { persistently, transaction, type Patience, type Tx } from './transaction.ts';
import { quarantine, shareWhatIsKnown } from './transfer.ts';
import type { JobRef } from './types.ts';

interface FinishedRow extends EndedRow {
  plan: Plan | null;
  undo: UndoReport | null;
  /** Of the step whose end is recorded with the operation's. */
  lastStatus: StepStatus | null;
}

/**
 * Records the outcome. Resolves with the jobs of operations that waited for it, to be enqueued now. Safe to repeat
 * after a lost answer. Throws `lost-claim`.
 */
export function finish(db: Db, held: Claim, outcome: Outcome, patience: Patience = {}): Promise<JobRef[]> {
  return persistently(() => transaction(db, (tx) => record(tx, held, outcome)), patience);
}

async function record(tx: Tx, held: Claim, reported: Outcome): Promise<JobRef[]> {
  const outcome: Outcome =
    reported.state === 'finished'
      ? { ...reported, result: await withConsistencyOfBase(tx, held, reported.result) }
      : reported;
  const error = outcome.state === 'failed' ? outcome.error.toPublic() : undefined;
  const result = outcome.state === 'cancelled' ? undefined : outcome.result;
  const last = outcome.state === 'finished' ? outcome.last : undefined;
  const { rows } = await tx.query<FinishedRow>({
    name: 'finish',
    text: `UPDATE "operation" SET "state" = $3, "result" = COALESCE($4, "result"), "error" = $5, "finishedAt" = clock_timestamp(), "heartbeatAt" = NULL,
       "undo" = CASE WHEN $3 = 'finished' THEN NULL ELSE COALESCE("undo", $6) END,
       "steps" = CASE WHEN $7::int IS NULL THEN "steps" ELSE jsonb_set("steps", ARRAY[$7::int::text], ("steps" -> $7::int) || $8::jsonb) END,
       "nextStep" = COALESCE($7::int + 1, "nextStep")
     WHERE "id" = $1 AND "claimToken" = $2 AND "state" IN ('running', 'undoing')
     RETURNING "id", "kind", "hostId", "guestId", "title", "plan", "undo", "steps" -> $7::int AS "lastStatus"`,
    values: [
      held.operationId,
      held.token,
      outcome.state,
      result === undefined ? null : storable(result),
      error === undefined ? null : storable(error),
      outcome.state === 'finished' ? null : storable(outcome.undo),
      last?.index ?? null,
      last === undefined ? null : storable(last.status),
    ],
  });
  const row = rows[0];
  if (!row) return recordedBefore(tx, held, outcome);
  const after =
    outcome.state === 'finished'
      ? await applyFinished(tx, held, row, outcome.result)
      : await applyUndone(tx, row, outcome.state, error, result ?? {});
  await forgetDisks(tx, row.kind, row.guestId);
  const collected = mayFreeBase(row, outcome)
    ? await collectBases(tx, row.hostId, ...hostsTouched(held))
    : { jobs: [], events: [] };
  const healing = await quarantineFound(tx, held, row, result);
  await appendEvents(tx, [
    ...(last && row.lastStatus ? [stepEvent(row, last.index, row.lastStatus)] : []),
    stateEvent(row, outcome, result, error),
    ...after.events,
    ...collected.events,
    ...healing.events,
  ]);
  return [...after.jobs, ...collected.jobs, ...healing.jobs];
}

/** A transfer, or a comparison with its base, found copies of a base that are damaged. */
async function quarantineFound(
  tx: Tx,
  held: Claim,
  row: FinishedRow,
  result: OperationResult | undefined,
): Promise<{ jobs: JobRef[]; events: NewEvent[] }> {
  const damaged = result?.transfer?.damaged ?? [];
  if (held.request.kind === 'transfer' && damaged.length > 0)
    return quarantine(tx, held.request.digest, damaged, row.hostId);
  if (result?.verified?.baseIntact !== false || row.guestId === null) return { jobs: [], events: [] };
  const { rows } = await tx.query<{ digest: string }>(
    'SELECT b."digest" FROM "guest" g JOIN "base" b ON b."id" = g."baseId" WHERE g."id" = $1',
    [row.guestId],
  );
  return rows[0] ? quarantine(tx, rows[0].digest, [row.hostId], row.hostId) : { jobs: [], events: [] };
}

/** A base went ahead of the guest. */
const hostsTouched = ({ request }: Claim): string[] =>
  request.kind === 'migrate' ? [request.targetHostId] : [];

/** A guest went, or a base was made that nothing came to stand on. */
const mayFreeBase = (row: FinishedRow, outcome: Outcome): boolean =>
  outcome.state !== 'finished' || ['delete', 'capture', 'promote', 'transfer', 'migrate'].includes(row.kind);

/** The commit of an earlier attempt may have gone through without its answer. */
async function recordedBefore(tx: Tx, held: Claim, outcome: Outcome): Promise<JobRef[]> {
  const { rowCount } = await tx.query(
    'SELECT 1 FROM "operation" WHERE "id" = $1 AND "claimToken" = $2 AND "state" = $3',
    [held.operationId, held.token, outcome.state],
  );
  if (rowCount === 0) throw lostClaim(held.operationId);
  const { rows } = await tx.query<JobRef>(
    `SELECT "id" AS "operationId", "hostId", "lane" FROM "operation" WHERE "afterId" = $1 AND "state" = 'queued'`,
    [held.operationId],
  );
  return rows;
}

const stepEvent = ({ id, hostId, guestId }: FinishedRow, index: number, status: StepStatus): NewEvent => ({
  operationId: id,
  hostId,
  guestId,
  data: { type: 'step', index, status },
});

function stateEvent(
  row: FinishedRow,
  outcome: Outcome,
  result: OperationResult | undefined,
  error: PublicError | undefined,
): NewEvent {
  // A base's definition and digests are for the driver; they would only swell the stream.
  const { base: _base, edited: _edited, ...shown } = result ?? {};
  return {
    operationId: row.id,
    hostId: row.hostId,
    guestId: row.guestId,
    data: {
      type: 'state',
      state: outcome.state,
      ...(result === undefined ? {} : { result: shown }),
      ...(error === undefined ? {} : { error }),
      ...(row.undo === null ? {} : { undo: row.undo }),
    },
  };
}

interface After {
  events: NewEvent[];
  jobs: JobRef[];
}

async function applyFinished(tx: Tx, held: Claim, row: FinishedRow, result: OperationResult): Promise<After> {
  const changed = row.guestId === null ? [] : [inventoryEvent(row.hostId, [row.guestId])];
  let baseId: string | null = null;
  let kept: NewEvent[] = [];
  switch (held.request.kind) {
    case 'clone':
      await adoptClone(tx, row, held.request.options.start, result);
      await keepVerification(tx, row.guestId, result);
      break;
    case 'capture':
    case 'import':
      baseId = await keepBase(tx, held, row, result.base);
      if (baseId !== null) kept = await keepFromRemoval(tx, row.hostId, baseId);
      break;
    case 'transfer':
      baseId = result.base ? await recordBase(tx, row.hostId, result.base) : null;
      if (baseId !== null) {
        await shareWhatIsKnown(tx, baseId);
        kept = await keepFromRemoval(tx, row.hostId, baseId);
      }
      break;
    case 'refresh':
    case 'restore':
      await keepGenerations(tx, row, result);
      await forgetVerification(tx, row.guestId);
      break;
    case 'start':
      await tx.query(
        `UPDATE "guest" SET "state" = 'running', "address" = COALESCE($2, "address") WHERE "id" = $1`,
        [row.guestId, result.address ?? null],
      );
      break;
    case 'stop':
      await tx.query(`UPDATE "guest" SET "state" = 'stopped', "address" = NULL WHERE "id" = $1`, [
        row.guestId,
      ]);
      break;
    case 'snapshot':
    case 'remove-snapshot':
      await listSnapshot(tx, row.guestId, held.request.name, result.snapshot);
      break;
    case 'promote':
      if (row.plan?.generations) await keepGenerations(tx, row, result);
      else
        await tx.query(`UPDATE "guest" SET "mode" = 'full', "baseId" = NULL WHERE "id" = $1`, [row.guestId]);
      break;
    case 'migrate':
      kept = await settleMove(tx, row.id, row.guestId, held.request.targetHostId);
      break;
    case 'export':
      break; // its files are in the result
    case 'revert':
      // What it is now, the inventory tells.
      await forgetVerification(tx, row.guestId);
      break;
    case 'reset':
      await forgetVerification(tx, row.guestId);
      // Whether it runs, and what it takes now, the inventory tells.
      await tx.query(`UPDATE "guest" SET "address" = COALESCE($2, "address") WHERE "id" = $1`, [
        row.guestId,
        result.address ?? null,
      ]);
      break;
    case 'delete':
      await tx.query('DELETE FROM "guest" WHERE "id" = $1', [row.guestId]);
      break;
    case 'remove-base':
      await removeBase(tx, held.request.baseId);
      break;
    case 'verify':
      await keepVerification(tx, row.guestId, result);
      break;
  }
  // A clone's went to its row with the rest of it.
  if (held.request.kind !== 'clone') await keepIdentity(tx, held, row.guestId, result);
  await certify(tx, held, row.guestId, result);
  const woken = await wakeFollowers(tx, row.id, baseId);
  const following = await askNext(tx, row);
  return {
    jobs: [...woken.jobs, ...following.jobs],
    events: [...changed, ...kept, ...woken.events, ...following.events],
  };
}

/** What the plan said would be asked for by itself afterwards. A guest that is in no state for it now stays as it is. */
async function askNext(tx: Tx, { plan, guestId }: FinishedRow): Promise<After> {
  if (plan?.follow === undefined || guestId === null) return { events: [], jobs: [] };
  try {
    const { operations } = await makeGuestOperation(tx, guestId, { kind: plan.follow });
    return await insertUnasked(tx, operations);
  } catch (thrown) {
    // The refusals of a request are made before anything is written.
    if (thrown instanceof OffshootError) return { events: [], jobs: [] };
    throw thrown;
  }
}

const filesOf = (plan: Plan | null): string[] =>
  (plan?.creates ?? []).flatMap((creation) => (creation.type === 'file' ? [creation.name] : []));

/** The reserved row becomes a guest of the inventory. */
async function adoptClone(
  tx: Tx,
  row: FinishedRow,
  started: boolean,
  result: OperationResult,
): Promise<void> {
  const { identity } = result;
  await tx.query({
    name: 'adopt-clone',
    text: `UPDATE "guest" g SET "state" = $2, "ownedFiles" = $3, "address" = COALESCE($4, g."address"), "seenAt" = clock_timestamp(),
       "generations" = $6, "identity" = $7, "attested" = $8, "attestedAt" = CASE WHEN $8::jsonb IS NOT NULL THEN clock_timestamp() END,
       "baseId" = CASE WHEN $5::text IS NULL THEN NULL ELSE COALESCE((SELECT b."id" FROM "base" b WHERE b."hostId" = g."hostId" AND b."digest" = $5), g."baseId") END
     WHERE g."id" = $1`,
    values: [
      row.guestId,
      started ? 'running' : 'stopped',
      filesOf(row.plan).filter((path) => row.plan?.removes?.includes(path) !== true),
      result.address ?? null,
      row.plan?.baseDigest ?? null,
      jsonOrNull(generationsOf(row.plan, result)),
      identity === undefined ? null : storable(identity),
      identity?.attested === undefined ? null : storable(identity.attested),
    ],
  });
}

/** It has other disks now: what was found of those that it had is no word on these. */
async function forgetVerification(tx: Tx, guestId: string | null): Promise<void> {
  await tx.query('UPDATE "guest" SET "verified" = NULL WHERE "id" = $1', [guestId]);
}

async function keepVerification(tx: Tx, guestId: string | null, result: OperationResult): Promise<void> {
  if (!result.verified) return;
  await tx.query('UPDATE "guest" SET "verified" = $2 WHERE "id" = $1', [
    guestId,
    JSON.stringify(result.verified),
  ]);
}

/** Takes the name off the guest's list, and puts the new snapshot on it. The inventory brings the list in line with the host. */
async function listSnapshot(
  tx: Tx,
  guestId: string | null,
  name: string,
  snapshot: GuestSnapshot | undefined,
): Promise<void> {
  await tx.query(
    `UPDATE "guest" SET "snapshots" = COALESCE((SELECT jsonb_agg(s) FROM jsonb_array_elements(COALESCE("snapshots", '[]')) s
       WHERE s ->> 'name' <> $2), '[]') || $3::jsonb WHERE "id" = $1`,
    [guestId, name, JSON.stringify(snapshot ? [snapshot] : [])],
  );
}

/** Files that the plan made beside the guest's own are the guest's from now on. */
async function ownMore(tx: Tx, row: FinishedRow): Promise<void> {
  await tx.query(
    `UPDATE "guest" SET "ownedFiles" = ARRAY(SELECT DISTINCT unnest("ownedFiles" || $2::text[]) ORDER BY 1) WHERE "id" = $1`,
    [row.guestId, filesOf(row.plan)],
  );
}

const jsonOrNull = (value: object | undefined): string | null =>
  value === undefined ? null : JSON.stringify(value);

/** The list that the plan decided, with what only the run could know of its newest. */
function generationsOf(plan: Plan | null, result: OperationResult): Generations | undefined {
  const generations = plan?.generations;
  if (!generations) return undefined;
  const { consistency, movedBytes, pointAt, edited } = result;
  return {
    ...generations,
    list: generations.list.map((each) =>
      each.number === generations.current && each.at === ''
        ? {
            ...each,
            at: pointAt ?? new Date().toISOString(),
            ...(consistency === undefined ? {} : { consistency }),
            ...(movedBytes === undefined ? {} : { movedBytes }),
            ...(edited === undefined ? {} : { edited }),
          }
        : each,
    ),
  };
}

async function keepGenerations(tx: Tx, row: FinishedRow, result: OperationResult): Promise<void> {
  const generations = generationsOf(row.plan, result);
  await tx.query(
    `UPDATE "guest" SET "generations" = $2, "ownedFiles" = ARRAY(SELECT DISTINCT f FROM unnest("ownedFiles" || $3::text[]) f
       WHERE f <> ALL($4::text[]) ORDER BY f) WHERE "id" = $1`,
    [
      row.guestId,
      jsonOrNull(generations),
      filesOf(row.plan),
      (row.plan?.removes ?? []).filter((path) => result.left?.includes(path) !== true),
    ],
  );
}

async function keepBase(
  tx: Tx,
  held: Claim,
  row: FinishedRow,
  base: CapturedBase | undefined,
): Promise<string | null> {
  if (!base) return null;
  const { request } = held;
  if (request.kind === 'capture') return recordBase(tx, row.hostId, base, request.template);
  if (request.kind === 'import') {
    return recordBase(tx, row.hostId, base, {
      name: request.template,
      description: request.description,
      osName: request.osName,
    });
  }
  return null;
}

/** After an undo: the name is free again, unless something could not be undone; then the row stays, to be deleted later. */
async function applyUndone(
  tx: Tx,
  row: FinishedRow,
  state: 'failed' | 'cancelled',
  error: PublicError | undefined,
  result: OperationResult,
): Promise<After> {
  const left = row.undo?.leftBehind ?? [];
  const events: NewEvent[] = [];
  if (row.kind === 'clone' && left.length > 0) {
    await tx.query(`UPDATE "guest" SET "state" = 'missing', "ownedFiles" = $2 WHERE "id" = $1`, [
      row.guestId,
      filesOf(row.plan),
    ]);
    if (row.guestId !== null) events.push(inventoryEvent(row.hostId, [row.guestId]));
  } else {
    // What could not be taken away goes with the guest, when that goes.
    if (left.length > 0 && (row.kind === 'reset' || row.kind === 'promote' || row.kind === 'refresh'))
      await ownMore(tx, row);
    if (row.kind === 'refresh' && mayStandOnNew(row)) await keepBoth(tx, row, result);
    events.push(...(await releaseGuests(tx, [row])));
  }
  events.push(...(await endFollowers(tx, row, { state, ...(error ? { error } : {}) })));
  return { events, jobs: [] };
}

/** The exchange of its disks could not be taken back, so that its definition may name either its old ones or its new ones. */
const mayStandOnNew = ({ plan, undo }: FinishedRow): boolean =>
  (plan?.steps ?? []).some(
    ({ standsOnEarlier, title }) =>
      standsOnEarlier === true && undo?.leftBehind.some((left) => left.startsWith(`${title}: `)) === true,
  );

/** Nothing of what it had is gone yet: the new state joins the list, and the driver sees which of them the host has. */
async function keepBoth(tx: Tx, row: FinishedRow, result: OperationResult): Promise<void> {
  const planned = generationsOf(row.plan, result);
  const { rows } = await tx.query<{ generations: Generations | null }>(
    'SELECT "generations" FROM "guest" WHERE "id" = $1',
    [row.guestId],
  );
  const before = rows[0]?.generations;
  if (!planned) return;
  const made = planned.list.filter(({ number }) => number === planned.current);
  const both: Generations = before
    ? { ...before, next: planned.next, list: [...before.list, ...made] }
    : planned;
  await tx.query('UPDATE "guest" SET "generations" = $2 WHERE "id" = $1', [
    row.guestId,
    JSON.stringify(both),
  ]);
}
