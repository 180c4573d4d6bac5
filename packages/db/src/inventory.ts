/** Hosts and the guests seen on them, as their workers report. */
import type { GuestSnapshot, GuestState } from '@offshoot/clone-core/contract';
import type { ObservedGuest } from '@offshoot/clone-core/driver';
import { inventoryEvent } from './ask.ts';
import type { Db } from './client.ts';
import { appendEvents } from './events.ts';
import { REPORTED_AGAIN } from './host-report.ts';
import { noteDefinitions } from './recorded.ts';
import { newId, persistently, transaction, type Tx } from './transaction.ts';

export { holdHost, type HostLockCallbacks } from './host-lock.ts';
export { isDue, thinSamples } from './chores.ts';
export {
  HOST_SILENT_SECONDS,
  macsTakenElsewhere,
  portalProtocol,
  registerHost,
  reportHost,
  type HostRegistration,
  type HostReport,
} from './host-report.ts';
export { acceptDefinition, adoptGuest, type RecordedDefinition } from './recorded.ts';

interface KnownGuest {
  id: string;
  name: string;
  uuid: string | null;
  state: GuestState;
  vcpus: number | null;
  memoryBytes: number | null;
  usedBytes: number | null;
  macs: string[] | null;
  address: string | null;
  disks: unknown;
  snapshots: GuestSnapshot[] | null;
  /** Its definition was not noted yet. */
  unnoted: boolean;
}

/** A change of used space smaller than this is stored, but wakes no browser. Bytes. */
const SPACE_NEWS_BYTES = 16 * 2 ** 20;

/**
 * Brings the inventory in line with what the host reports: adds found guests (`managed: false`), updates state, address
 * and disks, marks what is gone as `missing`. A guest that was only found, never worked on or cloned, is forgotten
 * instead. Rows being made or deleted are left to their operations.
 * @param options.since when the list was begun, by this machine's clock: guests that an operation ended for since then
 *   are left for the next round, because the list may tell of the time before.
 * @param options.seen what the last call with it found to be as listed; while neither the list nor a row has changed, that is all there is to ask
 * @param options.changed something is known to be new, so that looking whether anything is would be for nothing
 */
export async function syncGuests(
  db: Db,
  hostId: string,
  guests: readonly ObservedGuest[],
  options: { since?: Date; changed?: boolean; seen?: SeenInventory } = {},
): Promise<void> {
  const { seen = {} } = options;
  await persistently(async () => {
    const stamp =
      options.seen && options.changed !== true ? await stampOf(db, hostId, guests, options.since) : undefined;
    if (stamp !== undefined && stamp === seen.stamp) return;
    // Mostly nothing has changed, and one statement is all it takes.
    if (options.changed !== true && (await isAsListed(db.pool, hostId, guests, options.since))) {
      // Whose snapshots they are depends on more than these rows.
      if (guests.some(({ snapshots }) => (snapshots?.length ?? 0) > 0)) delete seen.stamp;
      else if (stamp !== undefined) seen.stamp = stamp;
      return;
    }
    delete seen.stamp;
    await transaction(
      db,
      async (tx) => {
        // Sent together; the second one looks when the first has its lock.
        const [, { changes, added, missing, news, unnoted }] = await Promise.all([
          tx.query('SELECT pg_advisory_xact_lock(7067463, hashtext($1))', [hostId]),
          difference(tx, hostId, guests, options.since),
        ]);
        const changedIds = await update(tx, changes);
        const addedIds = await add(tx, hostId, added);
        await lose(tx, missing);
        await noteDefinitions(tx, hostId, unnoted);
        const told = [...changedIds.filter((id) => news.has(id)), ...addedIds, ...missing];
        if (told.length > 0) await appendEvents(tx, [inventoryEvent(hostId, told)]);
      },
      REPORTED_AGAIN,
    );
  });
}

