/** Asking for everything but clones: start, stop, delete, capture, import, removal of a base. */
import {
  snapshotNameSchema,
  MAX_SNAPSHOTS,
  importRequestSchema,
  type ImportRequest,
  type OperationKind,
  type VerifyDepth,
} from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { ask, inventoryEvent, type Asked, type NewOperation } from './ask.ts';
import type { Db } from './client.ts';
import { counterpartOf, type Counterpart } from './counterpart.ts';
import { lockGuest, refuseIfBusy, type LockedGuest } from './guest-lock.ts';
import { newId, type Tx } from './transaction.ts';
import {
  captureTemplateSchema,
  type BatchResult,
  type CaptureTemplate,
  type StoredRequest,
} from './types.ts';

/** How long an agent may take to answer after a start, seconds. */
export const AGENT_SECONDS = 180;
const STOP_TIMEOUT_SECONDS = 60;

export type Made = Promise<{ operations: NewOperation[]; events?: ReturnType<typeof inventoryEvent>[] }>;

export function operation(
  part: Pick<NewOperation, 'hostId' | 'guestId' | 'title' | 'request' | 'lane'>,
): NewOperation {
  const kind: OperationKind = part.request.kind;
  return { id: newId(), kind, state: 'queued', afterId: null, agreedFingerprint: null, ...part };
}

/** Locks the guest, refuses when it is busy or in no state for this. */
export async function idleGuest(tx: Tx, guestId: string): Promise<LockedGuest> {
  const guest = await lockGuest(tx, guestId, 'exclusive');
  await refuseIfBusy(tx, guest, { alsoAsSource: true });
  return guest;
}

export function refuseIfMissing(guest: LockedGuest): void {
  if (guest.state !== 'missing' && guest.uuid !== null) return;
  throw new OffshootError('source-missing', {
    publicMessage: `“${guest.name}” is not on its host any more.`,
    remedy: 'Delete its entry, or bring the guest back on the host.',
  });
}

function refuseIfWhole(guest: LockedGuest): void {
  if (guest.managed && (guest.baseId !== null || guest.generations !== null)) return;
  throw new OffshootError('unavailable-mode', {
    publicMessage: `“${guest.name}” stands on no base: its disks are its own already.`,
    remedy: 'There is nothing to do.',
    field: 'guestId',
  });
}

type SnapshotKind = 'snapshot' | 'revert' | 'remove-snapshot';

function refuseAnother({ name, snapshots }: LockedGuest, wanted: string): void {
  const taken = snapshots ?? [];
  if (taken.some((each) => each.name === wanted)) {
    throw new OffshootError('name-taken', {
      publicMessage: `“${name}” already has a snapshot named “${wanted}”.`,
      remedy: 'Choose another name.',
      field: 'name',
    });
  }
  if (taken.length < MAX_SNAPSHOTS) return;
  throw new OffshootError('not-allowed', {
    publicMessage: `“${name}” has ${taken.length} snapshots, and ${MAX_SNAPSHOTS} are the most.`,
    remedy: 'Remove one that is no longer needed.',
  });
}

/** One that another tool took is that tool's to go back to and to remove. */
function needOurs({ name, snapshots }: LockedGuest, wanted: string): void {
  const found = snapshots?.find((each) => each.name === wanted);
  if (found?.ours === true) return;
  throw new OffshootError(found ? 'not-allowed' : 'not-found', {
    publicMessage: found
      ? `The snapshot “${wanted}” of “${name}” was taken with another tool, so Offshoot leaves it alone.`
      : `“${name}” has no snapshot named “${wanted}” any more.`,
    remedy: found ? 'Use the tool that took it.' : 'Reload its page.',
    field: 'name',
  });
}

/** Only a linked clone has a state to go back to without copying. */
function refuseIfNotLinked(guest: LockedGuest): void {
  if (guest.mode === 'linked' && guest.baseId !== null) return;
  const why =
    guest.mode === 'full'
      ? 'is a full clone: it stands on nothing that it could be put back to'
      : guest.mode === null
        ? 'was not cloned by Offshoot, so there is no state to put it back to'
        : guest.mode === 'memory'
          ? 'went on from the memory of its source; its disks alone are no state that it could be put back to'
          : 'stands on no base any more that it could be put back to';
  throw new OffshootError('unavailable-mode', {
    publicMessage: `“${guest.name}” ${why}.`,
    remedy: 'Make a linked clone of its source, and use that instead.',
    field: 'guestId',
  });
}

