/** Resets on this machine's real libvirt: running guests, cuts, silent agents, and what is refused. */
import { copyFile, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CapturedBase, GuestRef, Plan } from '../../src/driver.ts';
import { linkedOf } from '../conformance/cases/base.ts';
import { MemoryJournal } from '../conformance/journal.ts';
import { failure, until } from '../conformance/until.ts';
import {
  destroyClone,
  finish,
  perform,
  performUntil,
  planOf,
  resetOf,
  workerStopped,
} from '../conformance/workbench.ts';
import {
  attempt,
  captured,
  command,
  contentOf,
  defineGuest,
  inGuest,
  makeLab,
  pings,
  namer,
  sampleGuest,
  startGuest,
  virsh,
  type Lab,
} from './libvirt.lab.ts';

const named = namer('t-reset-');
let lab: Lab;
let base: CapturedBase;
/** The linked clone that the cases share, and the plan that made it. */
let clone: Plan;
let guest: GuestRef;
let disk: string;

beforeAll(async () => {
  lab = await makeLab();
  base = await captured(lab, await sampleGuest(lab, named('source')));
  clone = await linked(base, named('clone'));
  guest = { uuid: clone.guest?.uuid ?? '', name: named('clone') };
  disk = `${lab.store}/disks/${guest.name}-${guest.uuid.slice(0, 8)}/vda.qcow2`;
  await startGuest(guest.name);
});
afterAll(() => lab.destroy());

async function linked(on: CapturedBase, name: string): Promise<Plan> {
  const plan = await planOf(lab.driver(), linkedOf(on, name), name);
  await finish(lab.driver(), plan);
  return plan;
}

const request = () => resetOf(clone, base);
const inode = async (): Promise<number> => (await stat(disk)).ino;
const definition = (): Promise<string> => virsh('dumpxml', '--inactive', guest.name);
const refusal = () => failure(planOf(lab.driver(), request(), 'refused'));

it('a running clone is switched off, reset and started again, the same guest', async () => {
  await inGuest(guest.name, '/bin/sh', '-c', 'mount -o remount,rw / && echo mine > /root/mine && sync');
  const before = await definition();
  const plan = await planOf(lab.driver(), { ...request(), waitForAgent: true }, 'running');
  expect(plan.notes.map((note) => note.text).join(' ')).toMatch(
    /wrote since it was cloned \(.+\) is lost\..*switched off first/,
  );
  const began = performance.now();
  const { result } = await finish(lab.driver(), plan);
  const whole = performance.now() - began;
  console.info(
    `reset: ${Math.round(whole - (result.agentMs ?? 0))} ms, and ${result.agentMs} ms until the agent answered`,
  );
  expect(await inGuest(guest.name, '/bin/sh', '-c', 'ls /root/mine 2>&1 || true')).toMatch(/No such file/);
  expect(await definition()).toBe(before);
  expect(await attempt('ls', `${lab.store}/disks/${guest.name}-${guest.uuid.slice(0, 8)}`)).toBe(
    'first-settings.iso\nvda.qcow2',
  );
});

it('cut after any step and undone: it runs on the disk that it had', async () => {
  const before = await inode();
  const plan = await planOf(lab.driver(), request(), 'cut');
  expect(plan.steps.map((step) => step.kind)).toEqual([
    'stop',
    'create-overlays',
    'carry-inside',
    'swap-files',
    'start',
    'discard-kept',
  ]);
  for (let step = 0; step < plan.steps.length - 1; step++) {
    const journal = new MemoryJournal();
    await performUntil(lab.driver(), plan, { step, moment: 'after' }, workerStopped(), journal);
    const outcome = await perform(lab.driver(), plan, journal, undefined, {
      nextStep: step,
      undoing: { cancelled: true },
    });
    expect(outcome).toMatchObject({ state: 'cancelled', undo: { leftBehind: [] } });
    expect({ inode: await inode(), state: await virsh('domstate', guest.name) }).toEqual({
      inode: before,
      state: 'running',
    });
  }
});