/** Belongs to whoever calls `syncGuests` for one host again and again. */
export interface SeenInventory {
  stamp?: string;
}

/** The list, and which versions of which rows it is compared with: another writer's change of a row is another `xmin`. */
async function stampOf(
  db: Db,
  hostId: string,
  guests: readonly ObservedGuest[],
  since: Date | undefined,
): Promise<string> {
  const { rows } = await db.pool.query<{ versions: string }>({
    name: 'inventory-versions',
    text: `SELECT jsonb_build_array(ARRAY(SELECT "title" FROM "operation" WHERE "hostId" = $1 AND "finishedAt" >= $2),
       ARRAY(SELECT offshoot_arriving_at($1)::text),
       (SELECT string_agg(g."id" || ' ' || g.xmin, ',' ORDER BY g."id") FROM "guest" g WHERE g."hostId" = $1))::text AS versions`,
    values: [hostId, since ?? null],
  });
  return `${rows[0]?.versions} ${JSON.stringify(guests)}`;
}

type Queryable = Pick<Tx, 'query'>;

async function isAsListed(...asked: Parameters<typeof difference>): Promise<boolean> {
  const { changes, added, missing, unnoted } = await difference(...asked);
  return changes.length + added.length + missing.length + unnoted.length === 0;
}

/** What of the inventory is not as the host lists it. */
async function difference(
  on: Queryable,
  hostId: string,
  guests: readonly ObservedGuest[],
  since: Date | undefined,
) {
  const { known, recent, arriving } = await whatIsKnown(on, hostId, since);
  const left = known.filter(
    (row) => row.state !== 'creating' && row.state !== 'deleting' && !recent.has(row.name),
  );
  const seen = guests.filter((guest) => !recent.has(guest.name) && !arriving.has(guest.uuid));
  const ours = await snapshotsTakenHere(on, known, seen);
  const unnoted = new Set(known.flatMap((row) => (row.unnoted && row.uuid !== null ? [row.uuid] : [])));
  return {
    ...compare(known, left, seen, ours),
    /** UUIDs of guests whose definitions were not noted yet. */
    unnoted: seen.flatMap(({ uuid }) => (unnoted.has(uuid) ? [uuid] : [])),
  };
}

/** The host's guests; the names of those that an operation ended for since then; the UUIDs of those on their way here. */
async function whatIsKnown(on: Queryable, hostId: string, since: Date | undefined) {
  const { rows } = await on.query<{
    known: KnownGuest[] | null;
    recent: string[];
    arriving: string[];
  }>({
    name: 'inventory-known',
    text: `SELECT ARRAY(SELECT "title" FROM "operation" WHERE "hostId" = $1 AND "finishedAt" >= $2) AS recent,
       ARRAY(SELECT offshoot_arriving_at($1)::text) AS arriving,
       (SELECT json_agg(k ORDER BY k."id") FROM (SELECT "id", "name", "uuid", "state", "vcpus", "memoryBytes", "usedBytes", "macs", "address", "disks", "snapshots",
          "managed" AND ("recorded" IS NULL OR NOT "recorded" ? 'disks') AND "state" NOT IN ('creating', 'deleting', 'missing') AS unnoted
        FROM "guest" WHERE "hostId" = $1) k) AS known`,
    values: [hostId, since ?? null],
  });
  const row = rows[0];
  return {
    known: row?.known ?? [],
    recent: new Set(row?.recent),
    arriving: new Set(row?.arriving),
  };
}

/** Guests that are not on their host any more. */
async function lose(tx: Tx, missing: readonly string[]): Promise<void> {
  if (missing.length === 0) return;
  await tx.query(
    `UPDATE "guest" SET "state" = 'missing', "address" = NULL WHERE "id" = ANY($1::uuid[]) AND "state" NOT IN ('creating', 'deleting')`,
    [missing],
  );
  await tx.query(
    `DELETE FROM "guest" g WHERE g."id" = ANY($1::uuid[]) AND g."state" = 'missing' AND NOT g."managed"
       AND NOT EXISTS (SELECT 1 FROM "operation" o WHERE o."guestId" = g."id")
       AND NOT EXISTS (SELECT 1 FROM "guest" c WHERE c."sourceGuestId" = g."id")`,
    [missing],
  );
}

