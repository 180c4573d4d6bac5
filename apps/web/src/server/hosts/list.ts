/** Hosts as pages need them: one page of the list, all names, the fleet in sums. */
import type { HostFacts } from '@offshoot/clone-core/contract';
import { HOST_SILENT_SECONDS_SHOWN, hostView, type HostState, type HostView } from '../views/host.ts';
import { db } from '../services.ts';

export const hostSorts = ['name', 'state', 'load', 'memory', 'storage', 'guests'] as const;
export type HostSort = (typeof hostSorts)[number];

export interface HostQuery {
  search?: string;
  state?: HostState | null | undefined;
  accelerator?: string | null | undefined;
  sort?: HostSort;
  descending?: boolean;
  page?: number;
  pageSize?: number;
}

/** What of the fleet there is, in sums. Bytes are bytes; silent hosts count with what they said last. */
export interface FleetSums {
  hosts: number;
  online: number;
  problem: number;
  silent: number;
  cpus: number;
  load: number;
  memoryBytes: number;
  memoryFreeBytes: number;
  storeBytes: number;
  storeFreeBytes: number;
  guests: number;
  running: number;
}

const STATE = `CASE WHEN h."heartbeatAt" IS NULL OR h."heartbeatAt" < clock_timestamp() - make_interval(secs => ${HOST_SILENT_SECONDS_SHOWN})
  THEN 'silent' WHEN h."problem" IS NULL THEN 'online' ELSE 'problem' END`;
const NUMBER = (path: string): string => `(h."facts" #>> '{${path}}')::numeric`;

const MATCHES = `($1 = '' OR strpos(lower(h."name"), lower($1)) > 0 OR strpos(h."id", lower($1)) > 0)
  AND ($2::text IS NULL OR ${STATE} = $2) AND ($3::text IS NULL OR h."facts" #>> '{accelerator,name}' = $3)`;

/** Fuller first, or who needs attention first, is what people look for: a host without facts comes last. */
const ORDER: Readonly<Record<HostSort, string>> = {
  name: `lower(h."name")`,
  state: `CASE ${STATE} WHEN 'silent' THEN 0 WHEN 'problem' THEN 1 ELSE 2 END`,
  load: `${NUMBER('load1')} / NULLIF(${NUMBER('cpus')}, 0)`,
  memory: `1 - ${NUMBER('memoryFreeBytes')} / NULLIF(${NUMBER('memoryBytes')}, 0)`,
  storage: `1 - ${NUMBER('store,freeBytes')} / NULLIF(${NUMBER('store,totalBytes')}, 0)`,
  guests: `(SELECT count(*) FROM "guest" c WHERE c."hostId" = h."id")`,
};

/** One page of the hosts that match, and how many there are. */
export async function hostPage(query: HostQuery): Promise<{ total: number; hosts: HostView[] }> {
  const {
    search = '',
    state,
    accelerator,
    sort = 'name',
    descending = false,
    page = 1,
    pageSize = 50,
  } = query;
  const matching = [search.trim(), state ?? null, accelerator ?? null];
  const [{ rows }, { rows: counted }] = await Promise.all([
    db().pool.query<{ id: string }>(
      `SELECT h."id" FROM "host" h WHERE ${MATCHES}
       ORDER BY ${ORDER[sort]} ${descending ? 'DESC' : 'ASC'} NULLS LAST, lower(h."name"), h."id" LIMIT $4 OFFSET $5`,
      [...matching, pageSize, (page - 1) * pageSize],
    ),
    db().pool.query<{ total: string }>(`SELECT count(*) AS total FROM "host" h WHERE ${MATCHES}`, matching),
  ]);
  const hosts = await hostsById(rows.map((row) => row.id));
  return { total: Number(counted[0]?.total ?? 0), hosts };
}

/** These hosts, in this order. */
async function hostsById(ids: readonly string[]): Promise<HostView[]> {
  if (ids.length === 0) return [];
  const [rows, counts] = await Promise.all([
    db().prisma.host.findMany({
      where: { id: { in: [...ids] } },
      include: { workers: { select: { revokedAt: true, via: true } } },
    }),
    guestSums(ids),
  ]);
  const now = Date.now();
  const views = new Map(rows.map((row) => [row.id, hostView(row, counts.get(row.id), now)]));
  return ids.flatMap((id) => views.get(id) ?? []);
}

/** One host; null when there is none. */
export async function hostById(id: string): Promise<HostView | null> {
  return (await hostsById([id]))[0] ?? null;
}

