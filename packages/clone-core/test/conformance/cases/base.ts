/** Cases: capture, import, linked clones, and bases that can't go while something stands on them. */
import { expect, it } from 'vitest';
import type { CloneMode } from '../../../src/contract.ts';
import type { CapturedBase, OperationRequest } from '../../../src/driver.ts';
import type { Stage } from '../suite.ts';
import { failure } from '../until.ts';
import { cloneOf, destroyClone, make, options, perform, planOf, snapshot } from '../workbench.ts';

export const linkedOf = (
  base: CapturedBase,
  name: string,
  mode: CloneMode = 'linked',
): OperationRequest & { kind: 'clone' } => ({
  kind: 'clone',
  source: { type: 'base', label: 'a base', base },
  mode,
  name,
  options: options(),
  index: 0,
});

/** The base a finished operation made; through JSON, as the database keeps it. */
export function baseOf(result: { base?: CapturedBase }): CapturedBase {
  if (!result.base) throw new Error('the operation made no base');
  const base: CapturedBase = JSON.parse(JSON.stringify(result.base));
  return base;
}

export function baseCases(stage: () => Stage): void {
  const contents = async (base: CapturedBase): Promise<Record<string, string>> => {
    const pairs = await Promise.all(
      base.disks.map(async (disk) => [disk.target, await stage().rig.fileContent(disk.path)] as const),
    );
    return Object.fromEntries(pairs);
  };
  const remove = (base: CapturedBase): OperationRequest => ({ kind: 'remove-base', label: 'a base', base });

  it('a captured base holds the guest’s content and goes away without a trace', async () => {
    const { rig, source } = stage();
    const before = await snapshot(rig);
    const { outcome } = await make(rig, { kind: 'capture', guest: source, label: 'a base' }, 'capture');
    const base = baseOf(outcome.result);
    expect(base.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(await contents(base)).toEqual(await rig.content(source.name));
    expect((await rig.look()).guests).toEqual(before.guests);
    await make(rig, remove(base), 'remove');
    expect(await snapshot(rig)).toEqual(before);
  });

  it('a linked clone stands on its base, which can’t be removed while it does', async () => {
    const { rig, source } = stage();
    const before = await snapshot(rig);
    const base = baseOf(
      (await make(rig, { kind: 'capture', guest: source, label: 'a base' }, 'capture')).outcome.result,
    );
    const withBase = await snapshot(rig);
    const { plan } = await make(rig, linkedOf(base, 'linked-1'), 'linked-1');
    expect(plan.baseDigest).toBe(base.digest);
    expect(plan.estimates.moveBytes).toBe(0);
    expect(plan.estimates.storeBytes).toBeLessThan(
      base.disks.reduce((sum, disk) => sum + disk.allocatedBytes, 0) + 1024 ** 2 * base.disks.length,
    );
    expect(await rig.content('linked-1')).toEqual(await rig.content(source.name));
    expect((await rig.definition('linked-1'))?.rest).toBe((await rig.definition(source.name))?.rest);

    const withClone = await snapshot(rig);
    const refused = await failure(make(rig, remove(base), 'too early'));
    expect(refused.code).toBe('in-use');
    expect(refused.publicMessage).toContain('linked-1');
    expect(refused.remedy).toBeTruthy();
    expect(await snapshot(rig)).toEqual(withClone);

    await destroyClone(rig, plan);
    expect(await snapshot(rig)).toEqual(withBase);
    expect(await contents(base)).toEqual(await rig.content(source.name));
    await make(rig, remove(base), 'remove');
    expect(await snapshot(rig)).toEqual(before);
  });

  it('a base that got a child after its removal was planned stays', async () => {
    const { rig, source } = stage();
    const base = baseOf(
      (await make(rig, { kind: 'capture', guest: source, label: 'a base' }, 'capture')).outcome.result,
    );
    const driver = rig.driver();
    const removal = await planOf(driver, remove(base));
    const { plan } = await make(rig, linkedOf(base, 'late'), 'late');
    const before = await snapshot(rig);
    const outcome = await perform(driver, removal);
    expect(outcome).toMatchObject({ state: 'failed', error: { code: 'in-use' } });
    expect(await snapshot(rig)).toEqual(before);
    await destroyClone(rig, plan);
    await make(rig, remove(base), 'remove');
  });

  it('a running guest is captured at one point in time', async ({ skip }) => {
    const { rig } = stage();
    const can = rig.driver().info.capabilities.linked.running;
    if (can !== true) skip(can.why);
    const guest = await rig.makeSource({ name: 'runs-too', running: true });
    const before = await snapshot(rig);
    const { outcome } = await make(rig, { kind: 'capture', guest, label: 'a base' }, 'capture running');
    expect(['filesystem', 'crash']).toContain(outcome.result.consistency);
    expect(await rig.isRunning('runs-too')).toBe(true);
    await make(rig, remove(baseOf(outcome.result)), 'remove');
    expect(await snapshot(rig)).toEqual(before);
  });

  it('an imported image is read, never changed, and can be cloned in full', async () => {
    const { rig } = stage();
    const imagePath = await rig.makeImage();
    const content = await rig.fileContent(imagePath);
    const before = await snapshot(rig);
    const request: OperationRequest = {
      kind: 'import',
      imagePath,
      label: 'imported v1',
      osName: 'Linux',
      vcpus: 1,
      memoryMiB: 128,
      firmware: 'bios',
    };
    const base = baseOf((await make(rig, request, 'import')).outcome.result);
    expect(Object.values(await contents(base))).toEqual([content]);
    const { plan } = await make(rig, linkedOf(base, 'of-import', 'full'), 'of-import');
    expect(Object.values(await rig.content('of-import'))).toEqual([content]);
    await make(rig, remove(base), 'remove'); // a full clone stands on nothing
    expect(Object.values(await rig.content('of-import'))).toEqual([content]);
    await destroyClone(rig, plan);
    expect(await rig.fileContent(imagePath)).toBe(content);
    expect(await snapshot(rig)).toEqual(before);
  });

  it('the source of a base may be cloned in full meanwhile', async () => {
    const { rig, source } = stage();
    const base = baseOf(
      (await make(rig, { kind: 'capture', guest: source, label: 'a base' }, 'capture')).outcome.result,
    );
    const { plan } = await make(rig, cloneOf(source, 'beside'), 'beside');
    expect(await rig.content('beside')).toEqual(await contents(base));
    await destroyClone(rig, plan);
    await make(rig, remove(base), 'remove');
  });
}
