/** What bringing a template version to hosts would move. */
import { OffshootError } from '@offshoot/clone-core/errors';
import { db } from '../services.ts';
import type { HostRef } from './transfers.ts';

/** What bringing a version to one host means. */
export interface BringChoice extends HostRef {
  /** `delta`: an older version is there, so only what changed travels; `no`: see `why`. */
  way: 'here' | 'underway' | 'whole' | 'delta' | 'no';
  why?: string;
  freeBytes: number | null;
}

export interface BringPreview {
  label: string;
  /** Of one whole copy. */
  bytes: number;
  hosts: BringChoice[];
  /** Bytes per second at which transfers ended lately: the median of the last ones; null: there was none. */
  rate: number | null;
}

/** Silent for longer than this, a host is not offered, seconds. */
const SILENT_SECONDS = 30;

/** For every host what bringing the version there would mean. Throws `not-found`. */
export async function bringPreview(versionId: string): Promise<BringPreview> {
  const { pool } = db();
  const { rows: versions } = await pool.query<{
    digest: string;
    label: string;
    bytes: string;
    templateId: string;
  }>(
    `SELECT b."digest", t."name" || ' v' || v."number" AS label, b."allocatedBytes" AS bytes, v."templateId" FROM "template_version" v
       JOIN "base" b ON b."id" = v."baseId" JOIN "template" t ON t."id" = v."templateId" WHERE v."id" = $1`,
    [versionId],
  );
  const version = versions[0];
  if (!version)
    throw new OffshootError('not-found', {
      publicMessage: 'That template version does not exist any more.',
      remedy: 'Choose another.',
      field: 'versionId',
    });
  const { rows } = await pool.query<{
    id: string;
    name: string;
    here: boolean;
    underway: boolean;
    older: boolean;
    peer: boolean;
    silent: boolean;
    freeBytes: string | null;
  }>(
    `SELECT h."id", h."name", (h."facts" #>> '{store,freeBytes}')::numeric AS "freeBytes", h."peer" IS NOT NULL AS peer,
       h."heartbeatAt" IS NULL OR h."heartbeatAt" < clock_timestamp() - make_interval(secs => $3) AS silent,
       EXISTS (SELECT 1 FROM "base" b WHERE b."hostId" = h."id" AND b."digest" = $1 AND b."damagedAt" IS NULL) AS here,
       EXISTS (SELECT 1 FROM "operation" o WHERE o."hostId" = h."id" AND o."kind" = 'transfer' AND o."request" ->> 'digest' = $1
         AND o."state" IN ('waiting', 'queued', 'running')) AS underway,
       EXISTS (SELECT 1 FROM "base" b JOIN "base" vb ON vb."digest" = b."digest" JOIN "template_version" v ON v."baseId" = vb."id"
         WHERE b."hostId" = h."id" AND v."templateId" = $2 AND b."damagedAt" IS NULL) AS older
     FROM "host" h ORDER BY lower(h."name")`,
    [version.digest, version.templateId, SILENT_SECONDS],
  );
  return {
    label: version.label,
    bytes: Number(version.bytes),
    rate: await usualRate(),
    hosts: rows.map((row): BringChoice => {
      const { id, name } = row;
      const freeBytes = row.freeBytes === null ? null : Number(row.freeBytes);
      const host = { id, name, freeBytes };
      if (row.here) return { ...host, way: 'here' };
      if (row.underway) return { ...host, way: 'underway' };
      if (row.silent) return { ...host, way: 'no', why: 'its worker is not heard from.' };
      if (!row.peer) return { ...host, way: 'no', why: 'its worker takes no bases from others.' };
      return { ...host, way: row.older ? 'delta' : 'whole' };
    }),
  };
}

/** How many of the last transfers the usual rate is told from. */
const RATED = 20;
/** Smaller ones say more about starting up than about the link, bytes. */
const LEAST_RATED_BYTES = 16 * 1024 ** 2;

async function usualRate(): Promise<number | null> {
  const { rows } = await db().pool.query<{ rate: number | null }>(
    `SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY r.rate) AS rate FROM (
       SELECT (o."result" #>> '{transfer,receivedBytes}')::float8 / NULLIF(extract(epoch FROM o."finishedAt" - o."startedAt"), 0)::float8 AS rate
       FROM "operation" o WHERE o."kind" = 'transfer' AND o."state" = 'finished'
         AND (o."result" #>> '{transfer,receivedBytes}')::float8 >= $1 ORDER BY o."finishedAt" DESC NULLS LAST LIMIT $2) r`,
    [LEAST_RATED_BYTES, RATED],
  );
  return rows[0]?.rate ?? null;
}
