/** Templates, their versions, and the bases that linked clones stand on. */
import type { BaseDisk, CapturedBase, CloneRequest } from '@offshoot/clone-core/contract';
import { cleanSchema, type CleanKind } from '@offshoot/clone-core/contract/identity';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Db } from './client.ts';
import { storable } from './storable.ts';
import { newId, type Tx } from './transaction.ts';

const versionsWithBase = {
  orderBy: { number: 'desc' },
  include: {
    base: {
      // A base's definition is the hypervisor's XML: large, and nobody's who looks at a list.
      omit: { definition: true },
      include: { host: { select: { name: true } }, _count: { select: { children: true } } },
    },
  },
} as const;

/** Templates by name, each with its versions (newest first), their base and how many children stand on it. */
export function listTemplates(db: Db) {
  return db.prisma.template.findMany({ orderBy: { name: 'asc' }, include: { versions: versionsWithBase } });
}

/** One template as in the list; null when there is none. */
export function templateById(db: Db, id: string) {
  return db.prisma.template.findUnique({ where: { id }, include: { versions: versionsWithBase } });
}

/** Of disks with these digests: on how many hosts they are, and how many guests stand on them there. */
export async function copiesOf(
  db: Db,
  digests: readonly string[],
): Promise<Map<string, { hosts: number; guests: number }>> {
  const { rows } = await db.pool.query<{ digest: string; hosts: number; guests: number }>(
    `SELECT b."digest", count(DISTINCT b."id")::int AS hosts, count(g."id")::int AS guests
     FROM "base" b LEFT JOIN "guest" g ON g."baseId" = b."id" WHERE b."digest" = ANY($1) GROUP BY b."digest"`,
    [digests],
  );
  return new Map(rows.map(({ digest, ...counts }) => [digest, counts]));
}

/** One version with its template and base; null when there is none. */
export function templateVersion(db: Db, id: string) {
  return db.prisma.templateVersion.findUnique({ where: { id }, include: { template: true, base: true } });
}

/** What clones of a template leave out from now on, when nobody says otherwise. Throws `not-found`. */
export async function keepCleaning(db: Db, templateId: string, clean: readonly CleanKind[]): Promise<void> {
  const { count } = await db.prisma.template.updateMany({
    where: { id: templateId },
    data: { clean: [...clean] },
  });
  if (count === 0)
    throw new OffshootError('not-found', {
      publicMessage: 'There is no such template. It may have been deleted.',
      remedy: 'Reload the page.',
    });
}

/** A request as it is meant: what it leaves open about cleaning is as its template says. */
export async function withCleaning(reader: Pick<Tx, 'query'>, request: CloneRequest): Promise<CloneRequest> {
  const { source, options } = request;
  if (source.type !== 'template' || options.identity.clean !== undefined) return request;
  const { rows } = await reader.query<{ clean: string[] | null }>(
    'SELECT t."clean" FROM "template" t JOIN "template_version" v ON v."templateId" = t."id" WHERE v."id" = $1',
    [source.versionId],
  );
  const clean = cleanSchema.parse(rows[0]?.clean ?? []);
  if (clean.length === 0) return request;
  return { ...request, options: { ...options, identity: { ...options.identity, clean } } };
}

interface CatalogEntry {
  name: string;
  description: string;
  osName?: string;
}

/**
 * Records a base, and with `entry` a new version of that template (made if it is not there). The same content on the
 * same host is the same base. Returns the base's id. Inside the transaction that ends the operation.
 */
export async function recordBase(
  tx: Tx,
  hostId: string,
  base: CapturedBase,
  entry?: CatalogEntry,
): Promise<string> {
  const sum = (of: (disk: BaseDisk) => number): number =>
    base.disks.reduce((total, disk) => total + of(disk), 0);
  const { rows } = await tx.query<{ id: string }>(
    `INSERT INTO "base" ("id", "hostId", "digest", "definition", "disks", "nvramPath", "virtualBytes", "allocatedBytes", "memory", "inside", "needs")
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
     ON CONFLICT ("hostId", "digest") DO UPDATE SET "definition" = EXCLUDED."definition", "disks" = EXCLUDED."disks",
       "nvramPath" = EXCLUDED."nvramPath", "memory" = EXCLUDED."memory", "damagedAt" = NULL, "needs" = EXCLUDED."needs", "inside" = COALESCE(EXCLUDED."inside", "base"."inside") RETURNING "id"`,
    [
      newId(),
      hostId,
      base.digest,
      base.definition,
      JSON.stringify(base.disks),
      base.nvramPath ?? null,
      sum((disk) => disk.virtualBytes),
      sum((disk) => disk.allocatedBytes),
      base.memory === undefined ? null : JSON.stringify(base.memory),
      base.inside === undefined ? null : storable(base.inside),
      base.needs === undefined ? null : JSON.stringify(base.needs),
    ],
  );
  const baseId = rows[0]?.id;
  if (baseId === undefined) throw new Error('INSERT … RETURNING returned no base');
  if (entry) await addVersion(tx, baseId, entry);
  return baseId;
}

async function addVersion(tx: Tx, baseId: string, entry: CatalogEntry): Promise<void> {
  // DO UPDATE locks the template's row, so that two new versions get different numbers.
  const { rows } = await tx.query<{ id: string }>(
    `INSERT INTO "template" ("id", "name", "description", "osName") VALUES ($1, $2, $3, $4)
     ON CONFLICT ("name") DO UPDATE SET "description" = CASE WHEN EXCLUDED."description" = '' THEN "template"."description" ELSE EXCLUDED."description" END,
       "osName" = CASE WHEN EXCLUDED."osName" = '' THEN "template"."osName" ELSE EXCLUDED."osName" END
     RETURNING "id"`,
    [newId(), entry.name, entry.description, entry.osName ?? ''],
  );
  await tx.query(
    `INSERT INTO "template_version" ("id", "templateId", "number", "baseId")
     SELECT $1, $2, COALESCE(max("number"), 0) + 1, $3 FROM "template_version" WHERE "templateId" = $2`,
    [newId(), rows[0]?.id, baseId],
  );
}

/**
 * Forgets a base whose files are gone. Versions made of it then point to another host's copy; without one they go, and
 * templates left without a version.
 */
export async function removeBase(tx: Tx, baseId: string): Promise<void> {
  await tx.query(
    `UPDATE "template_version" v SET "baseId" = o."id" FROM (
       SELECT o."id" FROM "base" b JOIN "base" o ON o."digest" = b."digest" AND o."id" <> b."id" WHERE b."id" = $1
       ORDER BY o."damagedAt" IS NOT NULL, o."createdAt", o."id" LIMIT 1) o
     WHERE v."baseId" = $1`,
    [baseId],
  );
  const { rows } = await tx.query<{ templateId: string }>(
    'DELETE FROM "template_version" WHERE "baseId" = $1 RETURNING "templateId"',
    [baseId],
  );
  await tx.query('DELETE FROM "base" WHERE "id" = $1', [baseId]);
  await tx.query(
    `DELETE FROM "template" t WHERE t."id" = ANY($1::uuid[]) AND NOT EXISTS (SELECT 1 FROM "template_version" v WHERE v."templateId" = t."id")`,
    [rows.map((row) => row.templateId)],
  );
}
