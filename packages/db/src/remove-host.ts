/** Taking a host out of the portal. */
import { OffshootError } from '@offshoot/clone-core/errors';
import { removeBase } from './catalog.ts';
import type { Db } from './client.ts';
import { noHost } from './duty.ts';
import { endUnstarted } from './ending.ts';
import { appendEvents, type NewEvent } from './events.ts';
import { HOST_SILENT_SECONDS } from './inventory.ts';
import { transaction, type Tx } from './transaction.ts';

/** What goes with a host that is removed. */
export interface HostContents {
  guests: number;
  bases: number;
  /** Template versions that no other host has a whole copy of. */
  onlyHere: string[];
  unfinished: number;
  /** Guests that are on their way to it. */
  arriving: number;
}

/** @throws OffshootError `not-found`. */
export async function hostContents(
  db: Pick<Tx, 'query'>,
  hostId: string,
): Promise<HostContents & { name: string }> {
  const { rows } = await db.query<Omit<HostContents, 'onlyHere'> & { name: string }>(
    `SELECT h."name", (SELECT count(*)::int FROM "guest" g WHERE g."hostId" = h."id") AS guests,
       (SELECT count(*)::int FROM "base" b WHERE b."hostId" = h."id") AS bases,
       (SELECT count(*)::int FROM "operation" o WHERE o."hostId" = h."id" AND o."finishedAt" IS NULL) AS unfinished,
       (SELECT count(*)::int FROM "operation" o WHERE o."kind" = 'migrate' AND o."request" ->> 'targetHostId' = h."id"
          AND o."state" IN ('running', 'undoing')) AS arriving
     FROM "host" h WHERE h."id" = $1`,
    [hostId],
  );
  const [row] = rows;
  if (!row) throw noHost(hostId);
  const versions = await db.query<{ label: string }>(
    `SELECT t."name" || ' v' || v."number" AS label FROM "template_version" v JOIN "template" t ON t."id" = v."templateId"
       JOIN "base" b ON b."id" = v."baseId" WHERE b."hostId" = $1
       AND NOT EXISTS (SELECT 1 FROM "base" o WHERE o."digest" = b."digest" AND o."hostId" <> $1 AND o."damagedAt" IS NULL) ORDER BY 1`,
    [hostId],
  );
  return { ...row, onlyHere: versions.rows.map(({ label }) => label) };
}

/** Throws what `removeHost` would of what the host has: asked before its worker is revoked. */
export async function refuseRemoval(db: Db, hostId: string, options: { forget: boolean }): Promise<void> {
  refuseFull(await hostContents(db.pool, hostId), options.forget);
}

/**
 * Takes a host out of the portal; nothing on the machine itself is touched. Its worker's credentials must be revoked before.
 * With `forget` also one that has guests and bases: their rows go, and the history of what was done there.
 * @throws OffshootError `in-use` while it has any without `forget`, or operations; `busy` while a worker serves it.
 */
export function removeHost(db: Db, hostId: string, options: { forget: boolean }): Promise<void> {
  return transaction(db, async (tx) => {
    await refuseServed(tx, hostId);
    const { name } = await hostContents(tx, hostId);
    const ended = await endFollowers(tx, hostId, name);
    // Moves that have not begun are ended by now, so that none begins after this look.
    refuseFull(await hostContents(tx, hostId), options.forget);
    const { rows: bases } = await tx.query<{ id: string }>('SELECT "id" FROM "base" WHERE "hostId" = $1', [
      hostId,
    ]);
    await tx.query('UPDATE "guest" SET "baseId" = NULL WHERE "hostId" = $1', [hostId]);
    await tx.query('DELETE FROM "operation" WHERE "hostId" = $1', [hostId]);
    await tx.query('DELETE FROM "guest" WHERE "hostId" = $1', [hostId]);
    for (const { id } of bases) await removeBase(tx, id);
    await tx.query('DELETE FROM "join_token" WHERE "hostId" = $1', [hostId]);
    await tx.query('DELETE FROM "host" WHERE "id" = $1', [hostId]);
    await appendEvents(tx, [...ended, { hostId, data: { type: 'host' } }]);
  });
}

/** Operations of other hosts that wait for one of this host would wait for ever, and moves to it would have no end. */
async function endFollowers(tx: Tx, hostId: string, name: string): Promise<NewEvent[]> {
  const { rows } = await tx.query<{ id: string }>(
    `SELECT f."id" FROM "operation" f WHERE f."hostId" <> $1 AND f."state" IN ('waiting', 'queued')
       AND (EXISTS (SELECT 1 FROM "operation" a WHERE a."id" = f."afterId" AND a."hostId" = $1)
         OR f."kind" = 'migrate' AND f."request" ->> 'targetHostId' = $1) FOR NO KEY UPDATE OF f`,
    [hostId],
  );
  return endUnstarted(
    tx,
    rows.map(({ id }) => id),
    {
      state: 'failed',
      error: {
        code: 'not-found',
        message: `“${name}” was taken out of the portal.`,
        remedy: 'Choose another host.',
        retryable: false,
      },
    },
  );
}

async function refuseServed(tx: Tx, hostId: string): Promise<void> {
  const { rows } = await tx.query<{ name: string; joined: boolean; served: boolean }>(
    `SELECT h."name", EXISTS (SELECT 1 FROM "worker" w WHERE w."hostId" = h."id") AS joined,
       h."problem" IS DISTINCT FROM 'Its worker was stopped.' AND COALESCE(h."heartbeatAt" > clock_timestamp() - make_interval(secs => $2), false) AS served
     FROM "host" h WHERE h."id" = $1 FOR UPDATE`,
    [hostId, HOST_SILENT_SECONDS],
  );
  const [host] = rows;
  if (!host) throw noHost(hostId);
  if (host.joined || !host.served) return;
  throw new OffshootError('busy', {
    publicMessage: `“${host.name}” is served by a worker that did not join but signs in as the portal, and which would add it again.`,
    remedy: 'Stop that worker first.',
    retryable: true,
  });
}

function refuseFull(
  { name, guests, bases, onlyHere, unfinished, arriving }: HostContents & { name: string },
  forget: boolean,
): void {
  // Nobody would know on which of the two hosts it is.
  if (arriving > 0)
    throw new OffshootError('in-use', {
      publicMessage: `${arriving === 1 ? 'A guest is' : `${arriving} guests are`} on the way to “${name}” just now.`,
      remedy: 'Wait until that has ended, or cancel it.',
      retryable: true,
    });
  if (forget || (guests === 0 && bases === 0 && unfinished === 0)) return;
  const parts = [
    [guests, 'guest'],
    [bases, 'base'],
    [unfinished, 'operation that has not ended', 'operations that have not ended'],
  ] as const;
  const has = parts
    .filter(([count]) => count > 0)
    .map(([count, one, many]) => `${count} ${count === 1 ? one : (many ?? `${one}s`)}`)
    .join(', ');
  throw new OffshootError('in-use', {
    publicMessage: `“${name}” has ${has}.${onlyHere.length > 0 ? ` ${onlyHere.join(', ')} ${onlyHere.length === 1 ? 'is' : 'are'} nowhere else.` : ''}`,
    remedy:
      'Delete them or move them to other hosts first, or choose to forget them: they then stay on the machine, unknown to the portal.',
  });
}
