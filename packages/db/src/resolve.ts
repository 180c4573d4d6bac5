/** From what is stored to what a driver understands. Reads only. */
import type { CapturedBase, CloneRequest, Generations, MemoryPoint } from '@offshoot/clone-core/contract';
import {
  cleanKinds,
  identityOptionsSchema,
  type CleanKind,
  type GuestInside,
  type IdentityOutcome,
} from '@offshoot/clone-core/contract/identity';
import type { DriverSource, GivenIdentity, GuestRef, OperationRequest } from '@offshoot/clone-core/driver';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Claim } from './claims.ts';
import { counterpartOf, type Counterpart } from './counterpart.ts';
import type { Db } from './client.ts';
import { refuseIfStoodOn, standingOn } from './guest-requests.ts';
import { resolveMove } from './move-request.ts';
import { persistently } from './transaction.ts';
import { resolveTransfer } from './transfer.ts';
import { needsBase, storedRequestSchema } from './types.ts';

/** The driver's request for a claimed operation. Throws `source-missing` or `not-found` when rows are gone. */
export function resolveRequest(
  db: Db,
  held: Pick<Claim, 'request' | 'guestId' | 'title'> & { hostId?: string },
): Promise<OperationRequest> {
  return persistently(() => resolve(db, held));
}

async function resolve(
  db: Db,
  held: Pick<Claim, 'request' | 'guestId' | 'title'> & { hostId?: string },
): Promise<OperationRequest> {
  const { request } = held;
  switch (request.kind) {
    case 'clone':
      return {
        kind: 'clone',
        source:
          request.source.type === 'guest' && needsBase(request.mode)
            ? await frozenSource(db, held.guestId)
            : await resolveSource(
                db,
                request.source,
                request.source.type === 'guest' ? undefined : await hostOf(db, held.guestId),
              ),
        mode: request.mode,
        name: request.name,
        options: request.options,
        index: request.index,
      };
    case 'capture': {
      const guest = await guestRef(db, request.guestId);
      const label = request.template?.name ?? guest.name;
      return { kind: 'capture', guest, label, ...(request.memory ? { memory: true } : {}) };
    }
    case 'import': {
      const { imagePath, template, osName, vcpus, memoryMiB, firmware, network } = request;
      return {
        kind: 'import',
        imagePath,
        label: template,
        osName,
        vcpus,
        memoryMiB,
        firmware,
        ...(network === undefined ? {} : { network }),
      };
    }
    case 'start':
    case 'stop':
    case 'snapshot':
    case 'revert':
    case 'remove-snapshot':
      return { ...request, guest: await guestRef(db, held.guestId) };
    case 'delete': {
      const guest = await guestRef(db, held.guestId);
      const lineage = await lineageOf(db, held.guestId);
      return {
        kind: 'delete',
        guest,
        owned: lineage.owned,
        ...(lineage.generations ? { generations: lineage.generations } : {}),
        ...(lineage.generations && lineage.source ? { source: lineage.source } : {}),
      };
    }
    case 'promote': {
      const { owned, generations } = await lineageOf(db, held.guestId);
      const guest = await guestRef(db, held.guestId);
      return { kind: 'promote', guest, owned, ...(generations ? { generations } : {}) };
    }
    case 'reset': {
      const { owned, baseId, label, inner } = await lineageOf(db, held.guestId);
      if (baseId === null) throw baseGone();
      return {
        ...request,
        guest: await guestRef(db, held.guestId),
        label,
        base: await baseById(db, baseId),
        owned,
        ...inner,
      };
    }
    case 'refresh': {
      const guest = await guestRef(db, held.guestId);
      const { source, owned, generations, inner } = await lineageOf(db, held.guestId);
      if (!source)
        throw new OffshootError('source-missing', {
          publicMessage: `The source of “${guest.name}” is gone, so it can’t be refreshed.`,
          remedy: 'Clone another guest.',
        });
      return {
        kind: 'refresh',
        guest,
        source,
        owned,
        ...inner,
        ...(generations ? { generations } : {}),
        options: request.options,
      };
    }
    case 'restore': {
      const guest = await guestRef(db, held.guestId);
      const { generations } = await lineageOf(db, held.guestId);
      if (!generations)
        throw new OffshootError('not-found', {
          publicMessage: `“${guest.name}” has no earlier state.`,
          remedy: 'Reload the page.',
        });
      return { kind: 'restore', guest, generations, to: request.to };
    }
    case 'export': {
      const source = await resolveSource(db, request.source, held.hostId);
      const label = source.type === 'guest' ? source.guest.name : source.label;
      return { kind: 'export', source, label, format: request.format };
    }
    case 'migrate': {
      const { owned, baseId, generations } = await lineageOf(db, held.guestId);
      return resolveMove(db, request, {
        guest: await guestRef(db, held.guestId),
        owned,
        generations: generations !== undefined,
        ...(baseId === null ? {} : { base: await baseById(db, baseId) }),
      });
    }
    case 'transfer':
      return resolveTransfer(db, held.hostId ?? '', request);
    case 'verify':
      return {
        kind: 'verify',
        guest: await guestRef(db, held.guestId),
        against: await counterpartSource(db, held.guestId),
        depth: request.depth,
      };
    default:
      // Asked for when nothing stood on it; the host's own disks are looked at too, by the driver.
      refuseIfStoodOn(await standingOn(db.pool, request.baseId));
      return { kind: 'remove-base', label: held.title, base: await baseById(db, request.baseId) };
  }
}