/** Names of the snapshots that operations took, as "guest's id, name"; only of guests that have any. */
async function snapshotsTakenHere(
  on: Queryable,
  known: readonly KnownGuest[],
  seen: readonly ObservedGuest[],
): Promise<ReadonlySet<string>> {
  const having = new Set(seen.filter((guest) => (guest.snapshots?.length ?? 0) > 0).map(({ uuid }) => uuid));
  const ids = known.filter((row) => row.uuid !== null && having.has(row.uuid)).map((row) => row.id);
  if (ids.length === 0) return new Set();
  const { rows } = await on.query<{ guestId: string; name: string }>(
    `SELECT "guestId", "request" ->> 'name' AS name FROM "operation"
     WHERE "guestId" = ANY($1::uuid[]) AND "kind" = 'snapshot' AND "state" IN ('finished', 'running')`,
    [ids],
  );
  return new Set(rows.map((row) => `${row.guestId} ${row.name}`));
}

interface Change {
  id: string;
  guest: ObservedGuest;
  /** Null: the driver knows of none; what is stored stays. */
  snapshots: GuestSnapshot[] | null;
}

function compare(
  known: readonly KnownGuest[],
  open: readonly KnownGuest[],
  seen: readonly ObservedGuest[],
  ours: ReadonlySet<string>,
) {
  const byUuid = new Map(known.flatMap((row) => (row.uuid === null ? [] : [[row.uuid, row]])));
  const openIds = new Set(open.map((row) => row.id));
  const changes: Change[] = [];
  const added: ObservedGuest[] = [];
  const news = new Set<string>();
  for (const guest of seen) {
    const row = byUuid.get(guest.uuid);
    if (!row) {
      added.push(guest);
    } else if (openIds.has(row.id)) {
      const snapshots =
        guest.snapshots?.map((each): GuestSnapshot => ({
          ...each,
          ours: ours.has(`${row.id} ${each.name}`),
        })) ?? null;
      const relisted = snapshots !== null && !sameSnapshots(row.snapshots ?? [], snapshots);
      const change = relisted ? 'news' : differs(row, guest);
      if (change !== 'none') changes.push({ id: row.id, guest, snapshots });
      if (change === 'news') news.add(row.id);
    }
  }
  const seenUuids = new Set(seen.map((guest) => guest.uuid));
  const missing = open
    .filter((row) => row.state !== 'missing' && (row.uuid === null || !seenUuids.has(row.uuid)))
    .map((row) => row.id);
  return { changes, added, missing, news };
}

const usedBytesOf = (guest: ObservedGuest): number =>
  guest.disks.reduce((sum, disk) => sum + disk.usedBytes, 0);
const virtualBytesOf = (guest: ObservedGuest): number =>
  guest.disks.reduce((sum, disk) => sum + disk.virtualBytes, 0);

function differs(row: KnownGuest, guest: ObservedGuest): 'none' | 'quiet' | 'news' {
  const used = usedBytesOf(guest);
  const news =
    row.name !== guest.name ||
    row.state !== guest.state ||
    row.vcpus !== guest.vcpus ||
    row.memoryBytes !== guest.memoryBytes ||
    (row.address ?? undefined) !== guest.address ||
    JSON.stringify(row.macs ?? []) !== JSON.stringify(guest.macs) ||
    filesOf(row.disks) !== filesOf(guest.disks) ||
    Math.abs((row.usedBytes ?? 0) - used) >= SPACE_NEWS_BYTES;
  if (news) return 'news';
  return (row.usedBytes ?? 0) === used ? 'none' : 'quiet';
}

