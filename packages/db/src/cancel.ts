/** Cancelling, and asking again for what ended without being finished. */
import { isEnded, type OperationState, type Source } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { ask, type Asked } from './ask.ts';
import type { Db } from './client.ts';
import { makeClones } from './clone-request.ts';
import { endUnstarted } from './ending.ts';
import { appendEvents } from './events.ts';
import { makeGuestOperation, makeImport, makeRemoveBase } from './guest-requests.ts';
import { makeExport } from './export-request.ts';
import { makeMove } from './move-request.ts';
import { makePlaced } from './placement/placed.ts';
import { makeRefresh } from './refresh-request.ts';
import { transaction, type Tx } from './transaction.ts';
import { makeTransfers } from './transfer.ts';
import { storedRequestSchema, type BatchResult, type StoredRequest } from './types.ts';

interface Found {
  id: string;
  state: OperationState;
  hostId: string;
  request: StoredRequest;
  guestId: string | null;
}

async function find(tx: Tx, operationId: string, lock: '' | 'FOR NO KEY UPDATE'): Promise<Found> {
  const { rows } = await tx.query<{
    id: string;
    state: OperationState;
    hostId: string;
    request: unknown;
    guestId: string | null;
  }>(`SELECT "id", "state", "hostId", "request", "guestId" FROM "operation" WHERE "id" = $1 ${lock}`, [
    operationId,
  ]);
  const row = rows[0];
  if (!row)
    throw new OffshootError('not-found', {
      publicMessage: 'That operation does not exist.',
      remedy: 'Reload the list.',
      field: 'operationId',
    });
  return { ...row, request: storedRequestSchema.parse(row.request) };
}

/**
 * Cancels: what has not begun ends at once; what runs is told to stop and undo; what ended or is being undone already
 * stays as it is. Resolves with the state after the call. Throws `not-found`.
 */
export function requestCancel(db: Db, operationId: string): Promise<{ state: OperationState }> {
  return transaction(db, async (tx) => {
    const found = await find(tx, operationId, 'FOR NO KEY UPDATE');
    if (isEnded(found.state) || found.state === 'undoing') return { state: found.state };
    if (found.state === 'running') {
      await tx.query(
        'UPDATE "operation" SET "cancelRequestedAt" = COALESCE("cancelRequestedAt", clock_timestamp()) WHERE "id" = $1',
        [operationId],
      );
      await tx.query("SELECT pg_notify('offshoot_cancel', $1)", [operationId]);
      return { state: 'running' };
    }
    await appendEvents(tx, await endUnstarted(tx, [operationId], { state: 'cancelled' }));
    return { state: 'cancelled' };
  });
}

/**
 * Asks again for an operation that failed, was cancelled or went stale: a new operation with the same request, which
 * reserves the name again. Of a capture for linked clones: for those clones. Throws as the first request did, and
 * `invalid-input` when the operation has not ended or is finished.
 */
export function requestRetry(db: Db, asked: Asked & { operationId: string }): Promise<BatchResult> {
  return ask(db, asked, { retry: asked.operationId }, async (tx) => {
    const found = await find(tx, asked.operationId, '');
    if (!isEnded(found.state) || found.state === 'finished') {
      throw new OffshootError('invalid-input', {
        publicMessage:
          found.state === 'finished'
            ? 'That operation is finished; there is nothing to retry.'
            : 'That operation has not ended yet.',
        field: 'operationId',
      });
    }
    return makeAgain(tx, asked.userId, found);
  });
}

async function makeAgain(tx: Tx, userId: string | null, found: Found): ReturnType<typeof makeClones> {
  const { request } = found;
  const agreed = await shownFingerprint(tx, found);
  switch (request.kind) {
    case 'clone':
      // Its host was chosen: it may be another one now.
      if (request.placement !== undefined && agreed === null)
        return makePlaced(tx, userId, { ...request, names: [request.name] }, undefined, [request.index]);
      return makeClones(
        tx,
        userId,
        {
          source: request.source,
          mode: request.mode,
          names: [request.name],
          options: request.options,
          ...elsewhere(request.source, found.hostId),
        },
        agreed,
        [request.index],
      );
    case 'import':
      return { events: [], ...(await makeImport(tx, request)) };
    case 'remove-base':
      return { events: [], ...(await makeRemoveBase(tx, request.baseId)) };
    case 'transfer':
    case 'capture': {
      const followers = await followersOf(tx, found.id);
      const first = followers[0];
      if (first?.placement !== undefined && agreed === null) {
        const names = followers.map((follower) => follower.name);
        const places = followers.map((follower) => follower.index);
        return makePlaced(tx, userId, { ...first, names }, undefined, places);
      }
      if (first)
        return makeClones(
          tx,
          userId,
          {
            source: first.source,
            mode: first.mode,
            options: first.options,
            names: followers.map((follower) => follower.name),
            ...elsewhere(first.source, found.hostId),
          },
          agreed,
          followers.map((follower) => follower.index),
        );
      if (request.kind === 'transfer')
        return { events: [], operations: await makeTransfers(tx, request, [found.hostId]) };
      return { events: [], ...(await makeGuestOperation(tx, request.guestId, request)) };
    }
    case 'export':
      return { events: [], ...(await makeExport(tx, request)) };
    case 'migrate':
      if (found.guestId === null) throw guestGone();
      return { events: [], ...(await makeMove(tx, found.guestId, request, agreed)) };
    case 'refresh':
      if (found.guestId === null) throw guestGone();
      return { events: [], ...(await makeRefresh(tx, found.guestId, request, agreed)) };
    default: {
      if (found.guestId === null) throw guestGone();
      return { events: [], ...(await makeGuestOperation(tx, found.guestId, request)) };
    }
  }
}

/** Clones of a template are made again on the same host. */
const elsewhere = (source: Source, hostId: string): { hostId?: string } =>
  source.type === 'template' ? { hostId } : {};

const guestGone = (): OffshootError =>
  new OffshootError('not-found', {
    publicMessage: 'That guest does not exist any more.',
    remedy: 'Reload the list.',
    field: 'operationId',
  });

/** A stale operation showed its new plan: that is the one agreed to, and no later one. */
async function shownFingerprint(tx: Tx, found: Found): Promise<string | null> {
  if (found.state !== 'stale') return null;
  const { rows } = await tx.query<{ fingerprint: string | null }>(
    `SELECT "plan" ->> 'fingerprint' AS fingerprint FROM "operation" WHERE "id" = $1`,
    [found.id],
  );
  return rows[0]?.fingerprint ?? null;
}

async function followersOf(
  tx: Tx,
  operationId: string,
): Promise<Extract<StoredRequest, { kind: 'clone' }>[]> {
  const { rows } = await tx.query<{ request: unknown }>(
    'SELECT "request" FROM "operation" WHERE "afterId" = $1 ORDER BY "id"',
    [operationId],
  );
  return rows
    .map((row) => storedRequestSchema.parse(row.request))
    .filter((request) => request.kind === 'clone');
}
