/** The fleet as a placement sees it: what hosts reported, less what is promised. Reads only. */
import type { CloneRequest, HostFacts } from '@offshoot/clone-core/contract';
import type { Duty } from '@offshoot/clone-core/contract/joining';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Holding, HostState, PlacementQuestion, Seat } from '@offshoot/clone-core/placement/types';
import type { Db } from '../client.ts';
import { HOST_SILENT_SECONDS } from '../inventory.ts';
import type { Tx } from '../transaction.ts';
import { baseBytes, needOf, sizeOfVersion } from './need.ts';
import { OPEN, TAKES_OF } from './reserve.ts';

type Query = Pick<Tx, 'query'>;

/** What is asked for, with what decides where it goes. */
export type Placeable = Pick<CloneRequest, 'mode' | 'options' | 'names'> & {
  versionId: string;
  placement: NonNullable<CloneRequest['placement']>;
};

interface FleetRow {
  id: string;
  name: string;
  kind: string;
  facts: HostFacts | null;
  problem: string | null;
  duty: Duty;
  fresh: boolean;
  gives: boolean;
  busy: string;
  promised: { vcpus: number; memoryBytes: number; storeBytes: number };
  whole: boolean;
  older: boolean;
  coming: boolean;
}

/**
 * The question for `place`: every host (of those to choose from) as it is now, and a seat a name. `taken`: hosts that have a guest of an
 * `apart` batch already. Throws `not-found` when the version or a host is gone.
 */
export async function questionFor(
  db: Query,
  asked: Placeable,
  taken: readonly string[] = [],
): Promise<PlacementQuestion & { digest: string; label: string }> {
  const { placement, names } = asked;
  const version = await versionOf(db, asked.versionId);
  const size = await sizeOfVersion(db, asked.versionId);
  const need = needOf(asked, size);
  const all = await fleet(db, version.digest, placement.hostIds ?? null);
  // Another hypervisor's host is none to choose from, unless someone picked it: then it is told why not.
  const rows = placement.hostIds ? all : all.filter(({ kind }) => kind === version.kind);
  const unknown = placement.hostIds?.find((hostId) => !rows.some(({ id }) => id === hostId));
  if (unknown !== undefined)
    throw new OffshootError('not-found', {
      publicMessage: `The host ${unknown} is not known.`,
      remedy: 'Choose a host from the list.',
      field: 'placement.hostIds',
    });
  const group = placement.rule === 'any' ? {} : { [placement.rule]: 'batch' };
  return {
    digest: version.digest,
    label: version.label,
    hosts: rows.map((row) => ({
      ...stateOf(row, version),
      ...(taken.includes(row.id) ? { groups: ['batch'] } : {}),
    })),
    seats: names.map((name): Seat => ({ name, ...need, ...group })),
    baseBytes: baseBytes(size),
    policy: placement.policy,
  };
}

/** As `questionFor`, outside a transaction: for previews. */
export const previewQuestion = (db: Db, asked: Placeable): ReturnType<typeof questionFor> =>
  questionFor(db.pool, asked);

async function versionOf(
  db: Query,
  versionId: string,
): Promise<{ digest: string; label: string; kind: string; given: boolean }> {
  const { rows } = await db.query<{ digest: string; label: string; kind: string; given: boolean }>(
    `SELECT b."digest", t."name" || ' v' || v."number" AS label, h."kind",
       EXISTS (SELECT 1 FROM "base" o JOIN "host" g ON g."id" = o."hostId" WHERE o."digest" = b."digest" AND o."damagedAt" IS NULL
         AND g."peer" IS NOT NULL AND g."heartbeatAt" > clock_timestamp() - make_interval(secs => $2)) AS given
     FROM "template_version" v JOIN "base" b ON b."id" = v."baseId" JOIN "template" t ON t."id" = v."templateId" JOIN "host" h ON h."id" = b."hostId"
     WHERE v."id" = $1`,
    [versionId, HOST_SILENT_SECONDS],
  );
  if (rows[0]) return rows[0];
  throw new OffshootError('not-found', {
    publicMessage: 'That template version does not exist any more.',
    remedy: 'Choose another source.',
    field: 'source.versionId',
  });
}

