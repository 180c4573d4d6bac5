/**
 * Bases on several hosts. A row of `base` is one host's copy; copies of the same content share their digest. Which copy a
 * template version points to says nothing but which was there first.
 */
import type { CapturedBase } from '@offshoot/clone-core/contract';
import type { OperationRequest } from '@offshoot/clone-core/driver';
import { OffshootError } from '@offshoot/clone-core/errors';
import { ask, insertUnasked, type Asked, type NewOperation } from './ask.ts';
import type { Db } from './client.ts';
import { HOST_SILENT_SECONDS } from './inventory.ts';
import { appendEvents, type NewEvent } from './events.ts';
import { newId, persistently, transaction, type Tx } from './transaction.ts';
import type { BatchResult, JobRef, StoredRequest } from './types.ts';

type StoredTransfer = Extract<StoredRequest, { kind: 'transfer' }>;
type Query = Pick<Tx, 'query'>;

/** Older versions that are looked through for blocks, at most: each is read once from beginning to end. */
const OLDER = 2;

export interface Holder {
  baseId: string;
  hostId: string;
  name: string;
  damaged: boolean;
  /** Its worker was heard of lately and gives bases to others. */
  gives: boolean;
}

/** Every host's copy of a base; those that can give it come first, the oldest first. */
export async function holdersOf(db: Query, digest: string): Promise<Holder[]> {
  const { rows } = await db.query<Holder>(
    `SELECT b."id" AS "baseId", h."id" AS "hostId", h."name", b."damagedAt" IS NOT NULL AS damaged,
       h."peer" IS NOT NULL AND COALESCE(h."heartbeatAt" > clock_timestamp() - make_interval(secs => $2), false) AS gives
     FROM "base" b JOIN "host" h ON h."id" = b."hostId" WHERE b."digest" = $1
     ORDER BY b."damagedAt" IS NOT NULL, 5 DESC, b."createdAt", b."id"`,
    [digest, HOST_SILENT_SECONDS],
  );
  return rows;
}

export interface Wanted {
  digest: string;
  label: string;
  bytesPerSecond?: number | undefined;
}

/**
 * The rows that bring a base to hosts, one each. They form a chain: a host takes it from the one before it while that is
 * still receiving, so that the first source sends each byte once. Hosts that have it, or are getting it, are left out.
 * Throws `source-missing` when nobody can give it.
 */
export async function makeTransfers(
  tx: Tx,
  wanted: Wanted,
  hostIds: readonly string[],
): Promise<NewOperation[]> {
  // Two who ask for the same at once: the second finds the first one's operations.
  await tx.query('SELECT pg_advisory_xact_lock(7067465, hashtext($1))', [wanted.digest]);
  const holders = await holdersOf(tx, wanted.digest);
  const good = new Set(holders.filter(({ damaged }) => !damaged).map(({ hostId }) => hostId));
  const underway = await underwayTo(tx, wanted.digest);
  const missing = [...new Set(hostIds)].filter((hostId) => !good.has(hostId) && !underway.has(hostId));
  if (missing.length === 0) return [];
  const origins = holders.filter(({ damaged, gives }) => !damaged && gives).map(({ hostId }) => hostId);
  if (origins.length === 0) throw nobodyGives(wanted.label, holders);
  const chain: string[] = [];
  const storeBytes = await bytesOf(tx, wanted.digest);
  return missing.map((hostId): NewOperation => {
    const request: StoredTransfer = {
      kind: 'transfer',
      digest: wanted.digest,
      label: wanted.label,
      sources: [...chain.toReversed().slice(0, 2), ...origins],
      replace: holders.some((holder) => holder.hostId === hostId && holder.damaged),
      ...(wanted.bytesPerSecond === undefined ? {} : { bytesPerSecond: wanted.bytesPerSecond }),
    };
    chain.push(hostId);
    return {
      id: newId(),
      kind: 'transfer',
      state: 'queued',
      hostId,
      lane: 'bulk',
      guestId: null,
      title: wanted.label,
      afterId: null,
      request,
      agreedFingerprint: null,
      reserves: { vcpus: 0, memoryBytes: 0, storeBytes },
    };
  });
}

/** What a copy takes in a store. */
async function bytesOf(tx: Tx, digest: string): Promise<number> {
  const { rows } = await tx.query<{ bytes: string }>(
    `SELECT "allocatedBytes" + COALESCE(("memory" ->> 'bytes')::bigint, 0) AS bytes FROM "base" WHERE "digest" = $1 LIMIT 1`,
    [digest],
  );
  return Number(rows[0]?.bytes ?? 0);
}

/** Transfers of a base that have not ended, by the host they go to. They do not end before this transaction: what waits for them is woken. */
export async function underwayTo(db: Query, digest: string): Promise<Map<string, string>> {
  const { rows } = await db.query<{ hostId: string; id: string }>(
    `SELECT "hostId", "id" FROM "operation" WHERE "kind" = 'transfer' AND "request" ->> 'digest' = $1
       AND "state" IN ('waiting', 'queued', 'running') ORDER BY "id" FOR SHARE`,
    [digest],
  );
  return new Map(rows.map(({ hostId, id }) => [hostId, id]));
}

