/** Guests that go from one host to another. */
import type { OperationRequest } from '@offshoot/clone-core/driver';
import { OffshootError } from '@offshoot/clone-core/errors';
import { namesGoingTo } from './arriving.ts';
import { ask, type NewOperation } from './ask.ts';
import type { Db } from './client.ts';
import { needServing } from './duty.ts';
import { idleGuest, operation, refuseIfMissing, type AskedOfGuest } from './guest-requests.ts';
import type { LockedGuest } from './guest-lock.ts';
import { sizeOfGuest } from './placement/need.ts';
import { lockReservations, refuseOverpromised, type Reserve } from './placement/reserve.ts';
import type { Tx } from './transaction.ts';
import { makeTransfers, needHosts, underwayTo } from './transfer.ts';
import type { BatchResult, StoredRequest } from './types.ts';

type StoredMove = Extract<StoredRequest, { kind: 'migrate' }>;

/**
 * Moves a guest to another host; the base it stands on goes there first. Throws `busy`, `not-found`, `source-missing`,
 * `not-allowed` for a guest that Offshoot did not make, `name-taken`, `unavailable-mode` when that host takes none.
 */
export function requestMove(
  db: Db,
  asked: AskedOfGuest & { hostId: string; network?: string },
): Promise<BatchResult> {
  const { guestId, hostId, network, agreedFingerprint } = asked;
  const agreed = agreedFingerprint === undefined ? {} : { agreedFingerprint };
  const wish = {
    kind: 'migrate',
    targetHostId: hostId,
    ...(network === undefined ? {} : { network }),
  } as const;
  return ask(db, asked, { guestId, request: wish, ...agreed }, (tx) =>
    makeMove(tx, guestId, wish, agreedFingerprint ?? null),
  );
}

/** The rows of a move: the transfer of its base, when that is not there, and the move after it. */
export async function makeMove(
  tx: Tx,
  guestId: string,
  wish: StoredMove,
  agreedFingerprint: string | null,
): Promise<{ operations: NewOperation[] }> {
  const guest = await idleGuest(tx, guestId);
  refuseIfMissing(guest);
  await lockReservations(tx);
  // It takes a guest in, as it takes a base.
  await needServing(tx, [{ kind: 'transfer', hostId: wish.targetHostId }]);
  await refuseTarget(tx, guest, wish.targetHostId);
  const base = await baseUnder(tx, guest.baseId);
  const { baseDigest: _before, ...request } = wish;
  const reserves = await takenBy(tx, guest);
  await refuseOverpromised(tx, wish.targetHostId, reserves.storeBytes, { field: 'hostId', mayShare: false });
  const move = operation({
    hostId: guest.hostId,
    guestId,
    title: guest.name,
    request: { ...request, ...(base ? { baseDigest: base.digest } : {}) },
    lane: 'bulk',
  });
  const first = base ? await makeTransfers(tx, base, [wish.targetHostId]) : [];
  const afterId =
    first[0]?.id ?? (base && (await underwayTo(tx, base.digest)).get(wish.targetHostId)) ?? null;
  const state = afterId === null ? 'queued' : 'waiting';
  return { operations: [...first, { ...move, reserves, agreedFingerprint, state, afterId }] };
}

/** What the guest takes of the host that it goes to. */
async function takenBy(tx: Tx, { id, state }: LockedGuest): Promise<Reserve> {
  const { diskBytes, needs } = await sizeOfGuest(tx, id);
  const runs = state === 'running' || state === 'paused';
  return {
    vcpus: runs ? (needs?.vcpus ?? 1) : 0,
    memoryBytes: runs ? (needs?.memoryBytes ?? 0) : 0,
    storeBytes: diskBytes,
  };
}

async function refuseTarget(tx: Tx, guest: LockedGuest, hostId: string): Promise<void> {
  await needHosts(tx, [hostId]);
  if (!guest.managed)
    throw new OffshootError('not-allowed', {
      publicMessage: `“${guest.name}” was not made by Offshoot, so Offshoot does not move it.`,
      remedy: 'Make a full clone of it, and move that.',
    });
  const { rows } = await tx.query<{ name: string; kind: string; gives: boolean }>(
    'SELECT "name", "kind", "peer" IS NOT NULL AS gives FROM "host" WHERE "id" = $1',
    [hostId],
  );
  const [host] = rows;
  if (!host || hostId === guest.hostId || host.kind !== 'libvirt' || !host.gives)
    throw new OffshootError('unavailable-mode', {
      publicMessage:
        hostId === guest.hostId
          ? `“${guest.name}” is on that host already.`
          : `${host?.name ?? hostId} takes no guests from other hosts.`,
      remedy: 'Choose another host.',
      field: 'hostId',
    });
  const taken = await namesGoingTo(tx, hostId, [guest.name]);
  const { rows: there } = await tx.query<{ name: string }>(
    'SELECT "name" FROM "guest" WHERE "hostId" = $1 AND ("name" = $2 OR "uuid" = $3)',
    [hostId, guest.name, guest.uuid],
  );
  if (taken.length === 0 && there.length === 0) return;
  throw new OffshootError('name-taken', {
    publicMessage: `${host.name} has a guest named “${there[0]?.name ?? guest.name}” already, or is getting one.`,
    remedy: 'Choose another host, or remove that guest.',
    field: 'hostId',
  });
}

interface Base {
  digest: string;
  label: string;
}

async function baseUnder(tx: Tx, baseId: string | null): Promise<Base | undefined> {
  if (baseId === null) return undefined;
  const { rows } = await tx.query<Base>(
    `SELECT b."digest", COALESCE((SELECT min(t."name" || ' v' || v."number") FROM "template_version" v
       JOIN "template" t ON t."id" = v."templateId" JOIN "base" vb ON vb."id" = v."baseId" WHERE vb."digest" = b."digest"),
       'base ' || left(b."digest", 12)) AS label FROM "base" b WHERE b."id" = $1`,
    [baseId],
  );
  return rows[0];
}

/** From what is stored to what a driver understands. Throws `not-found` when the host is gone. */
export async function resolveMove(
  db: Db,
  request: StoredMove,
  lineage: Pick<Extract<OperationRequest, { kind: 'migrate' }>, 'guest' | 'owned' | 'generations' | 'base'>,
): Promise<OperationRequest> {
  const { rows } = await db.pool.query<{ name: string }>('SELECT "name" FROM "host" WHERE "id" = $1', [
    request.targetHostId,
  ]);
  const [host] = rows;
  if (!host)
    throw new OffshootError('not-found', {
      publicMessage: `The host ${request.targetHostId} is not known any more.`,
      remedy: 'Choose another host.',
      field: 'hostId',
    });
  return {
    kind: 'migrate',
    ...lineage,
    target: { hostId: request.targetHostId, name: host.name },
    ...(request.network === undefined ? {} : { network: request.network }),
  };
}