/**
 * One click on one guest. With the fingerprint of the plan that was shown, it ends `stale`, nothing done, when the plan
 * is another one by then.
 */
export type AskedOfGuest = Asked & { guestId: string; agreedFingerprint?: string };

type GuestRequest = Parameters<typeof makeGuestOperation>[2];

export function askOf(db: Db, asked: AskedOfGuest, request: GuestRequest): Promise<BatchResult> {
  const { guestId, agreedFingerprint } = asked;
  const agreed = agreedFingerprint === undefined ? {} : { agreedFingerprint };
  return ask(db, asked, { guestId, request, ...agreed }, async (tx) => {
    const made = await makeGuestOperation(tx, guestId, request);
    return { ...made, operations: made.operations.map((each) => ({ ...each, ...agreed })) };
  });
}

/** The rows of one request for one guest. */
export async function makeGuestOperation(
  tx: Tx,
  guestId: string,
  request: Extract<
    StoredRequest,
    {
      kind:
        | 'start'
        | 'stop'
        | 'capture'
        | 'delete'
        | 'verify'
        | 'reset'
        | 'restore'
        | 'promote'
        | SnapshotKind;
    }
  >,
): Made {
  if (request.kind === 'verify') return makeVerify(tx, guestId, request);
  const guest = await idleGuest(tx, guestId);
  if (request.kind !== 'delete') {
    refuseIfMissing(guest);
    if (request.kind === 'reset') refuseIfNotLinked(guest);
    if (request.kind === 'promote') refuseIfWhole(guest);
    if (request.kind === 'snapshot') refuseAnother(guest, request.name);
    if (request.kind === 'revert' || request.kind === 'remove-snapshot') needOurs(guest, request.name);
    const lane = request.kind === 'capture' || request.kind === 'promote' ? 'bulk' : 'interactive';
    return { operations: [operation({ hostId: guest.hostId, guestId, title: guest.name, request, lane })] };
  }
  if (!guest.managed) {
    throw new OffshootError('not-allowed', {
      publicMessage: `“${guest.name}” was not made by Offshoot, so Offshoot does not delete it.`,
      remedy: 'Delete it on its host, with the tool that made it.',
    });
  }
  await tx.query(`UPDATE "guest" SET "state" = 'deleting' WHERE "id" = $1`, [guestId]);
  return {
    operations: [
      operation({ hostId: guest.hostId, guestId, title: guest.name, request, lane: 'interactive' }),
    ],
    events: [inventoryEvent(guest.hostId, [guestId])],
  };
}

/** Starts a guest. Throws `busy`, `not-found`, `source-missing`. */
export function requestStart(db: Db, asked: AskedOfGuest & { waitForAgent: boolean }): Promise<BatchResult> {
  const request = {
    kind: 'start',
    waitForAgent: asked.waitForAgent,
    agentTimeoutSeconds: AGENT_SECONDS,
  } as const;
  return askOf(db, asked, request);
}

/** Stops a guest; `force` cuts its power. Throws `busy`, `not-found`, `source-missing`. */
export function requestStop(db: Db, asked: AskedOfGuest & { force: boolean }): Promise<BatchResult> {
  const request = { kind: 'stop', force: asked.force, timeoutSeconds: STOP_TIMEOUT_SECONDS } as const;
  return askOf(db, asked, request);
}

/**
 * Puts a linked clone back to what it was when it was cloned; what runs is switched off and started again. Throws `busy`,
 * `not-found`, `source-missing`, and `unavailable-mode` for what is no linked clone.
 */
export function requestReset(db: Db, asked: AskedOfGuest & { waitForAgent: boolean }): Promise<BatchResult> {
  const request = {
    kind: 'reset',
    waitForAgent: asked.waitForAgent,
    agentTimeoutSeconds: AGENT_SECONDS,
  } as const;
  return askOf(db, asked, request);
}

/** Detaches a linked clone from its base, in the bulk lane. Throws `busy`, `not-found`, `source-missing`, `unavailable-mode`. */
export function requestPromote(db: Db, asked: AskedOfGuest): Promise<BatchResult> {
  const request = { kind: 'promote' } as const;
  return askOf(db, asked, request);
}

/**
 * Takes a snapshot of a guest (with its memory when it runs), goes back to one, or removes one. Throws `busy`,
 * `not-found`, `source-missing`, `name-taken`, and `not-allowed` for too many or for another tool's.
 */
