/** Comparing clones with their sources, and drift, on this machine's real libvirt and qemu-nbd. */
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CompareStep } from '../../src/drivers/libvirt/types.ts';
import type { GuestRef, OperationRequest, StepContext } from '../../src/driver.ts';
import { failure } from '../conformance/until.ts';
import { baseOf, linkedOf } from '../conformance/cases/base.ts';
import { cloneOf, finish, perform, planOf } from '../conformance/workbench.ts';
import { command, contentOf, defineGuest, filesBelow, makeLab, virsh, type Lab } from './libvirt.lab.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const run = process.pid.toString(36);
const named = (name: string): string => `v${run}-${name}`;

let lab: Lab;
let source: GuestRef;
let sourceDisk: string;

beforeAll(async () => {
  lab = await makeLab();
  sourceDisk = join(lab.root, 'source.qcow2');
  await command('qemu-img', 'create', '-q', '-f', 'qcow2', sourceDisk, '256M');
  await command('qemu-io', '-c', 'write -q -P 0x11 0 24M', '-c', 'write -q -P 0x22 100M 8M', sourceDisk);
  source = await defineGuest(lab, {
    name: named('source'),
    disks: [{ target: 'vda', path: sourceDisk, format: 'qcow2' }],
  });
});
afterAll(async () => lab.destroy());

const against = (guest: GuestRef, depth: 'whole' | 'sample'): OperationRequest => ({
  kind: 'verify',
  guest,
  against: { type: 'guest', guest: source },
  depth,
});

async function full(name: string, part = {}): Promise<{ guest: GuestRef; disk: string; verified: unknown }> {
  const plan = await planOf(lab.driver(), cloneOf(source, named(name), part), name);
  const { result } = await finish(lab.driver(), plan);
  const disk = plan.creates.find((made) => made.name.endsWith('vda.qcow2'))?.name ?? '';
  return { guest: { uuid: plan.guest?.uuid ?? '', name: named(name) }, disk, verified: result.verified };
}

async function verify(request: OperationRequest) {
  const { result } = await finish(lab.driver(), await planOf(lab.driver(), request));
  return result.verified;
}

it('a full clone compares itself when asked to, and says the digest of what its guest sees', async () => {
  const { disk, verified } = await full('asked', { verify: true });
  expect(verified).toMatchObject({
    equal: true,
    depth: 'whole',
    disks: [{ target: 'vda', sizeBytes: 256 * MIB, digest: await contentOf(lab, disk) }],
  });
});

it('a copy that comes out wrong fails the clone, and nothing of it stays', async () => {
  const before = await filesBelow(lab.store);
  const driver = lab.driver();
  const plan = await planOf(driver, cloneOf(source, named('wrong'), { verify: true }), 'wrong');
  const disk = plan.creates.find((made) => made.name.endsWith('vda.qcow2'))?.name ?? '';
  const compare = driver.steps['compare-disks'];
  const outcome = await perform(
    {
      steps: {
        ...driver.steps,
        'compare-disks': {
          ...compare,
          async *run(_step: unknown, context: StepContext) {
            await command('qemu-io', '-c', 'write -q -P 0x99 104M 64k', disk);
            const step = plan.steps.find((each) => each.kind === 'compare-disks');
            if (step) yield* compare.run(step as CompareStep, context);
          },
        },
      },
    },
    plan,
  );
  expect(outcome.state).toBe('failed');
  expect(outcome.state === 'failed' ? outcome.error.publicMessage : '').toContain(String(104 * MIB));
  expect(await filesBelow(lab.store)).toEqual(before);
});

