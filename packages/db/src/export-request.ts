/** Guests and template versions that are written into files for other hypervisors. */
import type { ExportFormat, Source } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { ask, type Asked } from './ask.ts';
import type { Db } from './client.ts';
import { idleGuest, operation, refuseIfMissing, type Made } from './guest-requests.ts';
import { HOST_SILENT_SECONDS } from './inventory.ts';
import type { Tx } from './transaction.ts';
import type { BatchResult, StoredRequest } from './types.ts';

/** Throws `busy`, `not-found`, `source-missing`. */
export function requestExport(
  db: Db,
  asked: Asked & { source: Source; format: ExportFormat; agreedFingerprint?: string },
): Promise<BatchResult> {
  const { source, format, agreedFingerprint } = asked;
  const request = { kind: 'export', source, format } as const;
  const agreed = agreedFingerprint === undefined ? {} : { agreedFingerprint };
  return ask(db, asked, { request, ...agreed }, async (tx) => {
    const made = await makeExport(tx, request);
    return { ...made, operations: made.operations.map((each) => ({ ...each, ...agreed })) };
  });
}

export async function makeExport(tx: Tx, request: Extract<StoredRequest, { kind: 'export' }>): Made {
  const { source } = request;
  if (source.type === 'guest') {
    const guest = await idleGuest(tx, source.id);
    refuseIfMissing(guest);
    const { hostId, id: guestId, name: title } = guest;
    return { operations: [operation({ hostId, guestId, title, request, lane: 'bulk' })] };
  }
  const { hostId, title } = await exporterOf(tx, source.versionId);
  return { operations: [operation({ hostId, guestId: null, title, request, lane: 'bulk' })] };
}

/** Who writes a template version into files: a host that answers, with a whole copy of it. Throws `source-missing`. */
export async function exporterOf(
  tx: Pick<Tx, 'query'>,
  versionId: string,
): Promise<{ hostId: string; title: string }> {
  const { rows } = await tx.query<{ hostId: string; title: string }>(
    `SELECT o."hostId", t."name" || ' v' || v."number" AS title FROM "template_version" v
       JOIN "template" t ON t."id" = v."templateId" JOIN "base" b ON b."id" = v."baseId"
       JOIN "base" o ON o."digest" = b."digest" AND o."damagedAt" IS NULL JOIN "host" h ON h."id" = o."hostId" WHERE v."id" = $1
     ORDER BY COALESCE(h."heartbeatAt" > clock_timestamp() - make_interval(secs => $2), false) DESC, o."id" = b."id" DESC LIMIT 1`,
    [versionId, HOST_SILENT_SECONDS],
  );
  const [row] = rows;
  if (!row)
    throw new OffshootError('source-missing', {
      publicMessage: 'No host has a copy of that template version that is whole.',
      remedy: 'Make a new version of the template.',
      field: 'source',
    });
  return row;
}
