/** Cases: what a full clone is. */
import { expect, it } from 'vitest';
import type { Stage } from '../suite.ts';
import { cloneOf, destroyClone, make, snapshot } from '../workbench.ts';

const never = new AbortController().signal;

export function cloneCases(stage: () => Stage): void {
  it('a full clone of a stopped guest: equal content, an identity of its own, all else as before', async () => {
    const { rig, source } = stage();
    const before = await snapshot(rig);
    const { plan, outcome } = await make(rig, cloneOf(source, 'full-1'), 'full-1');
    expect(outcome.result.consistency).toBe('exact');
    expect(await rig.content('full-1')).toEqual(await rig.content(source.name));
    const [mine, theirs] = [await rig.definition('full-1'), await rig.definition(source.name)];
    expect(mine?.rest).toBe(theirs?.rest);
    expect(mine?.uuid).toBe(plan.guest?.uuid);
    expect(mine?.uuid).not.toBe(theirs?.uuid);
    expect(mine?.macs).toEqual(plan.guest?.macs);
    expect(mine?.macs.length).toBe(theirs?.macs.length);
    expect(mine?.macs.filter((mac) => theirs?.macs.includes(mac))).toEqual([]);
    expect(mine?.disks.map((disk) => disk.target)).toEqual(theirs?.disks.map((disk) => disk.target));
    expect(mine?.disks.filter((disk) => theirs?.disks.some((other) => other.path === disk.path))).toEqual([]);
    const after = await snapshot(rig);
    expect(after.guests).toEqual([...before.guests, 'full-1'].toSorted());
    const made = plan.creates.map((each) => each.name);
    expect(after.files.filter((path) => !before.files.includes(path) && !made.includes(path))).toEqual([]);
    expect(after.other).toEqual(before.other);
    await destroyClone(rig, plan);
    expect(await snapshot(rig)).toEqual(before);
  });

  it('CPU and memory change only when asked; the list shows the clone as it is', async () => {
    const { rig, source } = stage();
    const { plan } = await make(rig, cloneOf(source, 'bigger', { vcpus: 3, memoryMiB: 192 }), 'bigger');
    const listed = (await rig.driver().list(never)).find((guest) => guest.name === 'bigger');
    expect(listed).toMatchObject({
      uuid: plan.guest?.uuid,
      state: 'stopped',
      vcpus: 3,
      memoryBytes: 192 * 1024 ** 2,
      macs: plan.guest?.macs,
    });
    expect(listed?.disks.map((disk) => disk.path).toSorted()).toEqual(
      (await rig.definition('bigger'))?.disks.map((disk) => disk.path).toSorted(),
    );
    await destroyClone(rig, plan);
  });

  it('clones of one source share no identity', async () => {
    const { rig, source } = stage();
    const plans = [];
    for (const name of ['twin-1', 'twin-2']) plans.push((await make(rig, cloneOf(source, name), name)).plan);
    const identities = plans.flatMap((plan) => [plan.guest?.uuid, ...(plan.guest?.macs ?? [])]);
    expect(new Set(identities).size).toBe(identities.length);
    for (const plan of plans) await destroyClone(rig, plan);
  });

  it('a clone that is to be started runs, answers its agent, and can be deleted while it runs', async ({
    skip,
  }) => {
    const { rig, source } = stage();
    if (!rig.hasAgent) skip('the sources of this rig have no guest agent');
    const before = await snapshot(rig);
    const { plan, outcome } = await make(
      rig,
      cloneOf(source, 'started', { start: true, agentTimeoutSeconds: 120 }),
      'started',
    );
    expect(await rig.isRunning('started')).toBe(true);
    expect(outcome.result.agentMs).toBeGreaterThan(0);
    await destroyClone(rig, plan);
    expect(await snapshot(rig)).toEqual(before);
  });

  it('a full clone of a running guest states its consistency and leaves the source running, with nothing left over', async ({
    skip,
  }) => {
    const { rig } = stage();
    const can = rig.driver().info.capabilities.full.running;
    if (can !== true) skip(can.why);
    const source = await rig.makeSource({ name: 'runs', running: true });
    const before = await snapshot(rig);
    const disks = (await rig.definition('runs'))?.disks;
    const { plan, outcome } = await make(rig, cloneOf(source, 'of-running'), 'of-running');
    expect(['filesystem', 'crash']).toContain(outcome.result.consistency);
    expect(outcome.result.consistencyNote).toMatch(/consistent/);
    expect(await rig.isRunning('runs')).toBe(true);
    expect((await rig.definition('runs'))?.disks).toEqual(disks);
    expect(Object.keys(await rig.content('of-running'))).toEqual(disks?.map((disk) => disk.target));
    await destroyClone(rig, plan);
    expect(await snapshot(rig)).toEqual(before);
  });
}
