/** Cases: start, stop and delete. */
import { expect, it } from 'vitest';
import type { OperationRequest } from '../../../src/driver.ts';
import type { Stage } from '../suite.ts';
import { cloneOf, destroyClone, finish, make, ownedBy, planOf, snapshot } from '../workbench.ts';

export function powerCases(stage: () => Stage): void {
  it('start and stop do what they say, and twice is harmless', async () => {
    const { rig, source } = stage();
    const { plan } = await make(rig, cloneOf(source, 'power'), 'power');
    const guest = { uuid: plan.guest?.uuid ?? '', name: 'power' };
    const start: OperationRequest = { kind: 'start', guest, waitForAgent: false, agentTimeoutSeconds: 30 };
    const stop: OperationRequest = { kind: 'stop', guest, force: true, timeoutSeconds: 30 };
    for (const [request, runs] of [
      [start, true],
      [start, true],
      [stop, false],
      [stop, false],
    ] as const) {
      await make(rig, request, `${request.kind} power`);
      expect(await rig.isRunning('power')).toBe(runs);
    }
    const planned = await planOf(rig.driver(), start);
    await make(rig, start, 'by another hand');
    await finish(rig.driver(), planned);
    expect(await rig.isRunning('power')).toBe(true);
    await destroyClone(rig, plan);
  });

  it('delete takes the guest and the files it owns, and no other file', async () => {
    const { rig, source } = stage();
    const before = await snapshot(rig);
    const { plan } = await make(rig, cloneOf(source, 'partly'), 'partly');
    const disks = (await rig.definition('partly'))?.disks.map((disk) => disk.path) ?? [];
    const kept = disks.at(-1) ?? '';
    const guest = { uuid: plan.guest?.uuid ?? '', name: 'partly' };
    await make(
      rig,
      { kind: 'delete', guest, owned: ownedBy(plan).filter((path) => path !== kept) },
      'delete partly',
    );
    const after = await snapshot(rig);
    expect(after.guests).toEqual(before.guests);
    expect(after.files.filter((path) => disks.includes(path))).toEqual([kept]);
    expect(before.files.filter((path) => !after.files.includes(path))).toEqual([]);
  });

  it('a delete that is planned and done twice ends the same', async () => {
    const { rig, source } = stage();
    const before = await snapshot(rig);
    const { plan } = await make(rig, cloneOf(source, 'twice'), 'twice');
    const guest = { uuid: plan.guest?.uuid ?? '', name: 'twice' };
    const deletion = await planOf(rig.driver(), { kind: 'delete', guest, owned: ownedBy(plan) });
    await finish(rig.driver(), deletion);
    await finish(rig.driver(), deletion);
    expect(await snapshot(rig)).toEqual(before);
  });
}
