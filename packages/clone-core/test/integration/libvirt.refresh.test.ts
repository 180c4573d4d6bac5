/** Differential clones on this machine's real libvirt: what moves, what stays, and what a cut leaves. */
import { copyFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { refreshOptionsSchema, type Generations, type RefreshOptions } from '../../src/contract.ts';
import type { GuestRef, OperationRequest, Plan } from '../../src/driver.ts';
import { MemoryJournal } from '../conformance/journal.ts';
import { failure } from '../conformance/until.ts';
import {
  cloneOf,
  finish,
  moments,
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
  pings,
  sampleImage,
  startGuest,
  virsh,
  type Lab,
} from './libvirt.lab.ts';

const MIB = 1024 ** 2;
const CLUSTER = 65536;
let lab: Lab;
let sample: string;
const image = (name: string): string => join(lab.root, name);
const run = process.pid.toString(36);
const named = (name: string): string => `r${run}-${name}`;

beforeAll(async () => {
  sample = await sampleImage();
  lab = await makeLab();
});
afterAll(async () => lab.destroy());

/** A clone and what the database would know of it. */
interface Clone {
  guest: GuestRef;
  source: GuestRef;
  owned: string[];
  generations?: Generations;
}

function record(clone: Clone, plan: Plan, movedBytes: number | undefined): Clone {
  const gone = new Set(plan.removes ?? []);
  const generations = plan.generations && {
    ...plan.generations,
    list: plan.generations.list.map((each) =>
      each.at === '' && each.number === plan.generations?.current
        ? { ...each, at: new Date().toISOString(), ...(movedBytes === undefined ? {} : { movedBytes }) }
        : each,
    ),
  };
  return {
    ...clone,
    owned: [...new Set([...clone.owned, ...ownedBy(plan)])].filter((path) => !gone.has(path)),
    ...(generations ? { generations } : {}),
  };
}

async function cloned(source: GuestRef, name: string, refreshable = true): Promise<Clone> {
  const driver = lab.driver();
  const plan = await planOf(driver, cloneOf(source, named(name), { refreshable }), name);
  const { result } = await finish(driver, plan);
  const guest = { uuid: plan.guest?.uuid ?? '', name: named(name) };
  return record({ guest, source, owned: [] }, plan, result.movedBytes);
}

const refreshOf = (clone: Clone, options: Partial<RefreshOptions> = {}): OperationRequest => ({
  kind: 'refresh',
  guest: clone.guest,
  source: clone.source,
  owned: clone.owned,
  ...(clone.generations ? { generations: clone.generations } : {}),
  options: { ...refreshOptionsSchema.parse({}), ...options },
});

let count = 0;
async function refreshed(clone: Clone, options: Partial<RefreshOptions> = {}) {
  const driver = lab.driver();
  const plan = await planOf(driver, refreshOf(clone, options), `refresh ${count++}`);
  const { result } = await finish(driver, plan);
  return { plan, result, clone: record(clone, plan, result.movedBytes) };
}

async function restored(clone: Clone, to: number): Promise<Clone> {
  if (!clone.generations) throw new Error('no generations');
  const driver = lab.driver();
  const { guest, generations } = clone;
  const plan = await planOf(driver, { kind: 'restore', guest, generations, to }, `restore ${count++}`);
  await finish(driver, plan);
  return record(clone, plan, undefined);
}

async function deleted({ guest, owned, source, generations }: Clone): Promise<void> {
  const driver = lab.driver();
  const request: OperationRequest = {
    kind: 'delete',
    guest,
    owned,
    source,
    ...(generations ? { generations } : {}),
  };
  await finish(driver, await planOf(driver, request, `delete ${count++}`));
}

const diskOf = async (guest: GuestRef, target: string): Promise<string> => {
  const lines = (await virsh('domblklist', guest.uuid)).split('\n').map((line) => line.trim().split(/\s+/));
  return lines.find(([name]) => name === target)?.[1] ?? '';
};
const same = async (source: GuestRef, clone: Clone, target = 'vdb'): Promise<void> => {
  await command('qemu-img', 'compare', '-U', await diskOf(source, target), await diskOf(clone.guest, target));
};
const contentNow = async (clone: Clone, target = 'vdb'): Promise<string> =>
  contentOf(lab, await diskOf(clone.guest, target));
const checkpoints = async (guest: GuestRef): Promise<string[]> =>
  (await virsh('checkpoint-list', '--name', guest.uuid)).split('\n').filter((name) => name !== '');

/** A guest with a system disk and 64 MiB of data, half of it in use. */
async function makeSource(name: string, systemDisk = true): Promise<GuestRef> {
  const data = image(`${name}-vdb.qcow2`);
  await command('qemu-img', 'create', '-q', '-f', 'qcow2', data, '64M');
  await command('qemu-io', '-f', 'qcow2', '-c', 'write -q -P 0x5a 0 32M', data);
  const disks = [{ target: 'vdb', path: data, format: 'qcow2' }];
  if (systemDisk) {
    await copyFile(sample, image(`${name}-vda.qcow2`));
    disks.unshift({ target: 'vda', path: image(`${name}-vda.qcow2`), format: 'qcow2' });
  }
  const { uuid } = await defineGuest(lab, { name: named(name), disks });
  return { uuid, name: named(name) };
}

/** The flush at the end also makes QEMU write the image's tables, which others can then read. */
const write = (source: GuestRef, ...commands: string[]): Promise<string> =>
  inGuest(
    source.name,
    '/bin/sh',
    '-c',
    `${commands.join('; ')}; dd if=/dev/null of=/dev/vdb conv=notrunc,fsync 2>/dev/null`,
  );
const random = (cluster: number, clusters = 1): string =>
  `dd if=/dev/urandom of=/dev/vdb bs=65536 seek=${cluster} count=${clusters} conv=notrunc 2>/dev/null`;
const offline = async (source: GuestRef, ...commands: string[]): Promise<void> => {
  const words = commands.flatMap((each) => ['-c', each]);
  await command('qemu-io', '-f', 'qcow2', ...words, await diskOf(source, 'vdb'));
};

describe('of a running source', () => {
  let source: GuestRef;
  beforeAll(async () => {
    source = await makeSource('live');
    await startGuest(source.name);
  });

  it('only changed blocks move, zeroes and discards too; the clone stays itself and can be put back', async () => {
    let clone = await cloned(source, 'only');
    await same(source, clone);
    const [before, definition] = [
      await contentNow(clone),
      await virsh('dumpxml', '--inactive', clone.guest.uuid),
    ];
    await write(
      source,
      random(0),
      random(3),
      random(40, 2),
      'dd if=/dev/zero of=/dev/vdb bs=65536 seek=100 count=1 conv=notrunc 2>/dev/null',
      'blkdiscard -o 16777216 -l 1048576 /dev/vdb',
    );
    const first = await refreshed(clone);
    expect(first.plan.strategy).toBe('changed blocks');
    expect(first.plan.estimates.moveBytes).toBeGreaterThan(3 * CLUSTER);
    expect(first.result.movedBytes).toBeLessThan(3 * MIB);
    expect(first.result).toMatchObject({ consistency: 'filesystem', pointAt: expect.any(String) });
    await same(source, first.clone);
    const now = await virsh('dumpxml', '--inactive', clone.guest.uuid);
    expect(now.replaceAll('.g2.own.', '.g1.own.')).toBe(definition);

    clone = await restored(first.clone, 1);
    expect(await contentNow(clone)).toBe(before);
    const again = await refreshed(clone); // from the older state, with that state's own record
    expect(again.plan.strategy).toBe('changed blocks');
    await same(source, again.clone);
    await deleted(again.clone);
    expect(await checkpoints(source)).toEqual([]);
  });

  it('many in a row: always equal, and nothing grows', async () => {
    let clone = await cloned(source, 'many');
    const seen: unknown[] = [];
    for (let round = 0; round < 5; round++) {
      await write(source, random(round * 7), random(200 + round, 3));
      const next = await refreshed(clone);
      expect(next.plan.strategy).toBe('changed blocks');
      expect(next.result.movedBytes).toBeLessThan(2 * MIB);
      clone = next.clone;
      await same(source, clone);
      const folder = join(await diskOf(clone.guest, 'vdb'), '..');
      seen.push({
        files: (await readdir(folder)).length,
        records: (await checkpoints(source)).length,
        generations: clone.generations?.list.length,
        owned: clone.owned.length,
      });
    }
    expect(new Set(seen.map((each) => JSON.stringify(each))).size).toBe(1);
    const files = (await filesBelow(join(await diskOf(clone.guest, 'vdb'), '..'))).toSorted();
    expect(clone.owned.filter((path) => !path.includes('/nvram/')).toSorted()).toEqual(files);
    // The state before the last one is whole as well.
    const previous = await restored(clone, (clone.generations?.current ?? 0) - 1);
    await command('qemu-img', 'check', '-q', await diskOf(previous.guest, 'vdb'));
    await deleted(previous);
  });

  it('what the clone wrote itself is not lost unasked, and can be kept', async () => {
    const clone = await cloned(source, 'own');
    await offline(clone.guest, 'write -q -P 0x77 8M 128k');
    const mine = await contentNow(clone);
    const refused = await failure(planOf(lab.driver(), refreshOf(clone)));
    expect(refused).toMatchObject({ code: 'would-lose', field: 'options.ownChanges' });
    expect(refused.publicMessage).toContain('128 KiB');
    await write(source, random(9));
    let kept = (await refreshed(clone, { ownChanges: 'keep' })).clone;
    await same(source, kept);
    for (let round = 0; round < 2; round++) {
      await write(source, random(12 + round));
      kept = (await refreshed(kept)).clone;
      await same(source, kept);
    }
    expect(kept.generations?.list.map((each) => each.number)).toEqual([1, 3, 4]);
    const back = await restored(kept, 1);
    expect(await contentNow(back)).toBe(mine);
    await deleted(back);
    expect(await checkpoints(source)).toEqual([]);
  });

  it('without a valid record both sides are read, the same moves, and the plan says why', async () => {
    let clone = await cloned(source, 'lost');
    const [name] = await checkpoints(source);
    await virsh('checkpoint-delete', source.uuid, name ?? '');
    await write(source, random(50), random(60));
    const lost = await refreshed(clone);
    expect(lost.plan.strategy).toBe('comparison');
    expect(lost.plan.notes.map((note) => note.text).join(' ')).toContain('its change record is gone');
    expect(lost.result.movedBytes).toBeLessThan(MIB);
    await same(source, lost.clone);
    clone = lost.clone;

    // A crash of the source: its records are not closed properly.
    const pid = (await command('pgrep', '-f', `guest=${source.name},`)).split('\n')[0] ?? '';
    await command('kill', '-9', pid);
    await command('tail', `--pid=${pid}`, '-f', '/dev/null');
    await startGuest(source.name);
    await write(source, random(70));
    const crashed = await refreshed(clone);
    expect(crashed.plan.strategy).toBe('comparison');
    expect(crashed.plan.notes.map((note) => note.text).join(' ')).toMatch(
      /change record (is damaged|does not cover)/,
    );
    await same(source, crashed.clone);
    await write(source, random(80));
    const after = await refreshed(crashed.clone);
    expect(after.plan.strategy).toBe('changed blocks');
    await same(source, after.clone);
    await deleted(after.clone);
    expect(await checkpoints(source)).toEqual([]);
  });

  it('a clone that runs, or whose disk is another, is refused and stays', async () => {
    const clone = await cloned(source, 'refused');
    await startGuest(clone.guest.name);
    expect(await failure(planOf(lab.driver(), refreshOf(clone)))).toMatchObject({
      code: 'busy',
      retryable: true,
    });
    await virsh('destroy', clone.guest.uuid);
    const plan = await planOf(lab.driver(), refreshOf(clone, { ownChanges: 'discard' }), 'late');
    await startGuest(clone.guest.name);
    const outcome = await perform(lab.driver(), plan);
    expect(outcome).toMatchObject({ state: 'failed', error: { code: 'busy' }, undo: { leftBehind: [] } });
    expect(await pings(clone.guest.name)).toBe(true);
    await virsh('destroy', clone.guest.uuid);
    await deleted(clone);
  });

  it.each(moments)(
    'cut %s any step: the old state stays whole; resumed or undone, nothing is over',
    async (moment) => {
      const clone = await cloned(source, `cut-${moment}`);
      await write(source, random(5), random(90));
      const before = {
        files: await filesBelow(lab.store),
        content: await contentNow(clone),
        definition: await virsh('dumpxml', '--inactive', clone.guest.uuid),
        records: await checkpoints(source),
      };
      const look = async (): Promise<typeof before> => ({
        files: await filesBelow(lab.store),
        content: await contentNow(clone),
        definition: await virsh('dumpxml', '--inactive', clone.guest.uuid),
        records: await checkpoints(source),
      });
      const plan = await planOf(lab.driver(), refreshOf(clone), `cut ${moment}`);
      for (let step = 0; step < plan.steps.length; step++) {
        const journal = new MemoryJournal();
        await performUntil(lab.driver(), plan, { step, moment }, workerStopped(), journal);
        const undoing = { nextStep: step, undoing: { cancelled: true } };
        expect(await perform(lab.driver(), plan, journal, undefined, undoing)).toMatchObject({
          undo: { leftBehind: [] },
        });
        expect(await look(), `undone after ${plan.steps[step]?.kind ?? ''}`).toEqual(before);
      }
      for (let step = 0; step < plan.steps.length; step++) {
        const journal = new MemoryJournal();
        await performUntil(lab.driver(), plan, { step, moment }, workerStopped(), journal);
        const resumed = await perform(lab.driver(), plan, journal, undefined, journal.startingPoint());
        expect(resumed).toMatchObject({ state: 'finished' });
        await same(source, clone);
        await undoAll(lab.driver(), plan);
        expect(await look(), `finished after ${plan.steps[step]?.kind ?? ''}`).toEqual(before);
      }
      await deleted(clone);
    },
  );
});

describe('of a stopped source', () => {
  it('compares, then notes the point, so that the next one need not', async () => {
    const source = await makeSource('still');
    const clone = await cloned(source, 'of-still');
    await offline(source, 'write -q -P 0x11 1M 64k', 'write -q -z 20M 64k');
    const first = await refreshed(clone);
    expect(first.plan.strategy).toBe('comparison');
    expect(first.result).toMatchObject({ consistency: 'exact' });
    expect(first.result.movedBytes).toBeLessThan(MIB);
    await same(source, first.clone);
    await startGuest(source.name);
    await write(source, random(77));
    const next = await refreshed(first.clone);
    expect(next.plan.strategy).toBe('changed blocks');
    await same(source, next.clone);
    await virsh('destroy', source.uuid);
    await deleted(next.clone); // removes the records of a source that is stopped
    expect(await checkpoints(source)).toEqual([]);
    expect(await command('qemu-img', 'info', await diskOf(source, 'vdb'))).not.toMatch(/name: offshoot-/);
  });

  it('a clone that was not made for it: its own writes are said not to be known, and its file is kept', async () => {
    const source = await makeSource('plain', false);
    const clone = await cloned(source, 'of-plain', false);
    expect(clone.generations).toBeUndefined();
    await offline(clone.guest, 'write -q -P 0x22 4M 64k');
    const mine = await contentNow(clone);
    expect(await failure(planOf(lab.driver(), refreshOf(clone)))).toMatchObject({ code: 'would-lose' });
    await offline(source, 'write -q -P 0x33 12M 64k');
    const { clone: next } = await refreshed(clone, { ownChanges: 'discard' });
    await same(source, next);
    const back = await restored(next, 0);
    expect(await contentNow(back)).toBe(mine);
    await deleted(back);
  });

  it('a disk that grew is followed; one that shrank, or is new, is refused', async () => {
    const source = await makeSource('sized', false);
    const clone = await cloned(source, 'of-sized');
    const disk = await diskOf(source, 'vdb');
    await command('qemu-img', 'resize', '-q', '-f', 'qcow2', disk, '80M');
    await offline(source, 'write -q -P 0x44 70M 64k');
    const { clone: grown } = await refreshed(clone);
    await same(source, grown);
    await command('qemu-img', 'bitmap', '--remove', disk, (await checkpoints(source))[0] ?? '');
    await command('qemu-img', 'resize', '-q', '--shrink', '-f', 'qcow2', disk, '40M');
    expect(await failure(planOf(lab.driver(), refreshOf(grown)))).toMatchObject({ code: 'source-changed' });
    const extra = image('sized-vdc.qcow2');
    await command('qemu-img', 'create', '-q', '-f', 'qcow2', extra, '4M');
    await virsh('attach-disk', source.uuid, extra, 'vdc', '--config', '--subdriver', 'qcow2');
    const refused = await failure(planOf(lab.driver(), refreshOf(grown)));
    expect(refused.publicMessage).toContain('vdc');
    await deleted(grown);
    expect((await stat(disk)).isFile()).toBe(true);
    expect(await attempt('virsh', 'checkpoint-list', source.uuid)).toBeDefined();
  });
});
