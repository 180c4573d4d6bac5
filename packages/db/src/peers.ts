/** How workers find each other: each host's address and key, as its worker registered them. */
import { z } from 'zod';
import type { Db } from './client.ts';
import { persistently } from './transaction.ts';

const peerSchema = z.object({
  address: z.string(),
  port: z.int(),
  /** As in an authorized_keys file: "ssh-ed25519 AAAA…". */
  key: z.string(),
});
export type Peer = z.infer<typeof peerSchema>;

/** Says where this host gives bases to others; null: it does not. */
export async function registerPeer(db: Db, hostId: string, peer: Peer | null): Promise<void> {
  await persistently(() =>
    db.pool.query('UPDATE "host" SET "peer" = $2 WHERE "id" = $1', [
      hostId,
      peer === null ? null : JSON.stringify(peer),
    ]),
  );
}

/** Undefined: it gives none. */
export async function peerOf(db: Db, hostId: string): Promise<Peer | undefined> {
  const { rows } = await db.pool.query<{ peer: unknown }>('SELECT "peer" FROM "host" WHERE "id" = $1', [
    hostId,
  ]);
  const parsed = peerSchema.safeParse(rows[0]?.peer);
  return parsed.success ? parsed.data : undefined;
}

/** The host with that key; undefined: none of this portal (any more). */
export async function hostWithKey(db: Db, key: string): Promise<string | undefined> {
  const { rows } = await db.pool.query<{ id: string }>(
    `SELECT "id" FROM "host" WHERE "peer" ->> 'key' = $1`,
    [key],
  );
  return rows[0]?.id;
}
