import { randomUUID } from 'node:crypto';
import { execa } from 'execa';
import { batchFinished, deleteGuests, type Portal } from '../portal.ts';
import { median, quantile, round, type Bench } from '../result.ts';
import { diskOf } from '../source.ts';
import { click, template } from './linked.ts';

const ROUNDS = 20;
const NAME = 'bench-reset';

/** What the guest wrote since it was cloned: it has to go. */
async function write(name: string): Promise<void> {
  await execa('qemu-io', ['-c', 'write -q -P 7 0 64M', await diskOf(name)]);
}

async function resetOnce(portal: Portal): Promise<number> {
  const { id } = await portal.db.prisma.guest.findFirstOrThrow({ where: { name: NAME } });
  const from = performance.now();
  const [answer] = (await portal.mutate('operation.create.reset', {
    idempotencyKey: randomUUID(),
    guestIds: [id],
    waitForAgent: false,
  })) as { batchId: string }[];
  await batchFinished(portal, answer?.batchId ?? '', 1);
  return performance.now() - from;
}

/** Without reset: delete the clone and make it again, which gives it another identity. */
async function again(portal: Portal, versionId: string): Promise<number> {
  const from = performance.now();
  await deleteGuests(portal, [NAME]);
  await click(portal, versionId, [NAME]);
  return performance.now() - from;
}

export const reset: Bench = {
  id: 'reset',
  title: 'reset of a stopped linked clone that wrote 64 MiB, against deleting and cloning it again',
  async run(lab) {
    const portal = await lab.portal();
    const { versionId } = await template(lab, portal);
    await click(portal, versionId, [NAME]);
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let run = 0; run < ROUNDS; run++) {
      await write(NAME);
      ours.push(await resetOnce(portal));
      await write(NAME);
      theirs.push(await again(portal, versionId));
    }
    await deleteGuests(portal, [NAME]);
    const [mine, peer] = [round(median(ours), 1), round(median(theirs), 1)];
    return {
      id: 'reset',
      unit: 'ms',
      ours: mine,
      peers: { 'delete-and-clone': peer },
      ratio: round(mine / peer),
      of: 'delete-and-clone',
      runs: ROUNDS,
      notes: `p50 from the click (HTTP) to finished, not started; p95 ${round(quantile(ours, 0.95), 1)} ms; the peer changes the guest’s UUID and MACs`,
      p95: round(quantile(ours, 0.95), 1),
    };
  },
};
