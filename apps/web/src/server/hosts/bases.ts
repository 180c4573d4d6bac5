/** Which bases a host holds. */
import { db } from '../services.ts';

/** A base that a host holds. */
export interface HeldBase {
  id: string;
  digest: string;
  /** Template versions that show it, by label; none: it is under clones of a guest. */
  versions: { templateId: string; versionId: string; label: string }[];
  bytes: number;
  /** Guests here that stand on it. */
  standing: number;
  /** Whole copies on other hosts. */
  elsewhere: number;
  damaged: boolean;
  warm: boolean;
  createdAt: string;
}

const HELD = 200;

/** Bases on a host, the newest first. */
export async function basesOn(hostId: string): Promise<{ bases: HeldBase[]; total: number; bytes: number }> {
  const { rows } = await db().pool.query<
    Omit<HeldBase, 'bytes' | 'standing' | 'elsewhere' | 'createdAt'> & {
      bytes: string;
      standing: string;
      elsewhere: string;
      createdAt: Date;
      total: string;
      sum: string;
    }
  >(
    `SELECT b."id", b."digest", b."allocatedBytes" AS bytes, b."damagedAt" IS NOT NULL AS damaged, b."memory" IS NOT NULL AS warm, b."createdAt",
       count(*) OVER () AS total, sum(b."allocatedBytes") OVER () AS sum,
       (SELECT count(*) FROM "guest" g WHERE g."baseId" = b."id") AS standing,
       (SELECT count(*) FROM "base" o WHERE o."digest" = b."digest" AND o."id" <> b."id" AND o."damagedAt" IS NULL) AS elsewhere,
       COALESCE((SELECT json_agg(json_build_object('templateId', t."id", 'versionId', v."id", 'label', t."name" || ' v' || v."number") ORDER BY t."name", v."number")
         FROM "base" vb JOIN "template_version" v ON v."baseId" = vb."id" JOIN "template" t ON t."id" = v."templateId" WHERE vb."digest" = b."digest"), '[]') AS versions
     FROM "base" b WHERE b."hostId" = $1 ORDER BY b."createdAt" DESC, b."id" LIMIT $2`,
    [hostId, HELD],
  );
  return {
    total: Number(rows[0]?.total ?? 0),
    bytes: Number(rows[0]?.sum ?? 0),
    bases: rows.map(({ total: _total, sum: _sum, bytes, standing, elsewhere, createdAt, ...row }) => ({
      ...row,
      bytes: Number(bytes),
      standing: Number(standing),
      elsewhere: Number(elsewhere),
      createdAt: createdAt.toISOString(),
    })),
  };
}
