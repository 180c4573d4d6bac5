/** Hosts and the guests seen on them, as their workers report. */
import type { GuestSnapshot, GuestState, HostFacts, HypervisorKind } from '@offshoot/clone-core/contract';
import type { ObservedGuest } from '@offshoot/clone-core/driver';
import { arrivingAt } from './arriving.ts';
import { inventoryEvent } from './ask.ts';
import type { Db } from './client.ts';
import { appendEvents } from './events.ts';
import { noteDefinitions } from './recorded.ts';
import { newId, persistently, transaction, type Tx } from './transaction.ts';

export { holdHost, type HostLockCallbacks } from './host-lock.ts';
export { isDue, thinSamples } from './chores.ts';
export { acceptDefinition, adoptGuest, type RecordedDefinition } from './recorded.ts';

export interface HostRegistration {
  id: string;
  name: string;
  kind: HypervisorKind;
  simulated: boolean;
  workerVersion: string;
}

/** Adds the host, or brings its row up to date with the worker that serves it now. A joined host keeps the name it was given. */
export function registerHost(db: Db, host: HostRegistration): Promise<void> {
  return persistently(() =>
    transaction(db, async (tx) => {
      await tx.query(
        `INSERT INTO "host" ("id", "name", "kind", "simulated", "workerVersion", "heartbeatAt") VALUES ($1, $2, $3, $4, $5, clock_timestamp())
       ON CONFLICT ("id") DO UPDATE SET "name" = CASE WHEN offshoot_is_worker() THEN "host"."name" ELSE EXCLUDED."name" END, "kind" = EXCLUDED."kind", "simulated" = EXCLUDED."simulated",
         "workerVersion" = EXCLUDED."workerVersion", "heartbeatAt" = EXCLUDED."heartbeatAt"`,
        [host.id, host.name, host.kind, host.simulated, host.workerVersion],
      );
      await appendEvents(tx, [{ hostId: host.id, data: { type: 'host' } }]);
    }),
  );
}

/** What workers may rely on in this database: a number that a migration raises when that changes. */
export async function portalProtocol(db: Db): Promise<number> {
  return persistently(async () => {
    const { rows } = await db.pool.query<{ protocol: number }>('SELECT offshoot_protocol() AS protocol');
    return rows[0]?.protocol ?? 0;
  });
}

/** MACs of the guests of all other hosts, as far as they are known. */
export function macsElsewhere(db: Db, hostId: string): Promise<string[]> {
  return persistently(async () => {
    const { rows } = await db.pool.query<{ mac: string }>('SELECT offshoot_macs_elsewhere($1) AS mac', [
      hostId,
    ]);
    return rows.map(({ mac }) => mac);
  });
}

/** What of the facts is worth waking the browsers for: not the load, and free space only by the GiB. */
function gist(facts: HostFacts | null): string {
  if (!facts) return '';
  const gib = (bytes: number): number => Math.round(bytes / 2 ** 30);
  const { load1: _load, memoryFreeBytes, store, ...rest } = facts;
  return JSON.stringify({
    ...rest,
    free: gib(memoryFreeBytes),
    store: { ...store, totalBytes: 0, freeBytes: gib(store.freeBytes) },
  });
}

/** A host counts as silent after this long without a report, seconds. */
export const HOST_SILENT_SECONDS = 15;

/** The host's heartbeat. `problem`: why it can't be used, null when all is well; left out: unchanged. */
export async function reportHost(
  db: Db,
  hostId: string,
  report: { facts?: HostFacts; problem?: string | null },
): Promise<void> {
  await transaction(db, async (tx) => {
    const { rows } = await tx.query<{ facts: HostFacts | null; problem: string | null; silent: boolean }>(
      `SELECT "facts", "problem", "heartbeatAt" IS NULL OR "heartbeatAt" < clock_timestamp() - make_interval(secs => $2) AS silent
       FROM "host" WHERE "id" = $1 FOR NO KEY UPDATE`,
      [hostId, HOST_SILENT_SECONDS],
    );
    const before = rows[0];
    if (!before) return;
    await tx.query(
      `UPDATE "host" SET "heartbeatAt" = clock_timestamp(), "facts" = COALESCE($2, "facts"), "problem" = CASE WHEN $3 THEN $4 ELSE "problem" END WHERE "id" = $1`,
      [
        hostId,
        report.facts ? JSON.stringify(report.facts) : null,
        report.problem !== undefined,
        report.problem ?? null,
      ],
    );
    const news =
      before.silent ||
      (report.problem !== undefined && report.problem !== before.problem) ||
      (report.facts !== undefined && gist(report.facts) !== gist(before.facts));
    if (news) await appendEvents(tx, [{ hostId, data: { type: 'host' } }]);
  });
}

