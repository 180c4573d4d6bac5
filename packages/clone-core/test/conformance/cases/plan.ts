/** Cases: inspect only reads, plan is pure, a fingerprint changes with the source and with nothing else. */
import { expect, it } from 'vitest';
import { cloneModes } from '../../../src/contract.ts';
import type { OperationRequest } from '../../../src/driver.ts';
import type { Stage } from '../suite.ts';
import { cloneOf, options, planOf, seededIds, snapshot } from '../workbench.ts';

const never = new AbortController().signal;

export function planCases(stage: () => Stage): void {
  const requests = (): OperationRequest[] => {
    const guest = stage().source;
    return [
      cloneOf(guest, 'planned'),
      { kind: 'capture', guest, label: 'planned base' },
      { kind: 'start', guest, waitForAgent: false, agentTimeoutSeconds: 30 },
      { kind: 'stop', guest, force: true, timeoutSeconds: 30 },
      { kind: 'delete', guest, owned: [] },
    ];
  };

  it('inspect and plan change nothing on the host', async () => {
    const { rig } = stage();
    const before = await snapshot(rig);
    for (const request of requests()) await planOf(rig.driver(), request);
    expect(await snapshot(rig)).toEqual(before);
  });

  it('plan is pure: the same input gives the same plan, and facts are left alone', async () => {
    const driver = stage().rig.driver();
    for (const request of requests()) {
      const facts = await driver.inspect(request, never);
      const copy = structuredClone(facts);
      const plan = driver.plan(request, facts, seededIds('pure'));
      expect(driver.plan(request, facts, seededIds('pure'))).toStrictEqual(plan);
      expect(facts).toStrictEqual(copy);
      expect(stage().rig.driver().plan(request, facts, seededIds('pure'))).toStrictEqual(plan);
    }
  });

  it('facts and plans are pure JSON', async () => {
    const driver = stage().rig.driver();
    for (const request of requests()) {
      const facts = await driver.inspect(request, never);
      expect(JSON.parse(JSON.stringify(facts))).toStrictEqual(facts);
      const plan = driver.plan(request, facts, seededIds('json'));
      expect(JSON.parse(JSON.stringify(plan))).toStrictEqual(plan);
    }
  });

  it('a plan says what it will do: summary, estimates, named steps, all that it makes', async () => {
    const { rig, source } = stage();
    const driver = rig.driver();
    const plan = await planOf(driver, cloneOf(source, 'planned'));
    expect(plan).toMatchObject({
      version: 1,
      driver: driver.info.kind,
      kind: 'clone',
      consistency: 'exact',
      guest: { name: 'planned' },
    });
    expect(plan.summary).toContain('planned');
    for (const estimate of Object.values(plan.estimates)) expect(estimate).toBeGreaterThanOrEqual(0);
    expect(plan.estimates.moveBytes).toBeGreaterThan(0);
    expect(new Set(plan.steps.map((step) => step.id)).size).toBe(plan.steps.length);
    for (const step of plan.steps) {
      expect(step.title.trim()).not.toBe('');
      expect(Object.keys(driver.steps)).toContain(step.kind);
    }
    expect(plan.creates).toContainEqual({ type: 'guest', name: 'planned' });
    expect(plan.creates.some((made) => made.type === 'file')).toBe(true);
    if (driver.info.simulated) expect(JSON.stringify(plan.notes)).toContain('simulated');
  });

  it('a fingerprint does not depend on ids, the new name or free space', async () => {
    const { rig, source } = stage();
    const first = await planOf(rig.driver(), cloneOf(source, 'one'), 'a');
    expect((await planOf(rig.driver(), cloneOf(source, 'two'), 'b')).fingerprint).toBe(first.fingerprint);
    await rig.wiggleFreeSpace();
    try {
      expect((await planOf(rig.driver(), cloneOf(source, 'one'), 'a')).fingerprint).toBe(first.fingerprint);
    } finally {
      await rig.wiggleFreeSpace();
    }
  });

  it.each(['definition', 'disk'] as const)('a fingerprint changes with the source’s %s', async (what) => {
    const { rig } = stage();
    const source = await rig.makeSource({ name: `changing-${what}`, running: false });
    const before = await planOf(rig.driver(), cloneOf(source, 'changed'));
    await rig.changeSource(source, what);
    expect((await planOf(rig.driver(), cloneOf(source, 'changed'))).fingerprint).not.toBe(before.fingerprint);
  });

  it('a linked clone of a guest can be previewed before its base is captured', async () => {
    const { rig, source } = stage();
    const request: OperationRequest = { ...cloneOf(source, 'previewed'), mode: 'linked' };
    const plan = await planOf(rig.driver(), request);
    expect(plan).toMatchObject({ guest: { name: 'previewed' }, estimates: { moveBytes: 0 } });
    expect(plan.baseDigest).toBeUndefined();
  });

  it('every mode and state of a source has an answer, and a no has its reason', () => {
    const { capabilities } = stage().rig.driver().info;
    for (const mode of cloneModes) {
      for (const state of ['stopped', 'running', 'paused', 'template'] as const) {
        const can = capabilities[mode][state];
        if (can !== true) expect(can.why).not.toBe('');
      }
    }
    expect(capabilities.full.stopped).toBe(true);
    expect(options().start).toBe(false);
  });

  it('host facts and the list of guests tell what is there', async () => {
    const { rig, source } = stage();
    const driver = rig.driver();
    const facts = await driver.hostFacts(never);
    expect(facts.cpus).toBeGreaterThan(0);
    expect(facts.store.totalBytes).toBeGreaterThan(facts.store.freeBytes);
    expect(facts.accelerator.name === 'simulated').toBe(driver.info.simulated);
    if (driver.info.simulated) expect(facts.hypervisor).toContain('simulated');
    const guests = await driver.list(never);
    expect(guests.map((guest) => guest.name).toSorted()).toEqual((await rig.look()).guests);
    const definition = await rig.definition(source.name);
    expect(guests.find((guest) => guest.name === source.name)).toMatchObject({
      uuid: source.uuid,
      state: 'stopped',
      macs: definition?.macs,
    });
  });
}
