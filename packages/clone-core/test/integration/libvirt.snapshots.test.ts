/** Snapshots on this machine's real libvirt: with memory and without, cut anywhere, and what can't have any. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GuestRef, OperationRequest } from '../../src/driver.ts';
import { MemoryJournal } from '../conformance/journal.ts';
import { failure } from '../conformance/until.ts';
import { finish, perform, performUntil, planOf, workerStopped } from '../conformance/workbench.ts';
import {
  command,
  defineGuest,
  inGuest,
  makeLab,
  namer,
  sampleGuest,
  startGuest,
  virsh,
  type GuestShape,
  type Lab,
} from './libvirt.lab.ts';

const named = namer('t-snap-');
let lab: Lab;
let guest: GuestRef;

beforeAll(async () => {
  lab = await makeLab();
  guest = await sampleGuest(lab, named('guest'));
  await startGuest(guest.name);
});
afterAll(() => lab.destroy());

async function defined(name: string, shape: Omit<GuestShape, 'name'>): Promise<GuestRef> {
  const made = await defineGuest(lab, { name: named(name), ...shape });
  return { uuid: made.uuid, name: made.name };
}

type Kind = 'snapshot' | 'revert' | 'remove-snapshot';
const request = (kind: Kind, name: string, of = guest): OperationRequest => ({ kind, guest: of, name });
const plan = (kind: Kind, name: string, of = guest) =>
  planOf(lab.driver(), request(kind, name, of), `${kind} ${name}`);
const run = async (kind: Kind, name: string) => (await finish(lab.driver(), await plan(kind, name))).result;
const taken = async (): Promise<string[]> =>
  (await virsh('snapshot-list', guest.name, '--name'))
    .split('\n')
    .filter((name) => name !== '')
    .toSorted();
const shell = (script: string): Promise<string> => inGuest(guest.name, '/bin/sh', '-c', script);

it('a running guest goes on from where it was: its processes, its disk', async () => {
  await shell('mount -o remount,rw /; sleep 54321 >/dev/null 2>&1 & echo before > /root/when; sync');
  const { snapshot } = await run('snapshot', 'running');
  expect(snapshot).toMatchObject({ name: 'running', withMemory: true, ours: true });
  const seen = (await lab.driver().list(new AbortController().signal)).find(
    ({ name }) => name === guest.name,
  );
  expect(seen?.snapshots).toEqual([
    { name: 'running', takenAt: snapshot?.takenAt, withMemory: true, memoryBytes: expect.any(Number) },
  ]);
  expect(seen?.snapshots?.[0]?.memoryBytes).toBeGreaterThan(16 * 1024 ** 2);

  await shell('pkill -f 54321 || kill $(pidof sleep); echo after > /root/when; sync');
  expect(await shell('ps')).not.toContain('sleep 54321');
  await run('revert', 'running');
  expect(await shell('cat /root/when')).toContain('before');
  expect(await shell('ps')).toContain('sleep 54321');
  expect(await taken()).toEqual(['running']);
});

it('a revert that is cut and undone leaves the guest as it was, running', async () => {
  await shell('echo now > /root/when; sync');
  const going = await plan('revert', 'running');
  expect(going.steps.map((step) => step.kind)).toEqual(['take-snapshot', 'revert-snapshot', 'drop-snapshot']);
  for (const step of [0, 1]) {
    const journal = new MemoryJournal();
    await performUntil(lab.driver(), going, { step, moment: 'after' }, workerStopped(), journal);
    const undoing = { nextStep: step, undoing: { cancelled: true } };
    expect(await perform(lab.driver(), going, journal, undefined, undoing)).toMatchObject({
      state: 'cancelled',
      undo: { leftBehind: [] },
    });
    expect(await shell('cat /root/when')).toContain('now');
    expect(await taken()).toEqual(['running']);
  }
  // Cut and gone on with: done as if nothing had been.
  const journal = new MemoryJournal();
  await performUntil(lab.driver(), going, { step: 1, moment: 'after' }, workerStopped(), journal);
  expect(await perform(lab.driver(), going, journal, undefined, journal.startingPoint())).toMatchObject({
    state: 'finished',
  });
  expect(await shell('cat /root/when')).toContain('before');
  expect(await taken()).toEqual(['running']);
});

it('a snapshot that is cut and undone is gone; another hand’s of that name is left alone', async () => {
  const going = await plan('snapshot', 'cut');
  await performUntil(lab.driver(), going, { step: 0, moment: 'after' }, workerStopped(), new MemoryJournal());
  expect(await taken()).toEqual(['cut', 'running']);
  await perform(lab.driver(), going, new MemoryJournal(), undefined, {
    nextStep: 0,
    undoing: { cancelled: true },
  });
  expect(await taken()).toEqual(['running']);

  const late = await plan('snapshot', 'theirs');
  await virsh('snapshot-create-as', guest.name, 'theirs');
  expect(await perform(lab.driver(), late)).toMatchObject({
    state: 'failed',
    error: { code: 'name-taken' },
    undo: { leftBehind: [] },
  });
  expect(await taken()).toEqual(['running', 'theirs']);
  await virsh('snapshot-delete', guest.name, 'theirs');
});

it('a stopped guest’s snapshot holds no memory; reverting to it stops the guest, to the other starts it', async () => {
  await virsh('destroy', guest.name);
  expect((await run('snapshot', 'stopped')).snapshot).toMatchObject({ withMemory: false });
  await run('revert', 'running');
  expect(await virsh('domstate', guest.name)).toBe('running');
  await run('revert', 'stopped');
  expect(await virsh('domstate', guest.name)).toBe('shut off');
  await run('remove-snapshot', 'running');
  expect(await taken()).toEqual(['stopped']);
  expect(await failure(plan('revert', 'running'))).toMatchObject({ code: 'not-found' });
  expect(await failure(plan('snapshot', 'stopped'))).toMatchObject({ code: 'name-taken', field: 'name' });
  await run('remove-snapshot', 'stopped');
  expect(await command('qemu-img', 'snapshot', '-l', join(lab.root, `${named('guest')}.qcow2`))).toBe('');
});

describe('refused before anything begins, with the reason', () => {
  const qcow2 = async (name: string): Promise<string> => {
    const path = join(lab.root, `${name}.qcow2`);
    await command('qemu-img', 'create', '-q', '-f', 'qcow2', path, '8M');
    return path;
  };
  const refused = async (of: GuestRef, why: RegExp): Promise<void> => {
    const error = await failure(plan('snapshot', 'no', of));
    expect(error).toMatchObject({ code: 'unavailable-mode', remedy: expect.any(String) });
    expect(error.publicMessage).toMatch(why);
  };

  it('a raw disk', async () => {
    const raw = join(lab.root, 'data.raw');
    await command('truncate', '-s', '8M', raw);
    const disks = [
      { target: 'vda', path: await qcow2('with-raw'), format: 'qcow2' },
      { target: 'vdb', path: raw, format: 'raw' },
    ];
    await refused(await defined('raw', { disks }), /disk vdb is raw/);
  });

  it('UEFI', async () => {
    const uefi = await defined('uefi', {
      disks: [{ target: 'vda', path: await qcow2('uefi'), format: 'qcow2' }],
      os: `<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader><nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>${join(lab.root, 'VARS.fd')}</nvram>`,
    });
    await refused(uefi, /boots by UEFI/);
    await expect(virsh('snapshot-create-as', uefi.name, 'no')).rejects.toThrow(/pflash/); // libvirt's own word
  });

  it('a checkpoint', async () => {
    const of = await defined('checkpoint', {
      disks: [{ target: 'vda', path: await qcow2('checkpoint'), format: 'qcow2' }],
    });
    await virsh('start', of.name);
    await virsh('checkpoint-create-as', of.name, 'theirs');
    await refused(of, /checkpoint theirs/);
    await virsh('snapshot-create-as', of.name, 'no'); // it can be taken, and is a trap
    await expect(virsh('snapshot-revert', of.name, 'no')).rejects.toThrow(/bitmap|checkpoint/i);
  });
});