export function requestSnapshot(
  db: Db,
  asked: AskedOfGuest & { kind: SnapshotKind; name: string },
): Promise<BatchResult> {
  const { kind } = asked;
  const name = parseOrRefuse<string>(snapshotNameSchema, asked.name);
  const request = { kind, name };
  return askOf(db, asked, request);
}

/** Deletes a guest that Offshoot made. Throws `busy`, `not-found`, `not-allowed`. */
export function requestDelete(db: Db, asked: AskedOfGuest): Promise<BatchResult> {
  const request = { kind: 'delete' } as const;
  return askOf(db, asked, request);
}

/**
 * Compares a guest's disks with what it was cloned from. Throws `busy`, `not-found`, and `source-missing` when there is
 * nothing (any more) to compare it with.
 */
export function requestVerify(db: Db, asked: AskedOfGuest & { depth: VerifyDepth }): Promise<BatchResult> {
  const request = { kind: 'verify', depth: asked.depth } as const;
  return askOf(db, asked, request);
}

async function makeVerify(
  tx: Tx,
  guestId: string,
  request: Extract<StoredRequest, { kind: 'verify' }>,
): Made {
  const guest = await idleGuest(tx, guestId);
  refuseIfMissing(guest);
  const { rows } = await tx.query<Counterpart>(
    'SELECT "mode", "baseId", "sourceGuestId", "templateVersionId", "sourceName" FROM "guest" WHERE "id" = $1',
    [guestId],
  );
  const counterpart = rows[0] && counterpartOf(rows[0]);
  if (!counterpart) {
    const source = rows[0]?.sourceName;
    throw new OffshootError('source-missing', {
      publicMessage: source
        ? `“${source}”, which “${guest.name}” was cloned from, is gone, so there is nothing to compare it with.`
        : `“${guest.name}” is no clone, so there is nothing to compare it with.`,
      remedy: 'Nothing is wrong with the guest itself.',
    });
  }
  if (counterpart.type === 'guest') {
    const source = await lockGuest(tx, counterpart.id, 'shared');
    refuseIfMissing(source);
    await refuseIfBusy(tx, source, { alsoAsSource: false, reading: 'other' });
  }
  return {
    operations: [operation({ hostId: guest.hostId, guestId, title: guest.name, request, lane: 'bulk' })],
  };
}

/**
 * Freezes a guest into a template version; without `template` into the hidden base of its linked clones. `memory`: with
 * what runs in it.
 */
export function requestCapture(
  db: Db,
  asked: AskedOfGuest & { template?: CaptureTemplate; memory?: boolean },
): Promise<BatchResult> {
  const template =
    asked.template === undefined ? undefined : parseOrRefuse(captureTemplateSchema, asked.template);
  const request: StoredRequest = {
    kind: 'capture',
    guestId: asked.guestId,
    ...(template ? { template } : {}),
    ...(asked.memory === true ? { memory: true } : {}),
  };
  return askOf(db, asked, request);
}

/** Makes a template version from an image file on a host. Throws `not-found` (field `hostId`), `invalid-input`. */
export function requestImport(db: Db, asked: Asked & { request: ImportRequest }): Promise<BatchResult> {
  const request: ImportRequest = parseOrRefuse(importRequestSchema, asked.request);
  return ask(db, asked, { kind: 'import', request }, (tx) => makeImport(tx, { kind: 'import', ...request }));
}

export async function makeImport(tx: Tx, request: Extract<StoredRequest, { kind: 'import' }>): Made {
  const { rowCount } = await tx.query('SELECT 1 FROM "host" WHERE "id" = $1', [request.hostId]);
  if (rowCount === 0) {
    throw new OffshootError('not-found', {
      publicMessage: 'That host is not known.',
      remedy: 'Choose a host from the list.',
      field: 'hostId',
    });
  }
  return {
    operations: [
      operation({ hostId: request.hostId, guestId: null, title: request.template, request, lane: 'bulk' }),
    ],
  };
}

/**
 * Removes a base on every host that has it, and the template versions made of it; with `onlyHere` that one copy. Throws
 * `in-use` naming who stands on it.
 */
export function requestRemoveBase(
  db: Db,
  asked: Asked & { baseId: string; onlyHere?: boolean },
): Promise<BatchResult> {
  const { baseId, onlyHere = false } = asked;
  return ask(db, asked, { kind: 'remove-base', baseId, ...(onlyHere ? { onlyHere } : {}) }, async (tx) => {
    const { rows } = await tx.query<{ id: string }>(
      `SELECT o."id" FROM "base" b JOIN "base" o ON o."digest" = b."digest" WHERE b."id" = $1 AND o."id" <> $1 AND NOT $2 ORDER BY 1`,
      [baseId, onlyHere],
    );
    const made = [await makeRemoveBase(tx, baseId)];
    for (const { id } of rows) made.push(await makeRemoveBase(tx, id));
    return { operations: made.flatMap(({ operations }) => operations) };
  });
}

