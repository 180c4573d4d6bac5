/** What a finished operation says of its guest's identity: kept on the guest, and as a certificate for the web to sign. */
import type { OperationResult } from '@offshoot/clone-core/contract';
import type { CertificateBody, IdentityOutcome } from '@offshoot/clone-core/contract/identity';
import type { Claim } from './claims.ts';
import { inventoryEvent } from './ask.ts';
import type { Db } from './client.ts';
import { appendEvents } from './events.ts';
import { storable } from './storable.ts';
import { newId, transaction, type Tx } from './transaction.ts';
import type { StoredRequest } from './types.ts';

/** After these a guest's disks are others than those its agent spoke of. */
const replaces: ReadonlySet<StoredRequest['kind']> = new Set(['reset', 'refresh', 'restore', 'revert']);

/**
 * Keeps the outcome on the guest's row. Without an outcome, what an agent said is forgotten where the operation put other
 * disks under the guest. Inside the transaction that ends the operation.
 */
export async function keepIdentity(
  tx: Tx,
  held: Pick<Claim, 'request'>,
  guestId: string | null,
  result: OperationResult,
): Promise<void> {
  const { identity } = result;
  if (guestId === null) return;
  if (identity === undefined) {
    if (replaces.has(held.request.kind))
      await tx.query('UPDATE "guest" SET "attested" = NULL, "attestedAt" = NULL WHERE "id" = $1', [guestId]);
    return;
  }
  await tx.query(
    `UPDATE "guest" SET "identity" = $2, "attested" = $3, "attestedAt" = CASE WHEN $3::jsonb IS NULL THEN NULL ELSE clock_timestamp() END
     WHERE "id" = $1`,
    [guestId, storable(identity), identity.attested === undefined ? null : storable(identity.attested)],
  );
}

/** Adds the certificate of a guest whose identity the operation settled, not signed yet. Inside the transaction that ends it. */
export async function certify(
  tx: Tx,
  held: Pick<Claim, 'operationId' | 'request'>,
  guestId: string | null,
  { identity }: OperationResult,
): Promise<void> {
  if (guestId === null || identity === undefined) return;
  const body = await certificateBody(tx, held, guestId, identity);
  if (!body) return;
  await tx.query(
    `INSERT INTO "certificate" ("id", "guestId", "operationId", "body", "createdAt") VALUES ($1, $2, $3, $4, clock_timestamp())
     ON CONFLICT ("operationId") DO NOTHING`,
    [body.id, guestId, held.operationId, storable(body)],
  );
}

interface Origin {
  name: string;
  uuid: string | null;
  hostId: string;
  mode: string | null;
  sourceName: string | null;
  sourceUuid: string | null;
  template: boolean;
  digest: string | null;
  generation: number | null;
}

async function certificateBody(
  tx: Tx,
  { operationId, request }: Pick<Claim, 'operationId' | 'request'>,
  guestId: string,
  identity: IdentityOutcome,
): Promise<CertificateBody | undefined> {
  const { rows } = await tx.query<Origin>(
    `SELECT g."name", g."uuid", g."hostId", g."mode", g."sourceName", s."uuid" AS "sourceUuid",
       g."templateVersionId" IS NOT NULL AS template, b."digest", (g."generations" ->> 'current')::int AS generation
     FROM "guest" g LEFT JOIN "guest" s ON s."id" = g."sourceGuestId"
       LEFT JOIN "template_version" v ON v."id" = g."templateVersionId"
       LEFT JOIN "base" b ON b."id" = COALESCE(g."baseId", v."baseId") WHERE g."id" = $1`,
    [guestId],
  );
  const row = rows[0];
  if (!row?.uuid) return undefined;
  return {
    version: 1,
    id: newId(),
    issuedAt: new Date().toISOString(),
    // Whoever signs says who it is.
    installation: '',
    guest: { id: guestId, name: row.name, uuid: row.uuid, hostId: row.hostId },
    source: {
      type: row.template ? 'template' : 'guest',
      label: row.sourceName ?? '',
      ...(row.sourceUuid === null ? {} : { uuid: row.sourceUuid }),
      ...(row.digest === null ? {} : { baseDigest: row.digest }),
      ...(row.generation === null ? {} : { generation: row.generation }),
    },
    mode: request.kind === 'clone' ? request.mode : request.kind,
    operationId,
    identity,
  };
}

export interface UnsignedCertificate {
  id: string;
  body: CertificateBody;
}

/** Certificates that nobody signed yet, oldest first. */
export async function unsignedCertificates(db: Db, limit = 100): Promise<UnsignedCertificate[]> {
  const { rows } = await db.pool.query<UnsignedCertificate>(
    'SELECT "id", "body" FROM "certificate" WHERE "signature" IS NULL ORDER BY "id" LIMIT $1',
    [limit],
  );
  return rows;
}

export interface SignedCertificate {
  body: CertificateBody;
  signature: string;
  publicKey: string;
}

/**
 * Stores signatures, each once: resolves with how many; the others were signed meanwhile. A row's body becomes what was
 * signed, and browsers hear of it. A signed certificate never changes; the database refuses.
 */
export async function keepSignatures(db: Db, signed: readonly SignedCertificate[]): Promise<number> {
  return transaction(db, async (tx) => {
    const { rows } = await tx.query<{ guestId: string | null; hostId: string }>(
      `UPDATE "certificate" c SET "body" = s."body", "signature" = s."signature", "publicKey" = s."publicKey"
       FROM jsonb_to_recordset($1::jsonb) AS s("body" jsonb, "signature" text, "publicKey" text)
       WHERE c."id" = ANY($2::uuid[]) AND c."id" = (s."body" ->> 'id')::uuid AND c."signature" IS NULL
       RETURNING c."guestId", s."body" -> 'guest' ->> 'hostId' AS "hostId"`,
      [storable(signed), signed.map(({ body }) => body.id)],
    );
    await appendEvents(
      tx,
      rows.flatMap(({ guestId, hostId }) => (guestId === null ? [] : [inventoryEvent(hostId, [guestId])])),
    );
    return rows.length;
  });
}
