/** What a clone has of the base it was made from. Internal to this package; runs inside a transaction. */
import type { Consistency, OperationResult } from '@offshoot/clone-core/contract';
import type { Claim } from './claims.ts';
import type { Tx } from './transaction.ts';

/**
 * The result of a finished clone with the consistency of what it was cloned from: block for block a copy of a base is
 * exact, but it is no better than the base, which may have been captured of a running guest. Other results as they are.
 */
export async function withConsistencyOfBase(
  tx: Tx,
  held: Claim,
  result: OperationResult,
): Promise<OperationResult> {
  const { request } = held;
  if (request.kind !== 'clone') return result;
  // A copy of a guest itself: no base is between them.
  if (request.source.type === 'guest' && request.mode !== 'linked') return result;
  const { rows } = await tx.query<{ consistency: Consistency | null; note: string | null }>(
    `SELECT c."consistency", c."note" FROM "base" b CROSS JOIN LATERAL offshoot_consistency(b."digest") c
     WHERE b."id" = COALESCE((SELECT v."baseId" FROM "template_version" v WHERE v."id" = $1),
       (SELECT g."baseId" FROM "guest" g WHERE g."id" = $2 AND g."mode" = 'linked'))`,
    [request.source.type === 'template' ? request.source.versionId : null, held.guestId],
  );
  const base = rows[0];
  if (!base?.consistency || base.consistency === 'exact') return result;
  return {
    ...result,
    consistency: base.consistency,
    ...(base.note === null ? {} : { consistencyNote: `${base.note}, when its source was captured` }),
  };
}