async function fleet(db: Query, digest: string, hostIds: readonly string[] | null): Promise<FleetRow[]> {
  const { rows } = await db.query<FleetRow>(
    `SELECT h."id", h."name", h."kind", h."facts", h."problem", h."duty", h."peer" IS NOT NULL AS gives,
       COALESCE(h."heartbeatAt" > clock_timestamp() - make_interval(secs => $2), false) AS fresh,
       (SELECT COALESCE(sum(g."vcpus"), 0) FROM "guest" g WHERE g."hostId" = h."id" AND g."state" IN ('running', 'paused')) AS busy,
       (SELECT jsonb_build_object('vcpus', COALESCE(sum(("reserves" ->> 'vcpus')::int), 0),
          'memoryBytes', COALESCE(sum(("reserves" ->> 'memoryBytes')::bigint), 0), 'storeBytes', COALESCE(sum(("reserves" ->> 'storeBytes')::bigint), 0))
        FROM "operation" WHERE ${TAKES_OF} = h."id" AND "reserves" IS NOT NULL AND ${OPEN}) AS promised,
       EXISTS (SELECT 1 FROM "base" b WHERE b."hostId" = h."id" AND b."digest" = $1 AND b."damagedAt" IS NULL) AS whole,
       EXISTS (SELECT 1 FROM "operation" o WHERE o."kind" = 'transfer' AND o."hostId" = h."id" AND o."request" ->> 'digest' = $1
         AND o."state" IN ('waiting', 'queued', 'running')) AS coming,
       EXISTS (SELECT 1 FROM "base" b WHERE b."hostId" = h."id" AND b."damagedAt" IS NULL AND b."digest" IN (
         SELECT ob."digest" FROM "base" vb JOIN "template_version" v ON v."baseId" = vb."id"
           JOIN "template_version" ov ON ov."templateId" = v."templateId" JOIN "base" ob ON ob."id" = ov."baseId" WHERE vb."digest" = $1)) AS older
     FROM "host" h WHERE $3::text[] IS NULL OR h."id" = ANY($3) ORDER BY h."id"`,
    [digest, HOST_SILENT_SECONDS, hostIds],
  );
  return rows;
}

function stateOf(row: FleetRow, version: { kind: string; given: boolean }): HostState {
  const { facts, promised } = row;
  const unusable = whyUnusable(row, version.kind);
  const receivesNothing = !row.gives
    ? 'its worker takes none from other hosts'
    : version.given || row.coming
      ? undefined
      : 'no host that has it gives it to others just now';
  return {
    id: row.id,
    name: row.name,
    cores: facts?.cpus ?? 0,
    load1: facts?.load1 ?? 0,
    busyVcpus: Number(row.busy) + promised.vcpus,
    memoryBytes: facts?.memoryBytes ?? 0,
    memoryFreeBytes: Math.max(0, (facts?.memoryFreeBytes ?? 0) - promised.memoryBytes),
    storeBytes: facts?.store.totalBytes ?? 0,
    storeFreeBytes: Math.max(0, (facts?.store.freeBytes ?? 0) - promised.storeBytes),
    networks: facts?.networks ?? [],
    holds: holdingOf(row),
    ...(unusable === undefined ? {} : { unusable }),
    ...(receivesNothing === undefined ? {} : { receivesNothing }),
  };
}

const holdingOf = ({ whole, coming, older }: FleetRow): Holding =>
  whole ? 'base' : coming ? 'coming' : older ? 'older' : 'none';

function whyUnusable({ fresh, problem, facts, kind, duty }: FleetRow, wanted: string): string | undefined {
  if (kind !== wanted) return 'is another kind of host';
  if (duty !== 'serving') return duty === 'draining' ? 'is being drained' : 'is in maintenance';
  if (!fresh) return 'its worker does not answer';
  if (problem !== null) return `has a problem: ${problem.replace(/\.$/, '')}`;
  return facts === null ? 'has not reported yet what it has' : undefined;
}
