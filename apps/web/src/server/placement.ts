/** What a batch over several hosts would do: placed from what is known of the fleet, then planned by each host's own worker. */
import type { ClonePreview, CloneRequest, Estimates, PlacementPreview } from '@offshoot/clone-core/contract';
import { toOffshootError, type OffshootError } from '@offshoot/clone-core/errors';
import { place } from '@offshoot/clone-core/placement';
import type { Placement } from '@offshoot/clone-core/placement/types';
import type { Db } from '@offshoot/db/client';
import { noPlace, previewQuestion, refuseNamesElsewhere } from '@offshoot/db/placement';

/** Has a host's worker plan what it would get. Rejects with the host's own refusal. */
export type AskHost = (hostId: string, request: CloneRequest) => Promise<ClonePreview>;

type Share = Placement['shares'][number];
interface Planned {
  share: Share;
  preview: ClonePreview;
}

/**
 * Places the request's clones and has the chosen hosts plan theirs. A host that refuses (a processor feature that it lacks, a
 * network, its worker silent) is left out with its own words, and it is placed again. Throws what all hosts say alike,
 * `no-space` when some find no host, `name-taken`.
 */
export async function previewPlaced(db: Db, ask: AskHost, request: CloneRequest): Promise<ClonePreview> {
  const { source, placement, ...rest } = request;
  if (source.type !== 'template' || !placement) throw new Error('only clones of a template are placed');
  const question = await previewQuestion(db, { ...rest, versionId: source.versionId, placement });
  const ids = question.hosts.map(({ id }) => id);
  await refuseNamesElsewhere(db.pool, request.names, ids);
  const refusals = new Map<string, OffshootError>();
  for (;;) {
    const hosts = question.hosts.map((host) => {
      const refusal = refusals.get(host.id);
      return refusal ? { ...host, unusable: asEnding(refusal.publicMessage) } : host;
    });
    const placed = place({ ...question, hosts });
    if (placed.unplaced.length > 0) throw alike([...refusals.values()]) ?? noPlace(question, placed.unplaced);
    const answers = await Promise.all(
      placed.shares.map(async (share) => {
        const names = share.seats.map((seat) => request.names[seat] ?? '');
        try {
          return {
            share,
            preview: await ask(share.hostId, { ...rest, source, names, hostId: share.hostId }),
          };
        } catch (thrown) {
          return { share, refusal: toOffshootError(thrown) };
        }
      }),
    );
    const planned = answers.flatMap(({ share, preview }): Planned[] => (preview ? [{ share, preview }] : []));
    if (planned.length === answers.length) return together(planned, placed.others);
    for (const { share, refusal } of answers) if (refusal) refusals.set(share.hostId, refusal);
  }
}

const asEnding = (sentence: string): string => `refuses: ${sentence.replace(/\.$/, '')}`;

/** What every host that was asked says in the same words is about the request. */
function alike(refusals: readonly OffshootError[]): OffshootError | undefined {
  const [first] = refusals;
  return refusals.every(({ publicMessage }) => publicMessage === first?.publicMessage) ? first : undefined;
}

/** Hosts work side by side: bytes add up, the slowest says how long. */
function together(planned: readonly Planned[], others: Placement['others']): ClonePreview {
  const [first] = planned;
  if (!first) throw new Error('a batch has clones');
  const sum = (pick: (estimates: Estimates) => number): number =>
    planned.reduce((total, { preview }) => total + pick(preview.total), 0);
  const shares = planned.map(({ share, preview }): PlacementPreview['shares'][number] => ({
    hostId: share.hostId,
    name: share.name,
    seats: share.seats,
    why: share.why,
    fingerprint: preview.fingerprint,
    total: preview.total,
    notes: [...(preview.transfer?.notes ?? []), ...preview.each.notes],
    ...(preview.transfer === undefined
      ? {}
      : {
          transfer: {
            bytes: preview.transfer.estimates.moveBytes,
            seconds: preview.transfer.estimates.seconds,
          },
        }),
  }));
  const transfer = planned.find(({ preview }) => preview.transfer)?.preview.transfer;
  return {
    ...first.preview,
    ...(transfer === undefined ? {} : { transfer }),
    count: shares.reduce((total, { seats }) => total + seats.length, 0),
    total: {
      readBytes: sum(({ readBytes }) => readBytes),
      moveBytes: sum(({ moveBytes }) => moveBytes),
      storeBytes: sum(({ storeBytes }) => storeBytes),
      seconds: Math.max(...planned.map(({ preview }) => preview.total.seconds)),
    },
    fingerprint: shares.map(({ hostId, fingerprint }) => `${hostId}:${fingerprint}`).join(' '),
    simulated: planned.some(({ preview }) => preview.simulated),
    placement: { shares, others },
  };
}