it('an agent that does not answer in time: everything is as before', async () => {
  const before = await inode();
  const plan = await planOf(
    lab.driver(),
    { ...request(), waitForAgent: true, agentTimeoutSeconds: 1 },
    'silent',
  );
  const outcome = await perform(lab.driver(), plan);
  expect(outcome).toMatchObject({
    state: 'failed',
    error: { code: 'agent-silent' },
    undo: { leftBehind: [] },
  });
  expect(await inode()).toBe(before);
  await until(() => pings(guest.name), 'the agent of the guest that was put back', 90_000);
});

describe('refused, in words, and nothing changed', () => {
  beforeAll(async () => void (await virsh('destroy', guest.name)));

  it('snapshots, libvirt’s and those inside the file alone, are named', async () => {
    await virsh('snapshot-create-as', guest.name, 'by-hand');
    await command('qemu-img', 'snapshot', '-c', 'inside', disk);
    const error = await refusal();
    expect(error).toMatchObject({ code: 'in-use', remedy: expect.any(String) });
    expect(error.publicMessage).toMatch(/“by-hand”, “inside”/);
    await command('qemu-img', 'snapshot', '-d', 'inside', disk);
    await virsh('snapshot-delete', guest.name, 'by-hand');
  });

  it('another disk stands on its disk', async () => {
    const child = `${lab.store}/disks/child.qcow2`;
    await command('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', disk, '-F', 'qcow2', child);
    const other = await defineGuest(lab, {
      name: named('child'),
      disks: [{ target: 'vda', path: child, format: 'qcow2' }],
    });
    expect(await refusal()).toMatchObject({
      code: 'in-use',
      publicMessage: expect.stringContaining(other.name),
    });
    await virsh('undefine', other.name);
    await command('rm', child);
  });

  it('its base is gone', async () => {
    const path = base.disks[0]?.path ?? '';
    await rename(path, `${path}.away`);
    expect(await refusal()).toMatchObject({ code: 'source-missing', remedy: expect.any(String) });
    await rename(`${path}.away`, path);
  });

  it('another hand gave it another disk, before and after the plan was made', async () => {
    const planned = await planOf(lab.driver(), request(), 'exchanged');
    await copyFile(disk, `${disk}.copy`);
    await rename(`${disk}.copy`, disk);
    const exchanged = await inode();
    expect(await perform(lab.driver(), planned)).toMatchObject({
      state: 'failed',
      error: { code: 'source-changed' },
      undo: { leftBehind: [] },
    });
    expect(await inode()).toBe(exchanged);
    const before = await definition();
    const xml = join(lab.root, 'changed.xml');
    await writeFile(xml, before.replace(disk, join(lab.root, 'source.qcow2')));
    await virsh('define', xml);
    expect(await refusal()).toMatchObject({
      code: 'source-changed',
      remedy: expect.stringContaining('virsh'),
    });
    await writeFile(xml, before);
    await virsh('define', xml);
  });
});

it('UEFI: the firmware settings are the base’s again', async () => {
  const path = join(lab.root, 'uefi.qcow2');
  await command('qemu-img', 'create', '-q', '-f', 'qcow2', path, '8M');
  const vars = join(lab.root, 'uefi_VARS.fd');
  await copyFile('/usr/share/OVMF/OVMF_VARS_4M.fd', vars);
  const source = await defineGuest(lab, {
    name: named('uefi'),
    disks: [{ target: 'vda', path, format: 'qcow2' }],
    os: `<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader><nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>${vars}</nvram>`,
  });
  const on = await captured(lab, { uuid: source.uuid, name: source.name });
  const plan = await linked(on, named('uefi-clone'));
  const nvram = plan.creates.find(({ name }) => name.endsWith('_VARS.fd'))?.name ?? '';
  const [fresh, content] = [await readFile(nvram), await contentOf(lab, path)];
  const changed = Buffer.from(fresh);
  changed.fill(0x5a, 0, 4096);
  await writeFile(nvram, changed);
  const own = plan.creates.find(({ name }) => name.endsWith('vda.qcow2'))?.name ?? '';
  await command('qemu-io', '-c', 'write -q -P 1 0 1M', own);
  await finish(lab.driver(), await planOf(lab.driver(), resetOf(plan, on), 'uefi'));
  expect((await readFile(nvram)).equals(fresh)).toBe(true);
  expect(await contentOf(lab, own)).toBe(content);
  await destroyClone({ driver: () => lab.driver() }, plan);
});
