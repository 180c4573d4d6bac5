/** The rows of clones on one host: guests that reserve their names, and an operation each. Internal to this package. */
import type { CloneRequest } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { namesGoingTo } from './arriving.ts';
import { inventoryEvent, type NewOperation } from './ask.ts';
import { withCleaning } from './catalog.ts';
import { needOf, reserveOf, type SourceSize } from './placement/need.ts';
import { newId, type Tx } from './transaction.ts';
import { needsBase } from './types.ts';

export interface ResolvedSource {
  hostId: string;
  /** What the source is called: "sample v1", "web-01". */
  label: string;
  guestId: string | null;
  templateVersionId: string | null;
  /** Base that linked clones stand on, when it is there already. */
  baseId: string | null;
  /** Brings the base to the host first. */
  transfer?: NewOperation;
  /** A transfer that someone else asked for does. */
  waitsFor?: string;
}

export interface Made {
  operations: NewOperation[];
  events: ReturnType<typeof inventoryEvent>[];
}

/** The rows of clones on one host, with what goes before them there. */
export async function cloneRows(
  tx: Tx,
  userId: string | null,
  request: CloneRequest,
  on: {
    source: ResolvedSource;
    first: NewOperation | undefined;
    size: SourceSize;
    agreedFingerprint: string | null;
    places?: readonly number[];
  },
): Promise<Made> {
  const { source, agreedFingerprint, places, size } = on;
  const { options } = await withCleaning(tx, request);
  const first = on.first && { ...on.first, agreedFingerprint };
  const reserves = reserveOf(needOf(request, size));
  const guestIds = await reserve(tx, userId, request, source);
  const waitsFor = first?.id ?? source.waitsFor;
  const clones = request.names.map((name, index): NewOperation => ({
    id: newId(),
    kind: 'clone',
    state: waitsFor === undefined ? 'queued' : 'waiting',
    hostId: source.hostId,
    lane: request.mode === 'full' ? 'bulk' : 'interactive',
    guestId: guestIds[index] ?? null,
    title: name,
    afterId: waitsFor ?? null,
    request: {
      kind: 'clone',
      source: request.source,
      mode: request.mode,
      name,
      options,
      index: places?.[index] ?? index,
      ...(request.placement === undefined ? {} : { placement: request.placement }),
    },
    reserves,
    // With a capture or a transfer the agreement is about what that will find; its clones follow from it.
    agreedFingerprint: waitsFor === undefined ? agreedFingerprint : null,
  }));
  return {
    operations: first ? [first, ...clones] : clones,
    events: [inventoryEvent(source.hostId, guestIds)],
  };
}

/** One guest row per name, state `creating`; the unique index on (host, name) decides between two who want the same. */
async function reserve(
  tx: Tx,
  userId: string | null,
  request: CloneRequest,
  source: ResolvedSource,
): Promise<string[]> {
  const [coming] = await namesGoingTo(tx, source.hostId, request.names);
  if (coming !== undefined) throw nameTaken(coming, request.names);
  const rows = request.names.map((name) => ({ id: newId(), name }));
  // In name order, so that two requests with overlapping names can't wait for each other.
  const { rows: made } = await tx.query<{ id: string }>(
    `INSERT INTO "guest" ("id", "hostId", "name", "state", "managed", "mode", "sourceGuestId", "sourceName", "templateVersionId",
       "baseId", "macs", "ownedFiles", "ownerId", "createdAt")
     SELECT r."id", $2, r."name", 'creating', true, $3, $4, $5, $6, $7, '{}', '{}', $8, clock_timestamp()
     FROM jsonb_to_recordset($1::jsonb) AS r("id" uuid, "name" text) ORDER BY r."name" COLLATE "C"
     ON CONFLICT ("hostId", "name") DO NOTHING RETURNING "id"`,
    [
      JSON.stringify(rows),
      source.hostId,
      request.mode,
      source.guestId,
      source.label,
      source.templateVersionId,
      needsBase(request.mode) ? source.baseId : null,
      userId,
    ],
  );
  if (made.length < rows.length) {
    const reserved = new Set(made.map((row) => row.id));
    const index = rows.findIndex((row) => !reserved.has(row.id));
    throw nameTaken(rows[index]?.name ?? '', request.names);
  }
  return rows.map((row) => row.id);
}

const nameTaken = (name: string, names: readonly string[]): OffshootError =>
  new OffshootError('name-taken', {
    publicMessage: `There is a guest named “${name}” on this host already, or on its way there.`,
    remedy: 'Choose another name.',
    field: `names.${names.indexOf(name)}`,
  });
