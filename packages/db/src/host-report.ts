/** Hosts as their workers report them. Others import inventory.ts. */
import type { HostFacts, HypervisorKind } from '@offshoot/clone-core/contract';
import pg from 'pg';
import { canonical } from './ask.ts';
import type { Db } from './client.ts';
import { appendEvents } from './events.ts';
import { storable } from './storable.ts';
import { lastly, persistently, statement, transaction, type Tx } from './transaction.ts';

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

/** Which of these MACs (lower case) guests of other hosts have, as far as they are known. */
export function macsTakenElsewhere(db: Db, hostId: string, macs: readonly string[]): Promise<string[]> {
  return persistently(async () => {
    const { rows } = await db.pool.query<{ mac: string }>(
      'SELECT offshoot_macs_taken_elsewhere($1, $2) AS mac',
      [hostId, macs],
    );
    return rows.map(({ mac }) => mac);
  });
}

/**
 * What of the facts is worth waking the browsers for, in whatever order its keys come: not the load nor when it was last
 * seen, and free space only by hundredths of all there is, or by the GiB where those are smaller.
 */
function gist(facts: HostFacts | null): string {
  if (!facts) return '';
  const roughly = (bytes: number, of: number): number => Math.round(bytes / Math.max(2 ** 30, of / 100));
  const { load1: _load, memoryFreeBytes, store, accelerator, ...rest } = facts;
  return canonical({
    ...rest,
    accelerator: { ...accelerator, provenAt: '' },
    free: roughly(memoryFreeBytes, facts.memoryBytes),
    store: { ...store, totalBytes: 0, freeBytes: roughly(store.freeBytes, store.totalBytes) },
  });
}

/** Hosts are looked at every few seconds: hundreds of them need not wait for the disk each time. */
export const REPORTED_AGAIN = { losable: true };

/** A host counts as silent after this long without a report, seconds. */
export const HOST_SILENT_SECONDS = 15;

export interface HostReport {
  facts?: HostFacts;
  /** Why it can't be used, null when all is well; left out: unchanged. */
  problem?: string | null;
}

/** The host's heartbeat. Mostly nothing is new, and one statement is all it takes. */
export async function reportHost(db: Db, hostId: string, report: HostReport): Promise<void> {
  const before = await reported(db.pool, hostId);
  if (!before) return;
  if (!isNews(before, report) && (await beat(db, hostId, report, before.problem))) return;
  await transaction(
    db,
    async (tx) => {
      // Sent together; the second one looks when the first has its lock.
      const [, now] = await Promise.all([
        tx.query('SELECT 1 FROM "host" WHERE "id" = $1 FOR NO KEY UPDATE', [hostId]),
        reported(tx, hostId),
      ]);
      if (!now) return;
      await lastly(tx, beatOf(hostId, report));
      if (isNews(now, report)) await appendEvents(tx, [{ hostId, data: { type: 'host' } }]);
    },
    REPORTED_AGAIN,
  );
}

interface Reported {
  facts: HostFacts | null;
  problem: string | null;
  silent: boolean;
}

async function reported(on: Pick<Tx, 'query'>, hostId: string): Promise<Reported | undefined> {
  const { rows } = await on.query<Reported>({
    name: 'host-reported',
    text: `SELECT "facts", "problem", "heartbeatAt" IS NULL OR "heartbeatAt" < clock_timestamp() - make_interval(secs => $2) AS silent
     FROM "host" WHERE "id" = $1`,
    values: [hostId, HOST_SILENT_SECONDS],
  });
  return rows[0];
}

const isNews = (before: Reported, { facts, problem }: HostReport): boolean =>
  before.silent ||
  (problem !== undefined && problem !== before.problem) ||
  (facts !== undefined && gist(facts) !== gist(before.facts));

/** Resolves with whether the host still had that problem: somebody else may have written another one. */
async function beat(db: Db, hostId: string, report: HostReport, problem: string | null): Promise<boolean> {
  const had = problem === null ? 'IS NULL' : `= ${pg.escapeLiteral(problem)}`;
  const text = `${beatOf(hostId, report)} AND "problem" ${had} RETURNING "id"`;
  return (await statement(db, text, REPORTED_AGAIN)).length > 0;
}

function beatOf(hostId: string, { facts, problem }: HostReport): string {
  const sets = [
    '"heartbeatAt" = clock_timestamp()',
    ...(facts === undefined ? [] : [`"facts" = ${pg.escapeLiteral(storable(facts))}`]),
    ...(problem === undefined
      ? []
      : [`"problem" = ${problem === null ? 'NULL' : pg.escapeLiteral(problem)}`]),
  ];
  return `UPDATE "host" SET ${sets.join(', ')} WHERE "id" = ${pg.escapeLiteral(hostId)}`;
}
