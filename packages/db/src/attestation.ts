/** What guests' agents say of them while they run. */
import type { AttestedIdentity } from '@offshoot/clone-core/contract/identity';
import { inventoryEvent } from './ask.ts';
import type { Db } from './client.ts';
import { appendEvents } from './events.ts';
import { noteShared } from './shared-identity.ts';
import { storable } from './storable.ts';
import { transaction } from './transaction.ts';

export interface Attestable {
  id: string;
  uuid: string;
  name: string;
}

const IDLE = `NOT EXISTS (SELECT 1 FROM "operation" o WHERE o."guestId" = g."id" AND o."state" IN ('waiting', 'queued', 'running', 'undoing'))`;

/** Guests of the host that run and that no operation is about, longest unasked first. */
export async function attestable(db: Db, hostId: string): Promise<Attestable[]> {
  const { rows } = await db.pool.query<Attestable>(
    `SELECT g."id", g."uuid", g."name" FROM "guest" g WHERE g."hostId" = $1 AND g."state" = 'running' AND g."uuid" IS NOT NULL AND ${IDLE}
     ORDER BY g."attestedAt" NULLS FIRST, g."id"`,
    [hostId],
  );
  return rows;
}

/** Whether the guest still runs with no operation at it: asked right before its agent is. */
export async function isAttestable(db: Db, guestId: string): Promise<boolean> {
  const { rowCount } = await db.pool.query(
    `SELECT 1 FROM "guest" g WHERE g."id" = $1 AND g."state" = 'running' AND ${IDLE}`,
    [guestId],
  );
  return rowCount === 1;
}

/**
 * Stores what a guest's agent said, unless an operation has begun with the guest since it was asked. Tells browsers when
 * the identity is another than before. Resolves with whether it was stored.
 */
export async function keepAttestation(
  db: Db,
  guest: Pick<Attestable, 'id' | 'uuid'>,
  attested: AttestedIdentity,
): Promise<boolean> {
  const said = bounded(attested);
  const kept = await transaction(db, async (tx) => {
    const { rows } = await tx.query<{ before: AttestedIdentity | null; hostId: string }>(
      `SELECT g."attested" AS before, g."hostId" FROM "guest" g WHERE g."id" = $1 AND g."uuid" = $2 AND g."state" = 'running' AND ${IDLE}
       FOR NO KEY UPDATE OF g`,
      [guest.id, guest.uuid],
    );
    const row = rows[0];
    if (!row) return 'not' as const;
    await tx.query('UPDATE "guest" SET "attested" = $2, "attestedAt" = clock_timestamp() WHERE "id" = $1', [
      guest.id,
      storable(said),
    ]);
    if (row.before !== null && gist(row.before) === gist(said)) return 'same' as const;
    await appendEvents(tx, [inventoryEvent(row.hostId, [guest.id])]);
    return 'news' as const;
  });
  if (kept === 'news') await noteShared(db);
  return kept !== 'not';
}

/** Most entries of a list, and characters of a text, that are stored of what a guest says. */
const MOST_ENTRIES = 64;
const LONGEST_TEXT = 500;

/** A guest may say anything: what is stored of it is bounded. */
function bounded(attested: AttestedIdentity): AttestedIdentity {
  const text = (value: string): string => value.slice(0, LONGEST_TEXT);
  const list = (values: readonly string[]): string[] => values.slice(0, MOST_ENTRIES).map(text);
  const { at, hostname, macs, sshHostKeys, dhcpIds, addresses, ...optional } = attested;
  return {
    at,
    hostname: text(hostname),
    macs: list(macs),
    sshHostKeys: sshHostKeys
      .slice(0, MOST_ENTRIES)
      .map(({ type, fingerprint }) => ({ type: text(type), fingerprint: text(fingerprint) })),
    dhcpIds: list(dhcpIds),
    addresses: list(addresses),
    ...Object.fromEntries(
      Object.entries(optional).map(([key, value]) => [key, typeof value === 'string' ? text(value) : value]),
    ),
  };
}

/** Without what changes with every look or boot. */
function gist({ at: _at, bootId: _boot, ...rest }: AttestedIdentity): string {
  const sorted = Object.entries(rest).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(sorted.map(([key, value]) => [key, key === 'sshHostKeys' ? keys(rest) : value]));
}

const keys = (rest: Pick<AttestedIdentity, 'sshHostKeys'>): string[] =>
  rest.sshHostKeys.map(({ type, fingerprint }) => `${type} ${fingerprint}`);
