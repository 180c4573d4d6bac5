/** Clones with memory on this machine's real libvirt: they go on where the source was, as guests of their own. */
import { copyFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CapturedBase, GuestRef, OperationRequest, Plan } from '../../src/driver.ts';
import { baseOf } from '../conformance/cases/base.ts';
import { MemoryJournal } from '../conformance/journal.ts';
import { failure, until } from '../conformance/until.ts';
import {
  finish,
  options,
  ownedBy,
  perform,
  performUntil,
  planOf,
  undoAll,
  workerStopped,
} from '../conformance/workbench.ts';
import {
  attempt,
  command,
  contentOf,
  defineGuest,
  filesBelow,
  inGuest,
  makeLab,
  namer,
  pings,
  sampleImage,
  startGuest,
  virsh,
  type Lab,
} from './libvirt.lab.ts';

let lab: Lab;
let source: GuestRef;
/** The source stands on this, as a linked clone does. */
let below: string;
let point: CapturedBase;
const named = namer('m');
const image = (name: string): string => join(lab.root, name);
const shell = (name: string, line: string): Promise<string> => inGuest(name, '/bin/sh', '-c', line);
const refOf = ({ uuid, name }: GuestRef): GuestRef => ({ uuid, name });

const capture = (guest: GuestRef): OperationRequest => ({
  kind: 'capture',
  guest,
  label: 'a point',
  memory: true,
});
const cloneOf = (base: CapturedBase, name: string, part = {}): OperationRequest => ({
  kind: 'clone',
  source: { type: 'base', label: 'a point', base },
  mode: 'memory',
  name: named(name),
  options: options({ start: true, ...part }),
  index: 0,
});

/** What cloning must leave as it was: definition, files in use, snapshots, that it runs. */
const sourceNow = async (): Promise<unknown> => ({
  definition: await virsh('dumpxml', '--inactive', '--security-info', source.name),
  disks: await virsh('domblklist', source.name),
  state: await virsh('domstate', source.name),
  snapshots: await virsh('snapshot-list', source.name, '--name'),
  records: await virsh('checkpoint-list', source.name, '--name'),
  jobs: await attempt('virsh', '-q', 'blockjob', source.name, 'vda', '--info'),
});

beforeAll(async () => {
  lab = await makeLab();
  below = image('below.qcow2');
  await copyFile(await sampleImage(), below);
  await command('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', below, image('vda.qcow2'));
  await command('truncate', '-s', '16M', image('vdb.raw'));
  const guest = await defineGuest(lab, {
    name: named('source'),
    nics: 2,
    disks: [
      { target: 'vda', path: image('vda.qcow2'), format: 'qcow2' },
      { target: 'vdb', path: image('vdb.raw'), format: 'raw' },
    ],
  });
  source = refOf(guest);
  await startGuest(source.name);
  // State that is nowhere but in memory.
  await shell(
    source.name,
    '(n=1000; while :; do n=$((n + 1)); echo $n > /run/count; sleep 0.2; done) >/dev/null 2>&1 & echo $! > /run/counter',
  );
  await until(async () => (await shell(source.name, 'cat /run/count')).trim() !== '', 'the counter', 20_000);
}, 120_000);
afterAll(async () => lab.destroy());

it('a memory point leaves its source as it was, on its own disks, with what it wrote meanwhile', async () => {
  const driver = lab.driver();
  await virsh(
    'checkpoint-create-as',
    source.name,
    'record',
    '--diskspec',
    'vda,checkpoint=bitmap',
    '--diskspec',
    'vdb,checkpoint=no',
  );
  const [before, bottom] = [await sourceNow(), await contentOf(lab, below)];
  const plan = await planOf(driver, capture(source));
  expect(plan.steps.map((step) => step.kind)).toEqual([
    'memory-point',
    'copy-disk',
    'copy-disk',
    'rejoin-disks',
    'seal-base',
  ]);
  const journal = new MemoryJournal();
  // Cut where the disks are held: what the guest writes now is in files beside them.
  await performUntil(driver, plan, { step: 1, moment: 'after' }, workerStopped(), journal);
  expect(await virsh('domblklist', source.name)).toContain('.beside');
  await shell(source.name, 'echo meanwhile > /root/meanwhile; sync');
  const outcome = await perform(lab.driver(), plan, journal, undefined, journal.startingPoint());
  if (outcome.state !== 'finished') throw new Error(outcome.state);
  expect(await sourceNow()).toEqual(before);
  expect(await shell(source.name, 'cat /root/meanwhile')).toBe('meanwhile\n');
  expect(await contentOf(lab, below), 'what the source stands on').toBe(bottom);
  await virsh('checkpoint-delete', source.name, 'record');
  expect(outcome.result).toMatchObject({
    consistency: 'exact',
    consistencyNote: expect.stringMatching(/memory and disks are of one instant.* \d+ ms/),
  });
  point = baseOf(outcome.result);
  expect(point.memory).toMatchObject({ memoryBytes: 128 * 1024 ** 2, bytes: expect.any(Number) });
  expect((await stat(point.memory?.path ?? '')).mode & 0o777, 'keys in memory are nobody else’s').toBe(0o400);
});