/**
 * What a preview or a full clone reads from: the guest itself, or a template version's base, as that host has it. On a
 * host without it (or with a damaged copy) it is `absent`, as another one has it. No host: the first that has it.
 */
export async function resolveSource(
  db: Db,
  source: CloneRequest['source'],
  hostId?: string,
): Promise<DriverSource> {
  if (source.type === 'guest') return { type: 'guest', guest: await guestRef(db, source.id) };
  const { rows } = await db.pool.query<{ baseId: string; label: string; here: boolean }>(
    `SELECT o."id" AS "baseId", t."name" || ' v' || v."number" AS label,
       $2::text IS NULL OR o."hostId" = $2 AND o."damagedAt" IS NULL AS here
     FROM "template_version" v JOIN "template" t ON t."id" = v."templateId" JOIN "base" b ON b."id" = v."baseId"
       JOIN "base" o ON o."digest" = b."digest"
     WHERE v."id" = $1 ORDER BY 3 DESC, o."damagedAt" IS NOT NULL, o."id" = b."id" DESC LIMIT 1`,
    [source.versionId, hostId ?? null],
  );
  const row = rows[0];
  if (!row) {
    throw new OffshootError('source-missing', {
      publicMessage: 'That template version does not exist any more.',
      remedy: 'Choose another source.',
      field: 'source.versionId',
    });
  }
  const base = await baseById(db, row.baseId);
  return { type: 'base', label: row.label, base, ...(row.here ? {} : { absent: true }) };
}

async function hostOf(db: Db, guestId: string | null): Promise<string | undefined> {
  const { rows } = await db.pool.query<{ hostId: string }>('SELECT "hostId" FROM "guest" WHERE "id" = $1', [
    guestId,
  ]);
  return rows[0]?.hostId;
}

interface Lineage {
  /** Left out when it is gone or elsewhere. */
  source?: GuestRef;
  /** What it was cloned from, as it was called then. */
  label: string;
  owned: string[];
  baseId: string | null;
  /** What was left out of it and what it was to be inside, for the driver's request. */
  inner: { clean?: CleanKind[]; identity?: GivenIdentity };
  generations?: Generations;
}

/** What a guest was cloned from and stands on, and what belongs to it. A guest without a row owns nothing. */
async function lineageOf(db: Db, guestId: string | null): Promise<Lineage> {
  const { rows } = await db.pool.query<{
    ownedFiles: string[] | null;
    generations: Generations | null;
    baseId: string | null;
    sourceName: string | null;
    uuid: string | null;
    name: string | null;
    identity: IdentityOutcome | null;
    cloned: unknown;
  }>(
    `SELECT g."ownedFiles", g."generations", g."baseId", g."sourceName", g."identity", s."uuid", s."name",
       (SELECT o."request" FROM "operation" o WHERE o."guestId" = g."id" AND o."kind" = 'clone' AND o."state" = 'finished'
          ORDER BY o."id" DESC LIMIT 1) AS cloned
     FROM "guest" g LEFT JOIN "guest" s ON s."id" = g."sourceGuestId" AND s."hostId" = g."hostId" WHERE g."id" = $1`,
    [guestId],
  );
  const row = rows[0];
  return {
    label: row?.sourceName ?? 'its source',
    inner: row?.identity ? innerOf(row.identity, row.cloned) : {},
    owned: row?.ownedFiles ?? [],
    baseId: row?.baseId ?? null,
    ...(row?.generations ? { generations: row.generations } : {}),
    ...(row?.uuid && row.name !== null ? { source: { uuid: row.uuid, name: row.name } } : {}),
  };
}

function innerOf(outcome: IdentityOutcome, cloned: unknown): Lineage['inner'] {
  const { changed, decided, policy, way } = outcome;
  const clean = cleanKinds.filter((kind) => changed.includes(kind));
  const cleaned = clean.length === 0 ? {} : { clean };
  if (way === 'none') return cleaned;
  const request = cloned === null ? undefined : storedRequestSchema.parse(cloned);
  const identity: GivenIdentity =
    request?.kind === 'clone'
      ? { options: request.options.identity, index: request.index, decided }
      : { options: identityOptionsSchema.parse({ policy, ...cleaned }), index: 0, decided, forgotten: true };
  return { ...cleaned, identity };
}

