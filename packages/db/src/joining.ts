/** Tokens that let a machine join as a host, once. Only their hashes are stored. */
import { createHash, randomBytes } from 'node:crypto';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Db } from './client.ts';
import { newId } from './transaction.ts';

/** A token is good for so long, minutes. */
export const TOKEN_MINUTES = 60;

export interface JoinToken {
  /** The secret half of what is pasted; known to nobody afterwards. */
  secret: string;
  hostId: string;
  expiresAt: Date;
}

const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');

/** As a host's id: "Rack 3, left" is "rack-3-left". Empty when nothing of it can be used. */
export function hostIdOf(name: string): string {
  return name
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 40)
    .replace(/-+$/, '');
}

/**
 * A token for a new host of that name. @throws OffshootError `name-taken`, `invalid-input`.
 */
export async function makeJoinToken(
  db: Db,
  asked: { name: string; userId: string | null },
): Promise<JoinToken> {
  const hostId = hostIdOf(asked.name);
  if (hostId === '')
    throw new OffshootError('invalid-input', {
      publicMessage: 'A host’s name has at least one letter or digit.',
      field: 'name',
    });
  const { rows } = await db.pool.query<{ name: string }>(
    'SELECT "name" FROM "host" WHERE "id" = $1 OR lower("name") = lower($2)',
    [hostId, asked.name],
  );
  if (rows[0])
    throw new OffshootError('name-taken', {
      publicMessage: `There is a host “${rows[0].name}” already.`,
      remedy: 'Choose another name. To join that machine anew, use “Join again” on its page.',
      field: 'name',
    });
  return insert(db, hostId, asked.name, asked.userId);
}

/** A token for a machine to take a host's place: after it was revoked, or set up anew. @throws OffshootError `not-found`. */
export async function makeRejoinToken(
  db: Db,
  asked: { hostId: string; userId: string | null },
): Promise<JoinToken> {
  const { rows } = await db.pool.query<{ name: string }>('SELECT "name" FROM "host" WHERE "id" = $1', [
    asked.hostId,
  ]);
  if (!rows[0]) throw new OffshootError('not-found', { publicMessage: `There is no host ${asked.hostId}.` });
  return insert(db, asked.hostId, rows[0].name, asked.userId);
}

async function insert(db: Db, hostId: string, name: string, userId: string | null): Promise<JoinToken> {
  const secret = randomBytes(32).toString('base64url');
  const { rows } = await db.pool.query<{ expiresAt: Date }>(
    `INSERT INTO "join_token" ("id", "hash", "hostId", "name", "createdById", "createdAt", "expiresAt")
     VALUES ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp() + make_interval(mins => $6)) RETURNING "expiresAt"`,
    [newId(), hashOf(secret), hostId, name, userId, TOKEN_MINUTES],
  );
  if (!rows[0]) throw new Error('INSERT … RETURNING returned no token');
  return { secret, hostId, expiresAt: rows[0].expiresAt };
}

export interface TokenHolder {
  tokenId: string;
  hostId: string;
  name: string;
  createdById: string | null;
}

/** Whose token that is, without spending it. @throws OffshootError `not-allowed`: not known, used, too old. */
export async function holderOf(db: Db, secret: string): Promise<TokenHolder> {
  const { rows } = await db.pool.query<TokenHolder & { used: boolean; expired: boolean }>(
    `SELECT "id" AS "tokenId", "hostId", "name", "createdById", "usedAt" IS NOT NULL AS used, "expiresAt" < clock_timestamp() AS expired
     FROM "join_token" WHERE "hash" = $1`,
    [hashOf(secret)],
  );
  const row = rows[0];
  const why = !row
    ? 'The portal does not know this token.'
    : row.used
      ? `This token was used already: it let “${row.name}” join.`
      : row.expired
        ? `This token is too old: it was good for ${TOKEN_MINUTES} minutes.`
        : undefined;
  if (row && why === undefined) return row;
  throw new OffshootError('not-allowed', {
    publicMessage: why ?? '',
    remedy: 'Make a new one on the portal’s Hosts page.',
    field: 'token',
  });
}

/** Spends it; false: another was faster. */
export async function spendToken(db: Db, tokenId: string): Promise<boolean> {
  const { rowCount } = await db.pool.query(
    'UPDATE "join_token" SET "usedAt" = clock_timestamp() WHERE "id" = $1 AND "usedAt" IS NULL',
    [tokenId],
  );
  return rowCount === 1;
}

/** The joining failed for a reason that another try may not meet. */
export async function unspendToken(db: Db, tokenId: string): Promise<void> {
  await db.pool.query('UPDATE "join_token" SET "usedAt" = NULL WHERE "id" = $1', [tokenId]);
}
