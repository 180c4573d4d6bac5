/** A class over four hosts of a template that is on one of them, against bringing the template there alone. */
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { cloneRequestSchema, type ClonePreview } from '@offshoot/clone-core/contract';
import { requestDelete } from '@offshoot/db/operations';
import { coldSeconds, makeMixedDisk } from '../disk.ts';
import { openBenchFleet, LINK_BYTES, type BenchFleet, type Version } from '../fleet.ts';
import { batchFinished, perform, type Portal } from '../portal.ts';
import { median, round, type Bench } from '../result.ts';
import { scratchDisk } from '../source.ts';

const GIB = 1024 ** 3;
const DATA_BYTES = GIB / 2;
const COUNT = 30;

export const spread30: Bench = {
  id: 'spread-30',
  title: `${COUNT} linked clones of 512 MiB on one host, spread over four, from the click to all defined, against the distribution alone`,
  async run(lab) {
    const image = scratchDisk(lab.scratch, 'spread');
    await makeMixedDisk(image, DATA_BYTES, 4 * GIB);
    const portal = await lab.portal();
    const fleet = await openBenchFleet(lab);
    const [alone, whole, previews]: [number[], number[], number[]] = [[], [], []];
    let spread = '';
    try {
      const version = await fleet.template('bench-image', image);
      for (let run = 0; run < lab.runs; run++) {
        const seconds = await coldSeconds(() => fleet.distribute(version));
        alone.push(seconds);
        lab.say(`distribution: ${seconds.toFixed(2)} s`);
        await fleet.withdraw(version);
        const clones = await cloneAll(portal, fleet, version);
        whole.push(clones.seconds);
        previews.push(clones.previewSeconds);
        spread = clones.spread;
        lab.say(`offshoot: ${clones.seconds.toFixed(2)} s, ${spread}`);
        await deleteAll(portal, clones.names);
        await fleet.withdraw(version);
      }
      const [ours, distribution] = [median(whole), median(alone)];
      return {
        id: 'spread-30',
        unit: 's',
        ours: round(ours),
        peers: { distribution: round(distribution), 'wire-limit': round(version.bytes / LINK_BYTES) },
        ratio: round(ours / distribution),
        of: 'distribution',
        runs: lab.runs,
        secondsBeyondDistribution: round(ours - distribution),
        previewSeconds: round(median(previews)),
        clones: COUNT,
        imageBytes: version.bytes,
        notes: `${spread}; defined, not started; distribution: the same template to the same three hosts, without clones`,
      };
    } finally {
      await fleet.close();
      await rm(image, { force: true });
    }
  },
};

/** What the browser sends: the preview, then the click with what it showed. */
async function cloneAll(portal: Portal, fleet: BenchFleet, version: Version) {
  const names = Array.from({ length: COUNT }, (_, index) => `spread-${index + 1}`);
  const request = cloneRequestSchema.parse({
    source: { type: 'template', versionId: version.id },
    mode: 'linked',
    names,
    placement: { hostIds: [fleet.source, ...fleet.targets].map(({ name }) => name) },
    options: { start: false, waitForAgent: false },
  });
  const from = performance.now();
  const { placement } = (await portal.query('preview.clone', request)) as ClonePreview;
  const previewSeconds = (performance.now() - from) / 1000;
  const shares = placement?.shares ?? [];
  const seconds = await coldSeconds(async () => {
    const { batchId, operationIds } = (await portal.mutate('operation.create.clone', {
      idempotencyKey: randomUUID(),
      request,
      agreedShares: shares.map(({ hostId, seats, fingerprint }) => ({ hostId, seats, fingerprint })),
    })) as { batchId: string; operationIds: string[] };
    await batchFinished(portal, batchId, operationIds.length);
  });
  const made = await portal.db.prisma.guest.groupBy({
    by: ['hostId'],
    where: { name: { in: names }, state: 'stopped' },
    _count: true,
    orderBy: { hostId: 'asc' },
  });
  const total = made.reduce((sum, { _count }) => sum + _count, 0);
  if (total !== COUNT) throw new Error(`only ${total} of ${COUNT} were made`);
  const spread = made.map(({ hostId, _count }) => `${_count} on ${hostId}`).join(', ');
  return { names, seconds, previewSeconds, spread };
}

async function deleteAll(portal: Portal, names: readonly string[]): Promise<void> {
  const guests = await portal.db.prisma.guest.findMany({ where: { name: { in: [...names] } } });
  await Promise.all(
    guests.map(({ id }) => {
      const asked = { userId: null, idempotencyKey: randomUUID(), guestId: id };
      return perform(portal, requestDelete(portal.db, asked));
    }),
  );
}