function nobodyGives(label: string, holders: readonly Holder[]): OffshootError {
  const whole = holders.filter(({ damaged }) => !damaged);
  const names = whole.map(({ name }) => name).join(', ');
  return new OffshootError('source-missing', {
    publicMessage:
      whole.length === 0
        ? `No host has a copy of ${label} that is whole.`
        : `${label} is on ${names} only, and ${whole.length === 1 ? 'that host gives' : 'those hosts give'} nothing to others just now.`,
    remedy:
      whole.length === 0
        ? 'Make a new version of the template.'
        : `See that the worker runs there with OFFSHOOT_PEER_ADDRESS set, or clone on ${names}.`,
    field: 'hostId',
  });
}

interface Version {
  digest: string;
  label: string;
}

async function versionOf(db: Query, versionId: string): Promise<Version> {
  const { rows } = await db.query<Version>(
    `SELECT b."digest", t."name" || ' v' || v."number" AS label FROM "template_version" v
       JOIN "base" b ON b."id" = v."baseId" JOIN "template" t ON t."id" = v."templateId" WHERE v."id" = $1`,
    [versionId],
  );
  if (rows[0]) return rows[0];
  throw new OffshootError('not-found', {
    publicMessage: 'That template version does not exist any more.',
    remedy: 'Choose another.',
    field: 'versionId',
  });
}

/**
 * Brings a template version to hosts. Throws `not-found`, `source-missing` when no host can give it, and `invalid-input`
 * when every host has it already.
 */
export function requestTransfer(
  db: Db,
  asked: Asked & { versionId: string; hostIds: readonly string[]; bytesPerSecond?: number },
): Promise<BatchResult> {
  const { versionId, hostIds, bytesPerSecond } = asked;
  return ask(
    db,
    asked,
    { kind: 'transfer', versionId, hostIds, bytesPerSecond: bytesPerSecond ?? null },
    async (tx) => {
      await needHosts(tx, hostIds);
      const version = await versionOf(tx, versionId);
      const operations = await makeTransfers(
        tx,
        { ...version, ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }) },
        hostIds,
      );
      if (operations.length > 0) return { operations };
      throw new OffshootError('invalid-input', {
        publicMessage: `${version.label} is there already, or on its way.`,
        remedy: 'There is nothing to do.',
        field: 'hostIds',
      });
    },
  );
}

export async function needHosts(tx: Tx, hostIds: readonly string[]): Promise<void> {
  const { rows } = await tx.query<{ id: string }>('SELECT "id" FROM "host" WHERE "id" = ANY($1::text[])', [
    hostIds,
  ]);
  const known = new Set(rows.map(({ id }) => id));
  const unknown = hostIds.find((hostId) => !known.has(hostId));
  if (unknown === undefined && hostIds.length > 0) return;
  throw new OffshootError('not-found', {
    publicMessage: unknown === undefined ? 'Choose at least one host.' : `The host ${unknown} is not known.`,
    remedy: 'Choose a host from the list.',
    field: 'hostIds',
  });
}

/** What a transfer would be asked for with, for its preview; undefined: the host has the base, or is getting it. */
export async function transferFor(
  db: Db,
  versionId: string,
  hostId: string,
): Promise<OperationRequest | undefined> {
  const version = await versionOf(db.pool, versionId);
  const holders = await holdersOf(db.pool, version.digest);
  if (holders.some((holder) => holder.hostId === hostId && !holder.damaged)) return undefined;
  const origins = holders.filter(({ damaged, gives }) => !damaged && gives);
  if (origins.length === 0) throw nobodyGives(version.label, holders);
  return resolveTransfer(db, hostId, {
    kind: 'transfer',
    ...version,
    sources: origins.map((origin) => origin.hostId),
    replace: holders.some((holder) => holder.hostId === hostId && holder.damaged),
  });
}

/** From what is stored to what a driver understands. Throws `source-missing` when nobody has the base any more. */
export async function resolveTransfer(
  db: Db,
  hostId: string,
  request: StoredTransfer,
): Promise<OperationRequest> {
  const { digest, label, replace, bytesPerSecond } = request;
  const holders = (await holdersOf(db.pool, digest)).filter(
    (holder) => !holder.damaged && holder.hostId !== hostId,
  );
  const origin = holders[0];
  if (!origin)
    throw new OffshootError('source-missing', {
      publicMessage: `No host has a copy of ${label} that is whole.`,
      remedy: 'Make a new version of the template.',
    });
  const { rows: names } = await db.pool.query<{ id: string; name: string }>(
    'SELECT "id", "name" FROM "host" WHERE "id" = ANY($1::text[])',
    [request.sources],
  );
  const nameOf = new Map(names.map((row): [string, string] => [row.id, row.name]));
  // Who got it since it was asked for can give it too.
  const ids = [...new Set([...request.sources, ...holders.map((holder) => holder.hostId)])];
  return {
    kind: 'transfer',
    label,
    base: await copyOf(db, origin.baseId),
    sources: ids
      .filter((id) => id !== hostId)
      .map((id) => ({
        hostId: id,
        name: nameOf.get(id) ?? holders.find((each) => each.hostId === id)?.name ?? id,
      })),
    older: await olderOn(db, hostId, digest),
    replace,
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
  };
}

