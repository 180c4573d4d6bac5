/** Cases: comparing a clone with what it was cloned from, and how far it has drifted. */
import { expect, it } from 'vitest';
import type { GuestRef, OperationRequest, Plan } from '../../../src/driver.ts';
import type { Stage } from '../suite.ts';
import { failure } from '../until.ts';
import { cloneOf, destroyClone, make, snapshot } from '../workbench.ts';
import { baseOf, linkedOf } from './base.ts';

const never = new AbortController().signal;

export function verifyCases(stage: () => Stage): void {
  const refOf = (plan: Plan): GuestRef => ({ uuid: plan.guest?.uuid ?? '', name: plan.guest?.name ?? '' });

  it('a fresh full clone is identical to its source, whole and sampled, and both stay as they are', async () => {
    const { rig, source } = stage();
    const { plan } = await make(rig, cloneOf(source, 'same'), 'same');
    const before = await snapshot(rig);
    const content = await rig.content('same');
    for (const depth of ['whole', 'sample'] as const) {
      const request: OperationRequest = {
        kind: 'verify',
        guest: refOf(plan),
        against: { type: 'guest', guest: source },
        depth,
      };
      const { outcome } = await make(rig, request, depth);
      const verified = outcome.result.verified;
      expect(verified).toMatchObject({ depth, equal: true, against: { type: 'guest', label: source.name } });
      expect(verified?.disks.map((disk) => disk.target)).toEqual(Object.keys(content));
      for (const disk of verified?.disks ?? []) {
        expect(disk).toMatchObject({ equal: true, differingBlocks: 0, differingBytes: 0 });
        if (depth === 'whole') expect(disk.digest).toBe(content[disk.target]);
        else expect(disk.sampled?.blocks).toBeGreaterThan(0);
      }
      expect(await snapshot(rig)).toEqual(before);
    }
    expect(await rig.content('same')).toEqual(content);
    await destroyClone(rig, plan);
  });

  it('a linked clone is identical to its base and has not drifted; running, it is not compared', async () => {
    const { rig, source } = stage();
    const base = baseOf(
      (await make(rig, { kind: 'capture', guest: source, label: 'a base' }, 'capture')).outcome.result,
    );
    const { plan } = await make(rig, linkedOf(base, 'child'), 'child');
    const guest = refOf(plan);
    const verify: OperationRequest = {
      kind: 'verify',
      guest,
      against: { type: 'base', label: 'a base', base },
      depth: 'whole',
    };
    const { outcome } = await make(rig, verify, 'whole');
    expect(outcome.result.verified).toMatchObject({
      equal: true,
      against: { type: 'base', label: 'a base' },
    });
    const drift = await rig.driver().drift(guest, base, never);
    expect(drift.running).toBe(false);
    expect(drift.disks.map(({ target, changedBytes }) => [target, changedBytes])).toEqual(
      base.disks.map((disk) => [disk.target, 0]),
    );

    await make(rig, { kind: 'start', guest, waitForAgent: false, agentTimeoutSeconds: 30 }, 'start');
    const refused = await failure(make(rig, verify, 'running'));
    expect(refused.code).toBe('unavailable-mode');
    expect(refused.publicMessage).toContain('child runs');
    expect(refused.remedy).toBeTruthy();
    expect((await rig.driver().drift(guest, base, never)).running).toBe(true);
    await make(rig, { kind: 'stop', guest, force: true, timeoutSeconds: 30 }, 'stop');

    await destroyClone(rig, plan);
    expect((await failure(rig.driver().drift(guest, base, never))).code).toBe('not-found');
    await make(rig, { kind: 'remove-base', label: 'a base', base }, 'remove');
  });

  it('a guest that stands on no base has no drift', async () => {
    const { rig, source } = stage();
    const base = baseOf(
      (await make(rig, { kind: 'capture', guest: source, label: 'a base' }, 'capture')).outcome.result,
    );
    const refused = await failure(rig.driver().drift(source, base, never));
    expect(refused.code).toBe('source-changed');
    expect(refused.remedy).toBeTruthy();
    await make(rig, { kind: 'remove-base', label: 'a base', base }, 'remove');
  });
}
