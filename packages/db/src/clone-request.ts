/** Asking for clones: reserves the names, protects the base, orders a capture first where one is needed. */
import {
  cloneRequestSchema,
  type AgreedShare,
  type CloneMode,
  type CloneRequest,
} from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { ask, type Asked, type NewOperation } from './ask.ts';
import type { Db } from './client.ts';
import { cloneRows, type Made, type ResolvedSource } from './clone-rows.ts';
import { lockGuest, refuseIfBusy } from './guest-lock.ts';
import { baseBytes, needOf, sizeOfGuest, sizeOfVersion, type SourceSize } from './placement/need.ts';
import { makePlaced } from './placement/placed.ts';
import { lockReservations, refuseOverpromised } from './placement/reserve.ts';
import { newId, type Tx } from './transaction.ts';
import { makeTransfers, needHosts, underwayTo } from './transfer.ts';
import { needsBase, type BatchResult } from './types.ts';

/**
 * Asks for N clones in one batch. Reserves their names (`name-taken` with field `names.3`). A linked or memory clone of
 * a guest gets a capture before it; the clones wait for that. Throws `not-found` when the source is gone, `busy` when
 * something else is being done with it, `invalid-input` for a malformed request, `no-space` when what is free is promised to
 * others, `stale-plan` when hosts can't take the shares that were agreed to any more.
 */
export async function requestClone(
  db: Db,
  asked: Asked & { request: CloneRequest; agreedFingerprint?: string; agreedShares?: AgreedShare[] },
): Promise<BatchResult> {
  const parsed = cloneRequestSchema.safeParse(asked.request);
  if (!parsed.success) throw invalid(parsed.error.issues[0]);
  const request = parsed.data;
  return ask(
    db,
    asked,
    {
      kind: 'clone',
      request,
      agreedFingerprint: asked.agreedFingerprint ?? null,
      ...(asked.agreedShares === undefined ? {} : { agreedShares: asked.agreedShares }),
    },
    (tx) =>
      request.placement === undefined
        ? makeClones(tx, asked.userId, request, asked.agreedFingerprint ?? null)
        : makePlaced(tx, asked.userId, request, asked.agreedShares),
  );
}

function invalid(issue: { message: string; path: PropertyKey[] } | undefined): OffshootError {
  const field = issue?.path.map(String).join('.');
  return new OffshootError('invalid-input', {
    publicMessage: issue?.message ?? 'That request can’t be read.',
    ...(field === undefined || field === '' ? {} : { field }),
  });
}

/**
 * The rows of a clone batch, inside the asker's transaction. Also used to ask again for a failed one: `places` are then
 * those of its names in the first request.
 */
export async function makeClones(
  tx: Tx,
  userId: string | null,
  request: CloneRequest,
  agreedFingerprint: string | null,
  places?: readonly number[],
): Promise<Made> {
  const source =
    request.source.type === 'guest'
      ? await guestSource(tx, request)
      : await templateSource(tx, request.source.versionId, request.hostId);
  const size = await sizeOf(tx, request);
  const capture =
    needsBase(request.mode) && source.guestId !== null
      ? captureFirst(source, source.guestId, request.mode, agreedFingerprint, size)
      : undefined;
  const first = capture ?? source.transfer;
  await lockReservations(tx);
  const each = needOf(request, size).storeBytes;
  await refuseOverpromised(
    tx,
    source.hostId,
    each * request.names.length + (first?.reserves?.storeBytes ?? 0),
  );
  return cloneRows(tx, userId, request, {
    source,
    first,
    size,
    agreedFingerprint,
    ...(places ? { places } : {}),
  });
}

const sizeOf = (tx: Tx, { source }: CloneRequest): Promise<SourceSize> =>
  source.type === 'guest' ? sizeOfGuest(tx, source.id) : sizeOfVersion(tx, source.versionId);