it('a clone that was written to differs: how much, and where first', async () => {
  const { guest, disk } = await full('written');
  const untouched = await contentOf(lab, sourceDisk);
  await command(
    'qemu-io',
    '-c',
    `write -q -P 0x33 ${101 * MIB} 64k`,
    '-c',
    `write -q -P 0x33 ${101 * MIB + 64 * KIB} 4k`,
    '-c',
    `write -q -P 0x33 ${200 * MIB + 512} 512`,
    disk,
  );
  expect(await verify(against(guest, 'whole'))).toMatchObject({
    equal: false,
    disks: [
      {
        differingBlocks: 3,
        differingBytes: 192 * KIB,
        firstDifference: 101 * MIB,
        digest: await contentOf(lab, disk),
      },
    ],
  });
  // 513 of 513 blocks with data: everything is in the sample.
  const sampled = await verify(against(guest, 'sample'));
  expect(sampled).toMatchObject({ equal: false, undetectedShare: 0, disks: [{ differingBlocks: 3 }] });
  expect(sampled?.disks[0]?.digest).toBeUndefined();
  expect(await contentOf(lab, sourceDisk)).toBe(untouched);
  expect((await filesBelow(lab.store)).filter((path) => path.includes('.compare-'))).toEqual([]);
});

it('a running source is refused in the plan, and a disk that someone writes to when it is read', async () => {
  const { guest, disk } = await full('still');
  const planned = await planOf(lab.driver(), against(guest, 'whole'));
  await virsh('start', source.name);
  try {
    const refused = await failure(planOf(lab.driver(), against(guest, 'whole')));
    expect(refused).toMatchObject({ code: 'unavailable-mode', retryable: true });
    expect(refused.publicMessage).toContain(`${source.name} runs`);
    const late = await failure(finish(lab.driver(), planned));
    expect(late.code).toBe('source-changed');
    expect(late.publicMessage).toContain('was started meanwhile');
  } finally {
    await virsh('destroy', source.name);
  }
  const again = await planOf(lab.driver(), against(guest, 'whole'));
  await command('qemu-io', '-c', 'write -q -P 0x44 1M 64k', disk);
  expect((await failure(finish(lab.driver(), again))).publicMessage).toContain('was written to meanwhile');
});

it('a linked clone: its drift is what it wrote, and a damaged base is noticed', async () => {
  const driver = lab.driver();
  const capture = await planOf(driver, { kind: 'capture', guest: source, label: 'a base' });
  const base = baseOf((await finish(driver, capture)).result);
  const plan = await planOf(driver, linkedOf(base, named('child')), 'child');
  await finish(driver, plan);
  const guest = { uuid: plan.guest?.uuid ?? '', name: named('child') };
  const overlay = plan.creates.find((made) => made.name.endsWith('vda.qcow2'))?.name ?? '';
  await command('qemu-io', '-c', 'write -q -P 0x55 128M 1M', '-c', 'discard -q 4M 64k', overlay);
  const drift = await driver.drift(guest, base, new AbortController().signal);
  expect(drift.disks[0]?.changedBytes).toBe(MIB + 64 * KIB);
  expect(drift.disks[0]?.cells.flatMap((percent, cell) => (percent > 0 ? [cell] : []))).toEqual([
    8, 256, 257,
  ]);

  const request: OperationRequest = {
    kind: 'verify',
    guest,
    against: { type: 'base', label: 'a base', base },
    depth: 'whole',
  };
  expect(await verify(request)).toMatchObject({
    equal: false,
    baseIntact: true,
    disks: [{ differingBlocks: 17, firstDifference: 4 * MIB }],
  });
  const basePath = base.disks[0]?.path ?? '';
  await chmod(basePath, 0o644);
  await command('qemu-io', '-c', 'write -q -P 0x66 2M 64k', basePath);
  expect(await verify(request)).toMatchObject({ baseIntact: false, disks: [{ differingBlocks: 17 }] });

  // Captured again, the same content takes the place of what went bad.
  const again = await planOf(driver, { kind: 'capture', guest: source, label: 'a base' }, 'again');
  expect(baseOf((await finish(driver, again)).result).digest).toBe(base.digest);
  expect(await verify(request)).toMatchObject({ baseIntact: true });
});
