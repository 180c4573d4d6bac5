/** What was noted of guests' definitions, so that changes by other hands are seen. Nothing here mends any. */
import { OffshootError } from '@offshoot/clone-core/errors';
import { inventoryEvent } from './ask.ts';
import type { Db } from './client.ts';
import { appendEvents } from './events.ts';
import { lockGuest, refuseIfBusy } from './guest-lock.ts';
import { transaction, type Tx } from './transaction.ts';

/** Of a guest's definition what only Offshoot should change once it is Offshoot's. */
export interface RecordedDefinition {
  name: string;
  vcpus: number | null;
  memoryBytes: number | null;
  macs: string[];
  /** Left out: an operation has replaced them, and the inventory notes them when it next looks. */
  disks?: { target: string; path: string }[];
}

/** The definition of guest row `g` as it is now. */
const AS_IT_IS = `jsonb_build_object('name', g."name", 'vcpus', g."vcpus", 'memoryBytes', g."memoryBytes", 'macs', to_jsonb(COALESCE(g."macs", '{}')),
  'disks', COALESCE((SELECT jsonb_agg(jsonb_build_object('target', d ->> 'target', 'path', d ->> 'path') ORDER BY d ->> 'target')
    FROM jsonb_array_elements(COALESCE(g."disks", '[]')) d), '[]'))`;

/** Notes what is not noted yet of Offshoot's guests with these UUIDs. What is noted already stays as it is. */
export async function noteDefinitions(tx: Tx, hostId: string, uuids: readonly string[]): Promise<void> {
  if (uuids.length === 0) return;
  await tx.query(
    `UPDATE "guest" g SET "recorded" = ${AS_IT_IS} || COALESCE(g."recorded", '{}')
     WHERE g."hostId" = $1 AND g."uuid" = ANY($2::uuid[]) AND g."managed" AND (g."recorded" IS NULL OR NOT g."recorded" ? 'disks')
       AND g."state" NOT IN ('creating', 'deleting', 'missing')
       AND NOT EXISTS (SELECT 1 FROM "operation" o WHERE o."guestId" = g."id" AND o."state" IN ('waiting', 'queued', 'running', 'undoing'))`,
    [hostId, uuids],
  );
}

/** Operations after which a guest's disks are other files. */
const REPLACES_DISKS: readonly string[] = ['reset', 'refresh', 'restore', 'revert', 'promote'];

/** An operation of Offshoot's own replaced the disks: they are noted anew when the inventory next looks. */
export async function forgetDisks(tx: Tx, kind: string, guestId: string | null): Promise<void> {
  if (guestId === null || !REPLACES_DISKS.includes(kind)) return;
  await tx.query(
    `UPDATE "guest" SET "recorded" = "recorded" - 'disks' WHERE "id" = $1 AND "recorded" ? 'disks'`,
    [guestId],
  );
}

interface OfGuest {
  userId: string | null;
  guestId: string;
}

/**
 * Takes a guest that others made as one of Offshoot's own: it can be deleted here, and changes by others are shown.
 * `withDisks`: its disk files go with it when it is deleted. Throws `not-found`, `busy`, `source-missing`, `invalid-input`
 * when it is Offshoot's already, `in-use` when another guest or a base uses one of its disks.
 */
export async function adoptGuest(
  db: Db,
  { userId, guestId, withDisks }: OfGuest & { withDisks: boolean },
): Promise<void> {
  await transaction(db, async (tx) => {
    const guest = await lockGuest(tx, guestId, 'exclusive');
    if (guest.managed)
      throw new OffshootError('invalid-input', {
        publicMessage: `“${guest.name}” is Offshoot’s already.`,
        remedy: 'Reload the page.',
        field: 'guestId',
      });
    if (guest.state === 'missing')
      throw new OffshootError('source-missing', {
        publicMessage: `“${guest.name}” is not on its host any more.`,
        remedy: 'There is nothing to adopt.',
      });
    await refuseIfBusy(tx, guest, { alsoAsSource: false });
    if (withDisks) await refuseSharedDisks(tx, guestId);
    await tx.query(
      `UPDATE "guest" g SET "managed" = true, "adoptedAt" = clock_timestamp(), "ownerId" = COALESCE(g."ownerId", $2), "recorded" = ${AS_IT_IS},
         "ownedFiles" = CASE WHEN $3 THEN ARRAY(SELECT DISTINCT d ->> 'path' FROM jsonb_array_elements(COALESCE(g."disks", '[]')) d ORDER BY 1) ELSE '{}' END
       WHERE g."id" = $1`,
      [guestId, userId, withDisks],
    );
    await appendEvents(tx, [inventoryEvent(guest.hostId, [guestId])]);
  });
}

async function refuseSharedDisks(tx: Tx, guestId: string): Promise<void> {
  const { rows } = await tx.query<{ path: string; user: string | null }>(
    `SELECT d ->> 'path' AS path,
       COALESCE((SELECT min(o."name") FROM "guest" o WHERE o."hostId" = g."hostId" AND o."id" <> g."id"
           AND EXISTS (SELECT 1 FROM jsonb_array_elements(COALESCE(o."disks", '[]')) x WHERE x ->> 'path' = d ->> 'path')),
         (SELECT min('a base') FROM "base" b WHERE b."hostId" = g."hostId"
           AND EXISTS (SELECT 1 FROM jsonb_array_elements(b."disks") x WHERE x ->> 'path' = d ->> 'path'))) AS user
     FROM "guest" g CROSS JOIN LATERAL jsonb_array_elements(COALESCE(g."disks", '[]')) d WHERE g."id" = $1 ORDER BY 1`,
    [guestId],
  );
  const device = rows.find(({ path }) => path.startsWith('/dev/') || !path.startsWith('/'));
  if (device)
    throw new OffshootError('unavailable-mode', {
      publicMessage: `Its disk ${device.path} is no file, so Offshoot can’t delete it.`,
      remedy: 'Adopt it without its disks.',
      field: 'withDisks',
    });
  const shared = rows.find(({ user }) => user !== null);
  if (shared)
    throw new OffshootError('in-use', {
      publicMessage: `Its disk ${shared.path} is also used by ${shared.user}.`,
      remedy: 'Adopt it without its disks.',
      field: 'withDisks',
    });
}

/** Takes the definition as it is now for the right one. The guest itself is not touched. Throws `not-found`, `busy`. */
export async function acceptDefinition(db: Db, { guestId }: Pick<OfGuest, 'guestId'>): Promise<void> {
  await transaction(db, async (tx) => {
    const guest = await lockGuest(tx, guestId, 'exclusive');
    await refuseIfBusy(tx, guest, { alsoAsSource: false });
    await tx.query(`UPDATE "guest" g SET "recorded" = ${AS_IT_IS} WHERE g."id" = $1 AND g."managed"`, [
      guestId,
    ]);
    await appendEvents(tx, [inventoryEvent(guest.hostId, [guestId])]);
  });
}