/** All hosts by name. For what must offer every one; pages of lists use `hostPage`. */
export async function listHosts(): Promise<HostView[]> {
  const rows = await db().prisma.host.findMany({ orderBy: { name: 'asc' }, select: { id: true } });
  return hostsById(rows.map((row) => row.id));
}

/** What New clone needs to know of each host. */
export interface HostChoice {
  id: string;
  name: string;
  state: HostState;
  /** Null: it has said nothing yet. */
  facts: Pick<HostFacts, 'networks'> | null;
}

/** All hosts by name, to choose from. */
export async function hostChoices(): Promise<HostChoice[]> {
  const { rows } = await db().pool.query<
    Omit<HostChoice, 'facts'> & { networks: HostFacts['networks'] | null }
  >(
    `SELECT h."id", h."name", ${STATE} AS state, h."facts" -> 'networks' AS networks FROM "host" h ORDER BY lower(h."name"), h."id"`,
  );
  return rows.map(({ networks, ...row }) => ({ ...row, facts: networks && { networks } }));
}

export interface HostName {
  id: string;
  name: string;
  simulated: boolean;
}

/** Names of all hosts, for filters. */
export function hostNames(): Promise<HostName[]> {
  return db().prisma.host.findMany({
    orderBy: { name: 'asc' },
    select: { id: true, name: true, simulated: true },
  });
}

/** What guests of a host have and are promised. */
export interface GuestSums {
  total: number;
  running: number;
  /** Processors given to those that run. */
  vcpus: number;
  /** Memory and space promised to operations that have not ended. Bytes. */
  promisedMemoryBytes: number;
  promisedStoreBytes: number;
  /** What disks of thin provision may still grow by, if their guests fill them. Bytes. */
  growBytes: number;
}

async function guestSums(hostIds: readonly string[]): Promise<Map<string, GuestSums>> {
  const { rows } = await db().pool.query<{ hostId: string } & Record<keyof GuestSums, string>>(
    `SELECT h.id AS "hostId", g.*, p.* FROM unnest($1::text[]) AS h(id)
     CROSS JOIN LATERAL (
       SELECT count(*) AS total, count(*) FILTER (WHERE g."state" = 'running') AS running,
         COALESCE(sum(g."vcpus") FILTER (WHERE g."state" = 'running'), 0) AS vcpus,
         COALESCE(sum(GREATEST(g."virtualBytes" - g."usedBytes", 0)) FILTER (WHERE g."state" NOT IN ('creating', 'missing')), 0) AS "growBytes"
       FROM "guest" g WHERE g."hostId" = h.id) g
     CROSS JOIN LATERAL (
       SELECT COALESCE(sum((o."reserves" ->> 'memoryBytes')::bigint), 0) AS "promisedMemoryBytes",
         COALESCE(sum((o."reserves" ->> 'storeBytes')::bigint), 0) AS "promisedStoreBytes"
       FROM "operation" o WHERE o."hostId" = h.id AND o."reserves" IS NOT NULL AND o."state" IN ('waiting', 'queued', 'running', 'undoing')) p`,
    [hostIds],
  );
  return new Map(
    rows.map(({ hostId, ...sums }) => [
      hostId,
      Object.fromEntries(
        Object.entries(sums).map(([key, value]) => [key, Number(value)]),
      ) as unknown as GuestSums,
    ]),
  );
}

/** The fleet in one line. */
export async function fleetSums(): Promise<FleetSums> {
  const { rows } = await db().pool.query<Record<keyof FleetSums, string | null>>(
    `SELECT count(*) AS hosts, count(*) FILTER (WHERE s = 'online') AS online, count(*) FILTER (WHERE s = 'problem') AS problem,
       count(*) FILTER (WHERE s = 'silent') AS silent, sum(${NUMBER('cpus')}) AS cpus, sum(${NUMBER('load1')}) AS load,
       sum(${NUMBER('memoryBytes')}) AS "memoryBytes", sum(${NUMBER('memoryFreeBytes')}) AS "memoryFreeBytes",
       sum(${NUMBER('store,totalBytes')}) AS "storeBytes", sum(${NUMBER('store,freeBytes')}) AS "storeFreeBytes",
       (SELECT count(*) FROM "guest") AS guests, (SELECT count(*) FROM "guest" WHERE "state" = 'running') AS running
     FROM (SELECT h.*, ${STATE} AS s FROM "host" h) h`,
  );
  return Object.fromEntries(
    Object.entries(rows[0] ?? {}).map(([key, value]) => [key, Number(value ?? 0)]),
  ) as unknown as FleetSums;
}