it('clones of one point go on with what ran, each a guest of its own', { timeout: 120_000 }, async () => {
  const driver = lab.driver();
  const plans: Plan[] = [];
  const inside: string[] = [];
  const counter = (await shell(source.name, 'cat /run/counter')).trim();
  for (const name of ['one', 'two']) {
    const plan = await planOf(driver, cloneOf(point, name), name);
    plans.push(plan);
    const { result } = await finish(driver, plan);
    expect(result.agentMs).toBeGreaterThan(0);
    const text = await shell(
      named(name),
      `hostname; cat /etc/hostname /etc/machine-id /sys/class/net/eth0/address /sys/class/net/eth1/address; kill -0 ${counter} && cat /run/count; ls /root/meanwhile`,
    );
    const [hostname, file, machine, ...rest] = text.trim().split('\n');
    expect([hostname, file]).toEqual([named(name), named(name)]);
    expect(rest.slice(0, 2)).toEqual(plan.guest?.macs);
    expect(Number(rest[2]), 'the counter counts on').toBeGreaterThan(1000);
    expect(rest[3], 'written after the point').toBeUndefined();
    inside.push(machine ?? '', ...(plan.guest?.macs ?? []), plan.guest?.uuid ?? '');
    // Its network is there again, and asked for an address under its own name.
    await until(
      async () => /inet 10\.0\.2\./.test(await shell(named(name), 'ip -4 addr show dev eth0')),
      'its address',
      30_000,
    );
  }
  expect(new Set(inside).size).toBe(inside.length);
  const first = await shell(named('one'), 'cat /run/count');
  await until(async () => (await shell(named('one'), 'cat /run/count')) !== first, 'it counts on', 10_000);
  // Nothing of the point's image is left with the clones, and nothing else than their own files.
  const files = (await filesBelow(join(lab.store, 'disks'))).filter((path) => /\.\w+$/.test(path));
  expect(files).toEqual(
    plans
      .flatMap(ownedBy)
      .filter((path) => !path.endsWith('.sav'))
      .toSorted(),
  );

  // After a reboot it is itself still: from its own definition and disks.
  await virsh('destroy', named('one'));
  await startGuest(named('one'));
  const again = await shell(named('one'), 'hostname; cat /etc/machine-id /sys/class/net/eth0/address');
  expect(again.trim().split('\n')).toEqual([named('one'), inside[0], inside[1]]);

  const refused = await failure(planOf(driver, { kind: 'remove-base', label: 'a point', base: point }));
  expect(refused).toMatchObject({ code: 'in-use' });
  for (const plan of plans) await removeClone(plan);
});

async function removeClone(plan: Plan): Promise<void> {
  if (!plan.guest) throw new Error('no guest');
  const guest = { uuid: plan.guest.uuid, name: plan.guest.name };
  const driver = lab.driver();
  await finish(driver, await planOf(driver, { kind: 'delete', guest, owned: ownedBy(plan) }, guest.uuid));
}

it('an agent that does not answer: the clone is kept, and its network was never up', async () => {
  const driver = lab.driver();
  const identity = { ...options().identity, deadlineSeconds: 5 };
  const plan = await planOf(driver, cloneOf(point, 'mute', { identity }), 'mute');
  const step = plan.steps.findIndex((each) => each.kind === 'attest');
  const journal = new MemoryJournal();
  await performUntil(driver, plan, { step, moment: 'before' }, workerStopped(), journal);
  const carriers = await shell(
    named('mute'),
    '(sleep 0.5; killall -STOP qemu-ga) >/dev/null 2>&1 & cat /sys/class/net/eth0/carrier /sys/class/net/eth1/carrier',
  );
  expect(carriers).toBe('0\n0\n');
  await until(async () => !(await pings(named('mute'))), 'the agent to fall silent', 20_000);
  const outcome = await perform(driver, plan, journal, undefined, journal.startingPoint());
  expect(outcome).toMatchObject({
    state: 'finished',
    result: { identity: { way: 'agent', verdict: 'silent', policy: 'strict' } },
  });
  for (const mac of plan.guest?.macs ?? [])
    expect(await virsh('domif-getlink', named('mute'), mac)).toContain('down');
  expect(await virsh('dumpxml', '--inactive', named('mute'))).toContain("<link state='down'/>");
  await removeClone(plan);
});

it('a source that stops while its disks are held gets them back, and nothing is left', async () => {
  const driver = lab.driver();
  const before = await filesBelow(lab.store);
  const definition = await virsh('dumpxml', '--inactive', '--security-info', source.name);
  const plan = await planOf(driver, capture(source), 'stopped');
  await performUntil(driver, plan, { step: 0, moment: 'after' }, workerStopped(), new MemoryJournal());
  await shell(source.name, 'echo late > /root/late; sync');
  await virsh('destroy', source.name);
  const held = (await virsh('domblklist', source.name)).match(/\S+vda\.beside/)?.[0] ?? '';
  const [content, bottom] = [await contentOf(lab, held), await contentOf(lab, below)];
  expect(await undoAll(lab.driver(), plan)).toMatchObject({ state: 'cancelled', undo: { leftBehind: [] } });
  expect(await virsh('dumpxml', '--inactive', '--security-info', source.name)).toBe(definition);
  expect(await contentOf(lab, image('vda.qcow2'))).toBe(content);
  expect(await contentOf(lab, below)).toBe(bottom);
  expect(await filesBelow(lab.store)).toEqual(before);
  await startGuest(source.name);
  expect(await shell(source.name, 'cat /root/late')).toBe('late\n');
});