/** Which files are its disks. */
const filesOf = (disks: unknown): string =>
  (Array.isArray(disks) ? (disks as ObservedGuest['disks']) : [])
    .map(({ target, path }) => `${target} ${path}`)
    .toSorted()
    .join('\n');

/** In whatever order: PostgreSQL keeps the keys of its JSON in one of its own. */
const sameSnapshots = (one: readonly GuestSnapshot[], other: readonly GuestSnapshot[]): boolean => {
  const text = (all: readonly GuestSnapshot[]): string =>
    JSON.stringify(
      all
        .map(({ name, takenAt, withMemory, memoryBytes, ours }) =>
          JSON.stringify([name, takenAt, withMemory, memoryBytes ?? 0, ours]),
        )
        .toSorted(),
    );
  return text(one) === text(other);
};

const record = (id: string, guest: ObservedGuest, snapshots: GuestSnapshot[] | null = null): object => ({
  id,
  snapshots,
  uuid: guest.uuid,
  name: guest.name,
  state: guest.state,
  vcpus: guest.vcpus,
  memoryBytes: guest.memoryBytes,
  virtualBytes: virtualBytesOf(guest),
  usedBytes: usedBytesOf(guest),
  macs: guest.macs,
  address: guest.address ?? null,
  disks: guest.disks,
});
const RECORD = `r("id" uuid, "uuid" uuid, "name" text, "state" text, "vcpus" int, "memoryBytes" bigint, "virtualBytes" bigint,
  "usedBytes" bigint, "macs" text[], "address" text, "disks" jsonb, "snapshots" jsonb)`;

async function update(tx: Tx, changes: readonly Change[]): Promise<string[]> {
  if (changes.length === 0) return [];
  const { rows } = await tx.query<{ id: string }>(
    `UPDATE "guest" g SET "state" = r."state", "vcpus" = r."vcpus", "memoryBytes" = r."memoryBytes", "virtualBytes" = r."virtualBytes",
       "usedBytes" = r."usedBytes", "macs" = r."macs", "address" = r."address", "disks" = r."disks", "snapshots" = COALESCE(NULLIF(r."snapshots", 'null'), g."snapshots"), "seenAt" = clock_timestamp(),
       "name" = CASE WHEN EXISTS (SELECT 1 FROM "guest" o WHERE o."hostId" = g."hostId" AND o."name" = r."name") THEN g."name" ELSE r."name" END
     FROM jsonb_to_recordset($1::jsonb) AS ${RECORD}
     WHERE g."id" = ANY($2::uuid[]) AND g."id" = r."id" AND g."state" NOT IN ('creating', 'deleting') RETURNING g."id"`,
    [
      JSON.stringify(changes.map((change) => record(change.id, change.guest, change.snapshots))),
      // How many the JSON holds the planner can't know: it would read the guests of all hosts.
      changes.map(({ id }) => id),
    ],
  );
  return rows.map((row) => row.id);
}

async function add(tx: Tx, hostId: string, guests: readonly ObservedGuest[]): Promise<string[]> {
  if (guests.length === 0) return [];
  // A name or uuid that a running operation has reserved is that operation's guest.
  const { rows } = await tx.query<{ id: string }>(
    `INSERT INTO "guest" ("id", "hostId", "uuid", "name", "state", "managed", "vcpus", "memoryBytes", "virtualBytes", "usedBytes", "macs",
       "address", "disks", "ownedFiles", "seenAt")
     SELECT "id", $2, "uuid", "name", "state", false, "vcpus", "memoryBytes", "virtualBytes", "usedBytes", "macs", "address", "disks", '{}', clock_timestamp()
     FROM jsonb_to_recordset($1::jsonb) AS ${RECORD} ON CONFLICT DO NOTHING RETURNING "id"`,
    [JSON.stringify(guests.map((guest) => record(newId(), guest))), hostId],
  );
  return rows.map((row) => row.id);
}
