/** A batch of clones over several hosts: chosen, reserved and written in one transaction. */
import type { AgreedShare, CloneRequest } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { place, whyNot } from '@offshoot/clone-core/placement';
import type { PlacementQuestion } from '@offshoot/clone-core/placement/types';
import { cloneRows, type Made, type ResolvedSource } from '../clone-rows.ts';
import type { NewOperation } from '../ask.ts';
import { newId, type Tx } from '../transaction.ts';
import { makeTransfers, underwayTo } from '../transfer.ts';
import { basesOn } from './bases.ts';
import { sizeOfVersion } from './need.ts';
import { questionFor } from './question.ts';
import { lockReservations } from './reserve.ts';

/**
 * The rows of a batch whose hosts are chosen: as was agreed to, when hosts can still take it; without an agreement as `place`
 * decides now. All or nothing. `places`: of its names in the first request, when it is asked again. Throws `stale-plan`, `no-space`, `name-taken`.
 */
export async function makePlaced(
  tx: Tx,
  userId: string | null,
  request: CloneRequest,
  agreed?: readonly AgreedShare[],
  places?: readonly number[],
): Promise<Made> {
  const { source, placement } = request;
  if (source.type !== 'template' || !placement) throw new Error('only clones of a template are placed');
  await lockReservations(tx);
  const { versionId } = source;
  const question = await questionFor(tx, { ...request, versionId, placement });
  await refuseNamesElsewhere(
    tx,
    request.names,
    question.hosts.map(({ id }) => id),
  );
  const shares = agreed ? stillFits(question, agreed) : chosen(question);
  const size = await sizeOfVersion(tx, versionId);
  const bases = await basesOn(tx, question.digest);
  const wanted = { digest: question.digest, label: question.label };
  const transfers = await makeTransfers(
    tx,
    wanted,
    shares.map(({ hostId }) => hostId),
  );
  const underway = await underwayTo(tx, question.digest);
  const made: Made = { operations: [], events: [] };
  for (const share of shares) {
    const { hostId, seats } = share;
    const on: ResolvedSource = {
      hostId,
      label: question.label,
      guestId: null,
      templateVersionId: versionId,
      baseId: bases.get(hostId) ?? null,
    };
    const waitsFor = on.baseId === null ? underway.get(hostId) : undefined;
    const rows = await cloneRows(
      tx,
      userId,
      { ...request, names: seats.map((seat) => request.names[seat] ?? '') },
      {
        source: waitsFor === undefined ? on : { ...on, waitsFor },
        first: on.baseId === null ? transfers.find((transfer) => transfer.hostId === hostId) : undefined,
        size,
        agreedFingerprint: share.fingerprint ?? null,
        places: seats.map((seat) => places?.[seat] ?? seat),
      },
    ).catch((thrown: unknown) => {
      throw ofWholeRequest(thrown, seats);
    });
    made.operations.push(...rows.operations);
    made.events.push(...rows.events);
  }
  // Chains of transfers first, in their order; then the clones in the order of their names, also by their ids.
  const placeOf = ({ request: stored }: NewOperation): number =>
    stored.kind === 'clone' ? stored.index : -1;
  made.operations = made.operations
    .toSorted((a, b) => placeOf(a) - placeOf(b))
    .map((each) => (each.kind === 'clone' ? { ...each, id: newId() } : each));
  return made;
}

interface Share {
  hostId: string;
  seats: readonly number[];
  fingerprint?: string;
}

function chosen(question: PlacementQuestion): Share[] {
  const { shares, unplaced } = place(question);
  if (unplaced.length > 0) throw noPlace(question, unplaced);
  return shares;
}

/** @throws `no-space` in words: how many have no place, and why on each host. */
export function noPlace(
  { seats }: Pick<PlacementQuestion, 'seats'>,
  unplaced: readonly { seat: number; why: string }[],
): OffshootError {
  const [first] = unplaced;
  const all = unplaced.length === seats.length;
  return new OffshootError('no-space', {
    publicMessage: `${all ? 'No host can take' : `${seats.length - unplaced.length} of ${seats.length} find a place, but no host can take`} ${unplaced.length === 1 ? `“${seats[first?.seat ?? 0]?.name ?? ''}”` : all ? 'them' : `the other ${unplaced.length}`}. ${first?.why ?? ''}`,
    remedy: 'Make fewer, choose among more hosts, or free space on one.',
    field: 'placement',
  });
}

function stillFits(question: PlacementQuestion, agreed: readonly AgreedShare[]): Share[] {
  const seats = agreed.flatMap((share) => share.seats).toSorted((a, b) => a - b);
  const each = seats.length === question.seats.length && seats.every((seat, index) => seat === index);
  const hosts = new Set(agreed.map(({ hostId }) => hostId));
  if (!each || hosts.size < agreed.length)
    throw new OffshootError('invalid-input', {
      publicMessage: 'That placement is not one of this request.',
      remedy: 'Reload the page and ask again.',
      field: 'agreedShares',
    });
  const refusal = whyNot(question, agreed);
  if (refusal)
    throw new OffshootError('stale-plan', {
      publicMessage: `Since you saw the preview something changed on ${refusal.name}: ${refusal.why}. Nothing was begun.`,
      remedy: 'Look at the new preview and clone again.',
      field: 'placement',
    });
  return agreed.toSorted((a, b) => (a.hostId < b.hostId ? -1 : 1));
}

/** A refusal about one of a share's names is about that name of the whole request. */
function ofWholeRequest(thrown: unknown, seats: readonly number[]): unknown {
  const match = thrown instanceof OffshootError ? /^names\.(\d+)$/.exec(thrown.field ?? '') : null;
  if (!match || !(thrown instanceof OffshootError)) return thrown;
  const { code, publicMessage, remedy } = thrown;
  return new OffshootError(code, {
    publicMessage,
    field: `names.${seats[Number(match[1])] ?? 0}`,
    ...(remedy === undefined ? {} : { remedy }),
  });
}

/** Two guests of one name on hosts to choose from could not be told apart by whoever asked. */
export async function refuseNamesElsewhere(
  tx: Pick<Tx, 'query'>,
  names: readonly string[],
  hostIds: readonly string[],
): Promise<void> {
  const { rows } = await tx.query<{ name: string; host: string }>(
    `SELECT g."name", h."name" AS host FROM "guest" g JOIN "host" h ON h."id" = g."hostId"
     WHERE g."name" = ANY($1::text[]) AND g."hostId" = ANY($2::text[]) ORDER BY array_position($1::text[], g."name") LIMIT 1`,
    [names, hostIds],
  );
  const [taken] = rows;
  if (!taken) return;
  throw new OffshootError('name-taken', {
    publicMessage: `There is a guest named “${taken.name}” on ${taken.host} already.`,
    remedy: 'Choose another name.',
    field: `names.${names.indexOf(taken.name)}`,
  });
}