/** Bases on the host that are other versions of the same template: the newest first. */
async function olderOn(db: Db, hostId: string, digest: string): Promise<CapturedBase[]> {
  const { rows } = await db.pool.query<{ id: string }>(
    `SELECT b."id" FROM "base" b WHERE b."hostId" = $1 AND b."digest" <> $2 AND b."damagedAt" IS NULL AND b."digest" IN (
       SELECT ob."digest" FROM "base" vb JOIN "template_version" v ON v."baseId" = vb."id"
         JOIN "template_version" ov ON ov."templateId" = v."templateId" JOIN "base" ob ON ob."id" = ov."baseId"
         WHERE vb."digest" = $2)
     ORDER BY b."createdAt" DESC LIMIT $3`,
    [hostId, digest, OLDER],
  );
  return Promise.all(rows.map((row) => copyOf(db, row.id)));
}

async function copyOf(db: Db, baseId: string): Promise<CapturedBase> {
  const { rows } = await db.pool.query<CapturedBase>(
    `SELECT "digest", "definition", "disks", "nvramPath", "memory", "inside", "needs" FROM "base" WHERE "id" = $1`,
    [baseId],
  );
  const row = rows[0];
  if (!row)
    throw new OffshootError('source-missing', { publicMessage: 'That base does not exist any more.' });
  // Columns that are not set are left out, as everywhere.
  return Object.fromEntries(
    Object.entries(row).filter(([, value]) => value !== null),
  ) as unknown as CapturedBase;
}

/**
 * Notes that hosts' copies are damaged: nothing is cloned from them any more. Where another host has a whole one, the copy
 * of `here` is fetched again, unasked; the other hosts' own workers see to theirs. The caller appends the events and rings.
 */
export async function quarantine(
  tx: Tx,
  digest: string,
  hostIds: readonly string[],
  here: string,
): Promise<Unasked> {
  await tx.query(
    `UPDATE "base" SET "damagedAt" = clock_timestamp() WHERE "digest" = $1 AND "hostId" = ANY($2::text[]) AND "damagedAt" IS NULL`,
    [digest, hostIds],
  );
  return hostIds.includes(here) ? fetchAgain(tx, here) : { jobs: [], events: [] };
}

interface Unasked {
  jobs: JobRef[];
  events: NewEvent[];
}

/** One that failed is tried again after so long, minutes. */
const HEAL_AGAIN_MINUTES = 10;

/** As `quarantine` does, for copies of the host that another one found to be damaged. Resolves with the jobs to ring for. */
export function healCopies(db: Db, hostId: string): Promise<JobRef[]> {
  return persistently(async () => {
    const { rowCount } = await db.pool.query(`SELECT 1 FROM "base" b WHERE ${DAMAGED} LIMIT 1`, [
      hostId,
      HEAL_AGAIN_MINUTES,
    ]);
    if (rowCount === 0) return [];
    return transaction(db, async (tx) => {
      const { jobs, events } = await fetchAgain(tx, hostId);
      await appendEvents(tx, events);
      return jobs;
    });
  });
}

const DAMAGED = `b."hostId" = $1 AND b."damagedAt" IS NOT NULL AND NOT EXISTS (SELECT 1 FROM "operation" o WHERE o."kind" = 'transfer' AND o."hostId" = $1
  AND o."request" ->> 'digest' = b."digest" AND (o."finishedAt" IS NULL
    OR o."finishedAt" > b."damagedAt" AND o."finishedAt" > clock_timestamp() - make_interval(mins => $2::int)))`;

async function fetchAgain(tx: Tx, hostId: string): Promise<Unasked> {
  const { rows } = await tx.query<{ digest: string; label: string | null }>(
    `SELECT b."digest", (SELECT min(t."name" || ' v' || v."number") FROM "template_version" v JOIN "template" t ON t."id" = v."templateId"
       JOIN "base" vb ON vb."id" = v."baseId" WHERE vb."digest" = b."digest") AS label FROM "base" b WHERE ${DAMAGED} ORDER BY b."id"`,
    [hostId, HEAL_AGAIN_MINUTES],
  );
  const operations: NewOperation[] = [];
  for (const { digest, label } of rows) {
    const holders = await holdersOf(tx, digest);
    if (!holders.some(({ damaged, gives }) => !damaged && gives)) continue;
    operations.push(
      ...(await makeTransfers(tx, { digest, label: label ?? `base ${digest.slice(0, 12)}` }, [hostId])),
    );
  }
  return insertUnasked(tx, operations);
}

/** What is known of the inside of a base goes with its content. */
export async function shareWhatIsKnown(tx: Tx, baseId: string): Promise<void> {
  await tx.query(
    `UPDATE "base" b SET "inside" = (SELECT o."inside" FROM "base" o WHERE o."digest" = b."digest" AND o."inside" IS NOT NULL LIMIT 1)
     WHERE b."id" = $1 AND b."inside" IS NULL`,
    [baseId],
  );
}
