/** Which hosts have a whole copy of a base. Internal to this package. */
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Tx } from '../transaction.ts';

/** Ids of whole copies by their hosts, held until the transaction ends. Throws `not-found` while one is being removed. */
export async function basesOn(tx: Tx, digest: string): Promise<Map<string, string>> {
  const { rows } = await tx.query<{ id: string; hostId: string }>(
    'SELECT "id", "hostId" FROM "base" WHERE "digest" = $1 AND "damagedAt" IS NULL ORDER BY "id" FOR SHARE',
    [digest],
  );
  if (await beingRemoved(tx, digest))
    throw new OffshootError('not-found', {
      publicMessage: 'A copy of that template version is being removed just now, so it can’t be cloned.',
      remedy: 'Try again in a moment, or choose another source.',
      field: 'source.versionId',
      retryable: true,
    });
  return new Map(rows.map(({ hostId, id }) => [hostId, id]));
}

async function beingRemoved(tx: Tx, digest: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `SELECT 1 FROM "operation" r JOIN "base" b ON b."id"::text = r."request" ->> 'baseId'
     WHERE r."kind" = 'remove-base' AND b."digest" = $1 AND r."state" IN ('waiting', 'queued', 'running', 'undoing') LIMIT 1`,
    [digest],
  );
  return (rowCount ?? 0) > 0;
}