export async function makeRemoveBase(tx: Tx, baseId: string): Made {
  const { rows } = await tx.query<{ hostId: string; digest: string }>(
    'SELECT "hostId", "digest" FROM "base" WHERE "id" = $1 FOR NO KEY UPDATE',
    [baseId],
  );
  const base = rows[0];
  if (!base)
    throw new OffshootError('not-found', {
      publicMessage: 'That base does not exist any more.',
      remedy: 'Reload the list.',
      field: 'baseId',
    });
  refuseIfStoodOn(await standingOn(tx, baseId));
  const { rows: going } = await tx.query<{ name: string }>(
    `SELECT h."name" FROM "operation" o JOIN "host" h ON h."id" = CASE o."kind" WHEN 'migrate' THEN o."request" ->> 'targetHostId' ELSE o."hostId" END
     WHERE o."kind" = 'transfer' AND o."request" ->> 'digest' = $1 AND o."state" IN ('waiting', 'queued', 'running')
       OR o."kind" = 'migrate' AND o."request" ->> 'baseDigest' = $1 AND o."request" ->> 'targetHostId' = $2 AND o."state" IN ('waiting', 'queued', 'running', 'undoing')
     ORDER BY 1`,
    [base.digest, base.hostId],
  );
  if (going.length > 0)
    throw new OffshootError('in-use', {
      publicMessage: `It, or a guest on it, is being brought to ${going.map(({ name }) => name).join(', ')} just now.`,
      remedy: 'Wait for that to end, or cancel it.',
      retryable: true,
    });
  const removing = await tx.query(
    `SELECT 1 FROM "operation" WHERE "kind" = 'remove-base' AND "request" ->> 'baseId' = $1
       AND "state" IN ('waiting', 'queued', 'running', 'undoing')`,
    [baseId],
  );
  if (removing.rows.length > 0)
    throw new OffshootError('busy', {
      publicMessage: 'That base is being removed already.',
      retryable: true,
    });
  const versions = await tx.query<{ label: string }>(
    `SELECT t."name" || ' v' || v."number" AS label FROM "template_version" v JOIN "template" t ON t."id" = v."templateId"
     WHERE v."baseId" = $1 ORDER BY 1`,
    [baseId],
  );
  const title = versions.rows.map((row) => row.label).join(', ') || `base ${base.digest.slice(0, 12)}`;
  return {
    operations: [
      operation({
        hostId: base.hostId,
        guestId: null,
        title,
        request: { kind: 'remove-base', baseId },
        lane: 'interactive',
      }),
    ],
  };
}

/** Names of the guests that stand on a base, or are being made on it. */
export async function standingOn(db: Pick<Tx, 'query'>, baseId: string): Promise<string[]> {
  const { rows } = await db.query<{ name: string }>(
    `SELECT g."name" FROM "guest" g WHERE g."baseId" = $1
       OR (g."state" = 'creating' AND g."templateVersionId" IN (SELECT "id" FROM "template_version" WHERE "baseId" = $1))
     ORDER BY g."name"`,
    [baseId],
  );
  return rows.map((row) => row.name);
}

/** Throws `in-use` naming them, when there are any. */
export function refuseIfStoodOn(names: string[]): void {
  if (names.length === 0) return;
  const shown = names
    .slice(0, 5)
    .map((name) => `“${name}”`)
    .join(', ');
  const more = names.length > 5 ? ` and ${names.length - 5} more` : '';
  throw new OffshootError('in-use', {
    publicMessage: `${shown}${more} ${names.length === 1 ? 'stands' : 'stand'} on this base, so it can’t be removed.`,
    remedy: names.length === 1 ? 'Delete that guest first.' : 'Delete those guests first.',
    context: { names },
  });
}

export function parseOrRefuse<T>(
  schema: {
    safeParse(
      value: unknown,
    ):
      | { success: true; data: T }
      | { success: false; error: { issues: { message: string; path: PropertyKey[] }[] } };
  },
  value: unknown,
): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new OffshootError('invalid-input', {
    publicMessage: issue?.message ?? 'That request can’t be read.',
    ...(issue && issue.path.length > 0 ? { field: issue.path.map(String).join('.') } : {}),
  });
}
