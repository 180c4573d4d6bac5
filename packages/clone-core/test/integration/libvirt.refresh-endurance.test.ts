/**
 * Many refreshes in a row, and cuts at random moments, on this machine's real libvirt. OFFSHOOT_THOROUGH=1: the full numbers. The system
 * disk is written to by the guest itself also after the point, so its state is shown by booting it.
 */
import { readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { GuestRef, Plan } from '../../src/driver.ts';
import { execute } from '../../src/execute.ts';
import { MemoryJournal } from '../conformance/journal.ts';
import { perform, planOf, workerStopped } from '../conformance/workbench.ts';
import { depthOf, filesBelow, makeLab, namer, startGuest, virsh, type Lab } from './libvirt.lab.ts';
import {
  checkpoints,
  diskOf,
  random,
  record,
  refreshing,
  refreshOf,
  same,
  write,
  type Clone,
} from './libvirt.refreshing.ts';

const thorough = process.env['OFFSHOOT_THOROUGH'] === '1';
const REFRESHES = thorough ? 20 : 4;
const CUTS = thorough ? 25 : 4;
const CLUSTERS = 512;

let lab: Lab;
let source: GuestRef;
const { cloned, refreshed, restored, deleted, contentNow, makeSource } = refreshing(() => lab, namer('e'));

beforeAll(async () => {
  lab = await makeLab();
  source = await makeSource('source');
  await startGuest(source.name);
}, 120_000);
afterAll(async () => lab.destroy());

/** Repeatable, and unlike from call to call: what is drawn does not depend on how fast the machine is. */
let drawn = 1;
function draw(below: number): number {
  drawn = (Math.imul(drawn, 1_103_515_245) + 12_345) >>> 0;
  return Math.floor((drawn / 2 ** 32) * below);
}
const scattered = (): string[] => Array.from({ length: 1 + draw(6) }, () => random(draw(CLUSTERS)));

/** Names of the bitmaps that QEMU keeps for the source's data disk. */
async function bitmaps(): Promise<string[]> {
  const nodes = JSON.parse(
    await virsh('qemu-monitor-command', source.uuid, '{"execute":"query-named-block-nodes"}'),
  ) as { return: { 'dirty-bitmaps'?: { name?: string }[] }[] };
  return nodes.return.flatMap((node) => node['dirty-bitmaps'] ?? []).map(({ name }) => name ?? '');
}

it(`${REFRESHES} refreshes in a row: always equal, and no bitmap, checkpoint, layer or file too many`, async () => {
  let clone = await cloned(source, 'many');
  const seen = new Set<string>();
  for (let round = 0; round < REFRESHES; round++) {
    await write(source, ...scattered());
    const next = await refreshed(clone);
    expect(next.plan.strategy).toBe('changed blocks');
    clone = next.clone;
    await same(source, clone);
    const disk = await diskOf(clone.guest, 'vdb');
    seen.add(
      JSON.stringify({
        files: (await readdir(dirname(disk))).length,
        checkpoints: (await checkpoints(source)).length,
        bitmaps: new Set(await bitmaps()).size,
        depth: await depthOf(disk),
        states: clone.generations?.list.length,
      }),
    );
    // One state more than there was, of every kind of thing, in the whole store.
    expect(clone.owned.filter((path) => !path.includes('/nvram/')).toSorted()).toEqual(
      await filesBelow(dirname(disk)),
    );
  }
  expect([...seen]).toHaveLength(1);
  expect(JSON.parse([...seen][0] ?? '{}')).toEqual({
    files: 9, // two disks, two states, a layer and an own file each; the drive with its settings
    checkpoints: 2,
    bitmaps: 2,
    depth: 3,
    states: 2,
  });
  await deleted(clone);
  expect(await checkpoints(source)).toEqual([]);
  expect(await bitmaps()).toEqual([]);
}, 600_000);

/** Performs until `ms` have passed, and stops as a worker does that is killed: nothing is undone. */
async function cutAfter(plan: Plan, ms: number, journal: MemoryJournal): Promise<'cut' | 'finished'> {
  const controller = new AbortController();
  const reason = workerStopped();
  const timer = setTimeout(() => controller.abort(reason), ms);
  try {
    await execute(plan, lab.driver(), journal, { operationId: 'cut', signal: controller.signal });
    return 'finished';
  } catch (thrown) {
    if (thrown === reason) return 'cut';
    throw thrown;
  } finally {
    clearTimeout(timer);
  }
}

/** The file that its row says it writes to. */
const activeBefore = ({ generations }: Clone): string =>
  generations?.list
    .find(({ number }) => number === generations.current)
    ?.disks.find(({ target }) => target === 'vdb')?.own ?? '';

const boots = async (clone: Clone): Promise<void> => {
  await startGuest(clone.guest.name);
  await virsh('destroy', clone.guest.uuid);
};

it(`cut at ${CUTS} random moments of a refresh: the old state boots each time, and the next refresh succeeds`, async () => {
  let clone = await cloned(source, 'cut');
  let took = 0;
  let cut = 0;
  for (let round = 0; round < CUTS; round++) {
    await write(source, ...scattered());
    const before = await contentNow(clone);
    const plan = await planOf(lab.driver(), refreshOf(clone, { ownChanges: 'discard' }), `cut ${round}`);
    const journal = new MemoryJournal();
    // The first is let through: how long one takes here is what the others are cut within.
    const ended = took === 0 ? undefined : await cutAfter(plan, draw(took), journal);
    let done = ended === 'finished';
    if (ended === 'cut') {
      cut++;
      const from = journal.startingPoint();
      const swapped = (await diskOf(clone.guest, 'vdb')) !== activeBefore(clone);
      if (!swapped) expect(await contentNow(clone), `as it lies there after cut ${round}`).toBe(before);
      await boots(clone);
      if (from.nextStep === plan.steps.length - 1) {
        // Past the swap there is nothing to go back for: the next worker tidies up.
        expect(await perform(lab.driver(), plan, journal, undefined, from)).toMatchObject({
          state: 'finished',
        });
        done = true;
      } else {
        const undoing = { nextStep: from.nextStep, undoing: { cancelled: true } };
        expect(await perform(lab.driver(), plan, journal, undefined, undoing)).toMatchObject({
          undo: { leftBehind: [] },
        });
        expect(await contentNow(clone), `as it was before cut ${round}`).toBe(before);
        await boots(clone);
      }
    }
    if (done) clone = record(clone, plan);
    else {
      const began = performance.now();
      clone = (await refreshed(clone, { ownChanges: 'discard' })).clone;
      took = Math.max(took, performance.now() - began);
    }
    await same(source, clone);
  }
  expect(cut).toBeGreaterThan(0);
  const back = await restored(clone, (clone.generations?.current ?? 0) - 1);
  await boots(back);
  await deleted(back);
  expect(await checkpoints(source)).toEqual([]);
}, 600_000);