function captureFirst(
  source: ResolvedSource,
  guestId: string,
  mode: CloneMode,
  agreedFingerprint: string | null,
  size: SourceSize,
): NewOperation {
  return {
    id: newId(),
    kind: 'capture',
    state: 'queued',
    hostId: source.hostId,
    lane: 'bulk',
    guestId,
    title: source.label,
    afterId: null,
    request: { kind: 'capture', guestId, ...(mode === 'memory' ? { memory: true } : {}) },
    agreedFingerprint,
    reserves: {
      vcpus: 0,
      memoryBytes: 0,
      storeBytes: mode === 'memory' ? baseBytes(size) : size.diskBytes,
    },
  };
}

async function guestSource(tx: Tx, request: CloneRequest): Promise<ResolvedSource> {
  if (request.source.type !== 'guest') throw new Error('not a guest');
  const guest = await lockGuest(
    tx,
    request.source.id,
    needsBase(request.mode) ? 'exclusive' : 'shared',
    'source.id',
  );
  if (guest.state === 'missing' || guest.uuid === null) {
    throw new OffshootError('source-missing', {
      publicMessage: `“${guest.name}” is not on its host any more, so it can’t be cloned.`,
      remedy: 'Choose another source.',
      field: 'source.id',
    });
  }
  if (request.hostId !== undefined && request.hostId !== guest.hostId)
    throw new OffshootError('unavailable-mode', {
      publicMessage: `“${guest.name}” is on another host, and a guest can be cloned on its own host only.`,
      remedy: 'Make a template of it: that can be cloned on any host.',
      field: 'hostId',
    });
  await refuseIfBusy(tx, guest, { alsoAsSource: needsBase(request.mode), reading: 'other' });
  return {
    hostId: guest.hostId,
    label: guest.name,
    guestId: guest.id,
    templateVersionId: null,
    baseId: null,
  };
}

async function templateSource(
  tx: Tx,
  versionId: string,
  wanted: string | undefined,
): Promise<ResolvedSource> {
  const { rows } = await tx.query<{
    baseId: string;
    hostId: string;
    digest: string;
    label: string;
    damaged: boolean;
    removing: boolean;
  }>(
    `SELECT o."id" AS "baseId", o."hostId", o."digest", t."name" || ' v' || v."number" AS label, o."damagedAt" IS NOT NULL AS damaged,
       EXISTS (SELECT 1 FROM "operation" r WHERE r."kind" = 'remove-base' AND r."request" ->> 'baseId' = o."id"::text
         AND r."state" IN ('waiting', 'queued', 'running', 'undoing')) AS removing
     FROM "template_version" v JOIN "base" b ON b."id" = v."baseId" JOIN "template" t ON t."id" = v."templateId"
       JOIN "base" o ON o."digest" = b."digest"
     WHERE v."id" = $1 ORDER BY o."hostId" = $2 DESC, o."damagedAt" IS NOT NULL, o."id" = b."id" DESC LIMIT 1 FOR SHARE OF o`,
    [versionId, wanted ?? ''],
  );
  const row = rows[0];
  if (!row || row.removing) {
    throw new OffshootError('not-found', {
      publicMessage: row
        ? `${row.label} is being removed, so it can’t be cloned.`
        : 'That template version does not exist any more.',
      remedy: 'Choose another source.',
      field: 'source.versionId',
    });
  }
  const { label, digest } = row;
  const hostId = wanted ?? row.hostId;
  const source = { hostId, label, guestId: null, templateVersionId: versionId };
  if (row.hostId === hostId && !row.damaged) return { ...source, baseId: row.baseId };
  await needHosts(tx, [hostId]);
  const [transfer] = await makeTransfers(tx, { digest, label }, [hostId]);
  if (transfer) return { ...source, baseId: null, transfer };
  const underway = (await underwayTo(tx, digest)).get(hostId);
  return { ...source, baseId: null, ...(underway === undefined ? {} : { waitsFor: underway }) };
}