interface KnownGuest {
  id: string;
  name: string;
  uuid: string | null;
  state: GuestState;
  vcpus: number | null;
  memoryBytes: string | null;
  usedBytes: string | null;
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
 */
export function syncGuests(
  db: Db,
  hostId: string,
  guests: readonly ObservedGuest[],
  options: { since?: Date } = {},
): Promise<void> {
  return persistently(() =>
    transaction(db, async (tx) => {
      await tx.query('SELECT pg_advisory_xact_lock(7067463, hashtext($1))', [hostId]);
      const recent = await recentlyTouched(tx, hostId, options.since);
      const arriving = await arrivingAt(tx, hostId);
      const { rows: known } = await tx.query<KnownGuest>(
        `SELECT "id", "name", "uuid", "state", "vcpus", "memoryBytes", "usedBytes", "macs", "address", "disks", "snapshots",
           "managed" AND ("recorded" IS NULL OR NOT "recorded" ? 'disks') AS unnoted FROM "guest" WHERE "hostId" = $1 ORDER BY "id"`,
        [hostId],
      );
      const left = known.filter(
        (row) => row.state !== 'creating' && row.state !== 'deleting' && !recent.has(row.name),
      );
      const seen = guests.filter((guest) => !recent.has(guest.name) && !arriving.has(guest.uuid));
      const ours = await snapshotsTakenHere(tx, known, seen);
      const { changes, added, missing, news } = compare(known, left, seen, ours);
      const changedIds = await update(tx, changes);
      const addedIds = await add(tx, hostId, added);
      if (missing.length > 0) {
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
      const unnoted = new Set(known.flatMap((row) => (row.unnoted && row.uuid !== null ? [row.uuid] : [])));
      await noteDefinitions(
        tx,
        hostId,
        seen.flatMap(({ uuid }) => (unnoted.has(uuid) ? [uuid] : [])),
      );
      const told = [...changedIds.filter((id) => news.has(id)), ...addedIds, ...missing];
      if (told.length > 0) await appendEvents(tx, [inventoryEvent(hostId, told)]);
    }),
  );
}

async function recentlyTouched(tx: Tx, hostId: string, since: Date | undefined): Promise<Set<string>> {
  if (!since) return new Set();
  const { rows } = await tx.query<{ title: string }>(
    'SELECT "title" FROM "operation" WHERE "hostId" = $1 AND "finishedAt" >= $2',
    [hostId, since],
  );
  return new Set(rows.map((row) => row.title));
}

/** Names of the snapshots that operations took, as "guest's id, name"; only of guests that have any. */
async function snapshotsTakenHere(
  tx: Tx,
  known: readonly KnownGuest[],
  seen: readonly ObservedGuest[],
): Promise<ReadonlySet<string>> {
  const having = new Set(seen.filter((guest) => (guest.snapshots?.length ?? 0) > 0).map(({ uuid }) => uuid));
  const ids = known.filter((row) => row.uuid !== null && having.has(row.uuid)).map((row) => row.id);
  if (ids.length === 0) return new Set();
  const { rows } = await tx.query<{ guestId: string; name: string }>(
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
    Number(row.memoryBytes) !== guest.memoryBytes ||
    (row.address ?? undefined) !== guest.address ||
    JSON.stringify(row.macs ?? []) !== JSON.stringify(guest.macs) ||
    filesOf(row.disks) !== filesOf(guest.disks) ||
    Math.abs(Number(row.usedBytes ?? 0) - used) >= SPACE_NEWS_BYTES;
  if (news) return 'news';
  return Number(row.usedBytes ?? 0) === used ? 'none' : 'quiet';
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
     WHERE g."id" = r."id" AND g."state" NOT IN ('creating', 'deleting') RETURNING g."id"`,
    [JSON.stringify(changes.map((change) => record(change.id, change.guest, change.snapshots)))],
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