/** The base that the capture before this clone made; it was written to the clone's row when the capture finished. */
async function frozenSource(db: Db, guestId: string | null): Promise<DriverSource> {
  const { rows } = await db.pool.query<{ baseId: string | null; sourceName: string | null }>(
    'SELECT "baseId", "sourceName" FROM "guest" WHERE "id" = $1',
    [guestId],
  );
  const row = rows[0];
  if (!row?.baseId) throw baseGone();
  return { type: 'base', label: row.sourceName ?? 'its source', base: await baseById(db, row.baseId) };
}

/** What a clone is compared with, as it is now. */
async function counterpartSource(db: Db, guestId: string | null): Promise<DriverSource> {
  const { rows } = await db.pool.query<Counterpart>(
    'SELECT "mode", "baseId", "sourceGuestId", "templateVersionId", "sourceName" FROM "guest" WHERE "id" = $1',
    [guestId],
  );
  const row = rows[0];
  const counterpart = row && counterpartOf(row);
  switch (counterpart?.type) {
    case 'guest':
      return { type: 'guest', guest: await guestRef(db, counterpart.id) };
    case 'template':
      return resolveSource(db, { type: 'template', versionId: counterpart.id }, await hostOf(db, guestId));
    case 'base':
      return {
        type: 'base',
        label: row?.templateVersionId
          ? (row.sourceName ?? 'its template version')
          : `the base captured from ${row?.sourceName ?? 'its source'}`,
        base: await baseById(db, counterpart.id),
      };
    case undefined:
      throw new OffshootError('source-missing', {
        publicMessage: 'What it was cloned from is gone, so there is nothing to compare it with.',
        remedy: 'Nothing is wrong with the guest itself.',
      });
  }
}

/** A guest with the base that its disks stand on. Throws `source-missing` when it stands on none. */
export async function guestOnBase(db: Db, guestId: string): Promise<{ guest: GuestRef; base: CapturedBase }> {
  const guest = await guestRef(db, guestId);
  const { rows } = await db.pool.query<{ baseId: string | null }>(
    'SELECT "baseId" FROM "guest" WHERE "id" = $1',
    [guestId],
  );
  const baseId = rows[0]?.baseId;
  if (baseId) return { guest, base: await baseById(db, baseId) };
  throw new OffshootError('source-missing', {
    publicMessage: `“${guest.name}” stands on no base.`,
    remedy: 'Its disks are its own; there is nothing to measure a drift from.',
  });
}

/** A base with the words for it. Throws `not-found`. */
export async function baseOf(db: Db, baseId: string): Promise<{ label: string; base: CapturedBase }> {
  const base = await baseById(db, baseId);
  return { label: `base ${base.digest.slice(0, 12)}`, base };
}

const baseGone = (): OffshootError =>
  new OffshootError('source-missing', {
    publicMessage: 'The source’s captured base is gone.',
    remedy: 'Make the clone again.',
  });

async function guestRef(db: Db, guestId: string | null): Promise<GuestRef> {
  const { rows } = await db.pool.query<{ uuid: string | null; name: string }>(
    'SELECT "uuid", "name" FROM "guest" WHERE "id" = $1',
    [guestId],
  );
  const row = rows[0];
  if (row?.uuid) return { uuid: row.uuid, name: row.name };
  throw new OffshootError('source-missing', {
    publicMessage: row ? `“${row.name}” is not on its host.` : 'That guest does not exist any more.',
    remedy: 'Reload the list of guests.',
  });
}

async function baseById(db: Db, baseId: string): Promise<CapturedBase> {
  const { rows } = await db.pool.query<
    Omit<CapturedBase, 'nvramPath' | 'memory' | 'inside'> & {
      nvramPath: string | null;
      memory: MemoryPoint | null;
      inside: GuestInside | null;
    }
  >('SELECT "digest", "definition", "disks", "nvramPath", "memory", "inside" FROM "base" WHERE "id" = $1', [
    baseId,
  ]);
  const row = rows[0];
  if (!row)
    throw new OffshootError('not-found', {
      publicMessage: 'That base does not exist any more.',
      remedy: 'Reload the list.',
    });
  const { nvramPath, memory, inside, ...base } = row;
  return {
    ...base,
    ...(nvramPath === null ? {} : { nvramPath }),
    ...(memory === null ? {} : { memory }),
    ...(inside === null ? {} : { inside }),
  };
}
