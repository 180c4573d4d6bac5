/** Detaching linked clones from their base on this machine's real libvirt: stopped and running, cut and cancelled. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CapturedBase, GuestRef, OperationRequest, Plan } from '../../src/driver.ts';
import { linkedOf } from '../conformance/cases/base.ts';
import { MemoryJournal } from '../conformance/journal.ts';
import { failure } from '../conformance/until.ts';
import {
  destroyClone,
  finish,
  ownedBy,
  perform,
  performUntil,
  planOf,
  userCancelled,
  workerStopped,
} from '../conformance/workbench.ts';
import {
  captured,
  command,
  contentOf,
  crashGuest,
  defineGuest,
  depthOf,
  makeLab,
  pings,
  namer,
  sampleGuest,
  startGuest,
  virsh,
  type Lab,
} from './libvirt.lab.ts';

const named = namer('t-promote-');
let lab: Lab;
let base: CapturedBase;

beforeAll(async () => {
  lab = await makeLab();
  base = await captured(lab, await sampleGuest(lab, named('source')));
});
afterAll(() => lab.destroy());

async function linked(
  name: string,
  on = base,
): Promise<{ plan: Plan; guest: GuestRef; disk: string; request: OperationRequest }> {
  const plan = await planOf(lab.driver(), linkedOf(on, named(name)), name);
  await finish(lab.driver(), plan);
  const guest = { uuid: plan.guest?.uuid ?? '', name: named(name) };
  const disk = ownedBy(plan).find((path) => path.endsWith('vda.qcow2')) ?? '';
  return { plan, guest, disk, request: { kind: 'promote', guest, owned: ownedBy(plan) } };
}

it('stopped: cut after any step it is undone to exactly before; done, it holds the same and stands on nothing', async () => {
  const { plan, guest, disk, request } = await linked('stopped');
  await command('qemu-io', '-c', 'write -q -P 5 1M 1M', disk);
  const inode = (await stat(disk)).ino;
  const definition = await virsh('dumpxml', '--inactive', guest.name);
  const promotion = await planOf(lab.driver(), request);
  expect(promotion.steps.map((step) => step.kind)).toEqual(['copy-disk', 'swap-files', 'discard-kept']);
  // Should the old disk be gone in part, the new one stays in use.
  expect(promotion.steps.at(-1)).toMatchObject({ standsOnEarlier: true });
  expect(promotion.estimates.moveBytes).toBeGreaterThan(10 * 1024 ** 2);
  for (const step of [0, 1]) {
    const journal = new MemoryJournal();
    await performUntil(lab.driver(), promotion, { step, moment: 'after' }, workerStopped(), journal);
    const undoing = { nextStep: step, undoing: { cancelled: true } };
    expect(await perform(lab.driver(), promotion, journal, undefined, undoing)).toMatchObject({
      undo: { leftBehind: [] },
    });
    expect({ inode: (await stat(disk)).ino, depth: await depthOf(disk) }).toEqual({ inode, depth: 2 });
  }
  // Started, used and stopped by another hand when the copy was done: that is not lost.
  const late = new MemoryJournal();
  await performUntil(lab.driver(), promotion, { step: 0, moment: 'after' }, workerStopped(), late);
  await command('qemu-io', '-c', 'write -q -P 6 3M 64k', disk);
  const kept = await contentOf(lab, disk);
  expect(await perform(lab.driver(), promotion, late, undefined, late.startingPoint())).toMatchObject({
    state: 'failed',
    error: { code: 'source-changed' },
    undo: { leftBehind: [] },
  });
  expect(await contentOf(lab, disk)).toBe(kept);
  const last = await planOf(lab.driver(), request, 'last');

  const journal = new MemoryJournal();
  await performUntil(lab.driver(), last, { step: 1, moment: 'after' }, workerStopped(), journal);
  expect(await perform(lab.driver(), last, journal, undefined, journal.startingPoint())).toMatchObject({
    state: 'finished',
  });
  expect(await depthOf(disk)).toBe(1);
  expect(await contentOf(lab, disk)).toBe(kept);
  expect(await virsh('dumpxml', '--inactive', guest.name)).toBe(definition);
  expect((await planOf(lab.driver(), request)).steps).toEqual([]); // asked again: nothing to do
  await destroyClone({ driver: () => lab.driver() }, plan);
});

it('running: cancelled it is a linked clone that works; done, it runs on and its base can go', async () => {
  const { guest, disk, request } = await linked('running');
  await startGuest(guest.name);
  const promotion = await planOf(lab.driver(), request);
  expect(promotion.steps.map((step) => step.kind)).toEqual(['pull-disks']);
  const cancelled = await performUntil(
    lab.driver(),
    promotion,
    { step: 0, moment: 'before' },
    userCancelled(),
    new MemoryJournal(),
  );
  expect(cancelled).toMatchObject({ state: 'cancelled', undo: { leftBehind: [] } });
  expect({ depth: await depthOf(disk), answers: await pings(guest.name) }).toEqual({
    depth: 2,
    answers: true,
  });

  await virsh('snapshot-create-as', guest.name, 'kept');
  expect(await failure(planOf(lab.driver(), request))).toMatchObject({
    code: 'in-use',
    publicMessage: expect.stringContaining('“kept”'),
  });
  await virsh('snapshot-delete', guest.name, 'kept');

  const journal = new MemoryJournal();
  expect(await perform(lab.driver(), promotion, journal)).toMatchObject({
    state: 'finished',
    result: { strategy: 'pull' },
  });
  expect(journal.progressOf(0).at(-1)).toMatchObject({ doneBytes: promotion.estimates.moveBytes });
  expect({ depth: await depthOf(disk), answers: await pings(guest.name) }).toEqual({
    depth: 1,
    answers: true,
  });
  expect(await virsh('dumpxml', guest.name)).not.toContain(base.disks[0]?.path);
  await finish(lab.driver(), await planOf(lab.driver(), { kind: 'remove-base', label: 'x', base }));
  expect(await pings(guest.name)).toBe(true);
});

/** A running linked clone in which nothing boots, so that nothing in it ever asks for a flush. */
async function quiet(name: string) {
  const path = join(lab.root, `${name}.qcow2`);
  await command('qemu-img', 'create', '-q', '-f', 'qcow2', path, '64M');
  await command(
    'qemu-io',
    '-f',
    'qcow2',
    '-c',
    'write -q -P 0x3c 0 24M',
    '-c',
    'write -q -P 0x5a 40M 8M',
    path,
  );
  const disks = [{ target: 'vda', path, format: 'qcow2' }];
  const { uuid, name: source } = await defineGuest(lab, { name: named(name), disks });
  const on = await captured(lab, { uuid, name: source });
  const { guest, disk, request } = await linked(`${name}-clone`, on);
  await virsh('start', guest.name);
  return {
    guest,
    disk,
    plan: await planOf(lab.driver(), request),
    crash: () => crashGuest(guest.name),
    isWhatItWas: async (): Promise<void> => {
      await command('qemu-img', 'check', '-q', disk);
      await command('qemu-img', 'compare', '-f', 'qcow2', '-F', 'qcow2', disk, path);
    },
  };
}

it('running: once it is done all of it is in the file, also when the host dies the next moment', async () => {
  const { guest, disk, plan, crash, isWhatItWas } = await quiet('flushed');
  expect((await finish(lab.driver(), plan)).result.strategy).toBe('pull');
  expect(await virsh('domstate', guest.name)).toBe('running');
  await crash();
  expect(await depthOf(disk)).toBe(1);
  await isWhatItWas();
});

it('running: the host dies before QEMU has written everything: it stands on its base again', async () => {
  const { guest, disk, plan, crash, isWhatItWas } = await quiet('unflushed');
  await virsh('blockpull', guest.name, 'vda', '--wait');
  await crash();
  expect(await depthOf(disk)).toBe(1);
  // The next worker goes on with the step, and finds the guest stopped.
  expect(await perform(lab.driver(), plan)).toMatchObject({
    state: 'failed',
    error: { code: 'source-changed', retryable: true },
    undo: { leftBehind: [] },
  });
  expect(await depthOf(disk)).toBe(2);
  await isWhatItWas();
});
