/** Differential clones on this machine's real libvirt: what moves, what stays, and what a cut leaves. */
import { readdir, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { editInside, readInside } from '../../src/disks/inside/edit.ts';
import { lookInside } from '../../src/disks/inside/look.ts';
import type { GuestRef, Plan } from '../../src/driver.ts';
import { localShell } from '../../src/shell/local.ts';
import { MemoryJournal } from '../conformance/journal.ts';
import { failure } from '../conformance/until.ts';
import {
  finish,
  moments,
  ownedBy,
  perform,
  performUntil,
  planOf,
  undoAll,
  userCancelled,
  workerStopped,
} from '../conformance/workbench.ts';
import {
  attempt,
  command,
  crashGuest,
  defineGuest,
  depthOf,
  filesBelow,
  killingOnce,
  makeLab,
  namer,
  pings,
  startGuest,
  virsh,
  type Lab,
} from './libvirt.lab.ts';
import {
  checkpoints,
  diskOf,
  flatteningOf,
  offline,
  random,
  record,
  refreshing,
  refreshOf,
  same,
  write,
} from './libvirt.refreshing.ts';

const MIB = 1024 ** 2;
const CLUSTER = 65536;
let lab: Lab;
const { cloned, refreshed, restored, deleted, contentNow, makeSource, image } = refreshing(
  () => lab,
  namer('r'),
);

beforeAll(async () => {
  lab = await makeLab();
});
afterAll(async () => lab.destroy());

describe('of a running source', () => {
  let source: GuestRef;
  beforeAll(async () => {
    source = await makeSource('live');
    await startGuest(source.name);
  });

  it('only changed blocks move, zeroes and discards too; the clone stays itself and can be put back', async () => {
    await virsh('checkpoint-create-as', source.uuid, 'of-another-tool');
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
    expect(await checkpoints(source)).toEqual(['of-another-tool']);
    await virsh('checkpoint-delete', source.uuid, 'of-another-tool');
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
    await crashGuest(source.name);
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

describe('when nothing before it is kept', () => {
  /** A clone with one state, a changed source, and the refresh that drops that state. */
  async function dropping(name: string) {
    const source = await makeSource(name, false);
    const clone = await cloned(source, `of-${name}`);
    await offline(source, 'write -q -P 0x11 1M 64k');
    const plan = await planOf(lab.driver(), refreshOf(clone, { keepPrevious: 0 }), name);
    const step = plan.steps.length - 1;
    expect(plan.steps[step]).toMatchObject({ kind: 'settle', irreversible: true });
    return { source, clone, plan, step };
  }

  it.each(['during', 'after'] as const)(
    'a cancel %s the tidying comes too late: the state before may be gone',
    async (moment) => {
      const { source, clone, plan, step } = await dropping(`late-${moment}`);
      const outcome = await performUntil(
        lab.driver(),
        plan,
        { step, moment },
        userCancelled(),
        new MemoryJournal(),
      );
      expect(outcome).toMatchObject({ state: 'finished' });
      await same(source, clone);
      await deleted(record(clone, plan));
    },
  );

  it('what can’t be removed stays, as the clone’s; it goes with the next refresh', async () => {
    const { source, clone, plan } = await dropping('stuck');
    const bottom = clone.generations?.list[0]?.disks[0]?.layer ?? '';
    await command('chattr', '+i', bottom);
    const { result } = await finish(lab.driver(), plan);
    await command('chattr', '-i', bottom);
    expect(result.left).toHaveLength(1);
    await same(source, clone);
    let next = record(
      clone,
      { ...plan, removes: plan.removes?.filter((path) => !result.left?.includes(path)) ?? [] },
      { movedBytes: 0 },
    );
    expect(next.owned).toEqual(expect.arrayContaining(result.left ?? ['nothing']));
    await offline(source, 'write -q -P 0x12 2M 64k');
    next = (await refreshed(next, { keepPrevious: 0 })).clone;
    await same(source, next);
    expect(next.owned.filter((path) => !path.includes('/nvram/')).toSorted()).toEqual(
      await filesBelow(join(await diskOf(next.guest, 'vdb'), '..')),
    );
    await deleted(next);
  });
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
    const killing = killingOnce('checkpoint-delete');
    await deleted(next.clone, killing); // removes the records of a source that is stopped
    expect(killing.killed()).toBe(true);
    expect(await checkpoints(source)).toEqual([]);
    expect(await command('qemu-img', 'info', await diskOf(source, 'vdb'))).not.toMatch(/name: offshoot-/);
  });

  it('put back and refreshed again, the state that it had stays, not the one of the highest number', async () => {
    const source = await makeSource('twice', false);
    const first = await cloned(source, 'of-twice');
    await offline(source, 'write -q -P 0x12 2M 64k');
    const back = await restored((await refreshed(first)).clone, 1);
    await offline(back.guest, 'write -q -P 0x13 3M 64k');
    const mine = await contentNow(back);
    const next = await refreshed(back, { ownChanges: 'discard' });
    await same(source, next.clone);
    expect(next.clone.generations?.list.map((each) => each.number)).toEqual([1, 3]);
    expect(next.plan.notes.map((note) => note.text).join(' ')).toContain('stays as state 1');
    const again = await restored(next.clone, 1);
    expect(await contentNow(again)).toBe(mine);

    // An earlier state that can't be read is named, and holds nothing up.
    const odd = again.generations?.list.find(({ number }) => number === 3)?.disks[0]?.own ?? '';
    await command('truncate', '-s', '0', odd);
    const { guest, generations } = again;
    if (!generations) throw new Error('it has no states');
    const restore = { kind: 'restore', guest, generations, to: 3 } as const;
    expect(await failure(planOf(lab.driver(), restore, 'odd'))).toMatchObject({ code: 'source-unreadable' });
    const said = ({ notes }: Plan): string => notes.map((note) => note.text).join(' ');
    expect(said(await planOf(lab.driver(), flatteningOf(again), 'odd'))).toContain('It stays as it is.');
    const over = await refreshed(again, { ownChanges: 'discard' });
    expect(said(over.plan)).toMatch(/State 3 of .* can’t be put back to: .*taken off the list/);
    expect(over.clone.generations?.list.map((each) => each.number)).toEqual([1, 4]);
    await same(source, over.clone);
    await deleted(over.clone);
    expect(await attempt('stat', odd)).toBeUndefined();
  });

  it('a clone whose memory is saved, or on whose disk another stands, is left alone', async () => {
    const source = await makeSource('left', false);
    const clone = await cloned(source, 'of-left');
    await offline(source, 'write -q -P 0x14 2M 64k');
    await virsh('start', clone.guest.uuid);
    await virsh('managedsave', clone.guest.uuid);
    expect((await failure(planOf(lab.driver(), refreshOf(clone)))).publicMessage).toContain('managedsave');
    await virsh('managedsave-remove', clone.guest.uuid);

    const disk = await diskOf(clone.guest, 'vdb');
    const child = image('child.qcow2');
    const backing = join('store', relative(lab.store, disk));
    await command('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', backing, child);
    const name = `${clone.guest.name}-child`;
    const other = await defineGuest(lab, { name, disks: [{ target: 'vdb', path: child, format: 'qcow2' }] });
    expect(await failure(planOf(lab.driver(), refreshOf(clone)))).toMatchObject({ code: 'in-use' });
    await virsh('undefine', other.uuid);
    const { clone: next } = await refreshed(clone);
    await same(source, next);
    await deleted(next);
  });

  it('started by another hand once it has its new disks, it keeps them whatever is undone', async () => {
    const source = await makeSource('raced', false);
    const clone = await cloned(source, 'of-raced');
    await offline(source, 'write -q -P 0x15 2M 64k');
    const plan = await planOf(lab.driver(), refreshOf(clone), 'raced');
    const swap = plan.steps.findIndex((step) => step.kind === 'redefine');
    const journal = new MemoryJournal();
    await performUntil(lab.driver(), plan, { step: swap, moment: 'after' }, workerStopped(), journal);
    await virsh('start', clone.guest.uuid);
    const undoing = { nextStep: swap, undoing: { cancelled: true } };
    const outcome = await perform(lab.driver(), plan, journal, undefined, undoing);
    expect(outcome).toMatchObject({ state: 'cancelled', undo: { undone: [] } });
    await virsh('destroy', clone.guest.uuid);
    await same(source, clone);
    // As the database keeps it then: the state before counts as the present one there, the definition says otherwise.
    const [then, made] = [clone.generations, plan.generations];
    if (!then || !made) throw new Error('no generations');
    const list = [...then.list, ...made.list.filter(({ number }) => number === made.current)];
    const both = {
      ...clone,
      owned: [...clone.owned, ...ownedBy(plan)],
      generations: { ...then, next: made.next, list },
    };
    await offline(source, 'write -q -P 0x16 6M 64k');
    const next = await refreshed(both);
    await same(source, next.clone);
    expect(next.clone.generations?.list.map(({ number }) => number)).toEqual([made.current, made.next]);
    await deleted(next.clone);
  });

  it('what makes a clone itself is none of its own changes, and goes on from refresh to refresh', async () => {
    const source = await makeSource('itself');
    let clone = await cloned(source, 'of-itself');
    const shell = localShell();
    const { signal } = new AbortController();
    const system = async () => ({ target: 'vda', path: await diskOf(clone.guest, 'vda'), format: 'qcow2' });
    const { root } = await lookInside(shell, [await system()], { store: lab.store, signal });
    if (!root) throw new Error('the sample holds a system');
    const hostname = async (): Promise<string | undefined> => {
      const options = { store: lab.store, signal };
      const [file] = await readInside(shell, await system(), root, ['/etc/hostname'], options);
      return file && Buffer.from(file.content, 'base64').toString();
    };
    const edit = { type: 'write', path: '/etc/hostname', content: 'mine\n', mode: 0o644 } as const;
    await editInside(shell, await system(), root, [edit], { signal });
    expect(await failure(planOf(lab.driver(), refreshOf(clone)))).toMatchObject({ code: 'would-lose' });
    clone = (await refreshed(clone, { ownChanges: 'discard' })).clone;
    for (let round = 0; round < 2; round++) {
      await offline(source, `write -q -P ${0x16 + round} 2M 64k`);
      clone = (await refreshed(clone, { keepPrevious: 0 })).clone;
      await same(source, clone);
      expect(await hostname()).toBe('mine\n');
    }
    const { path } = await system();
    await command('qemu-io', '-f', 'qcow2', '-c', 'write -q -P 0x18 0 512', path);
    expect(await failure(planOf(lab.driver(), refreshOf(clone)))).toMatchObject({ code: 'would-lose' });
    await deleted(clone);
  });

  it('a clone that was not made for it: its own writes are said not to be known, and its file is kept', async () => {
    const source = await makeSource('plain', false);
    const clone = await cloned(source, 'of-plain', false);
    expect(clone.generations).toBeUndefined();
    // Its new disks would stand on what it writes.
    const cut = await planOf(lab.driver(), refreshOf(clone, { ownChanges: 'discard' }), 'cut');
    const journal = new MemoryJournal();
    await performUntil(lab.driver(), cut, { step: 1, moment: 'after' }, workerStopped(), journal);
    await offline(clone.guest, 'write -q -P 0x22 4M 64k');
    const outcome = await perform(lab.driver(), cut, journal, undefined, journal.startingPoint());
    expect(outcome).toMatchObject({ state: 'failed', error: { code: 'busy' }, undo: { leftBehind: [] } });
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

describe('a long chain of states', () => {
  it('is warned of, and ended by making the present state whole; every state stays, cut anywhere', async () => {
    const source = await makeSource('long', false);
    let clone = await cloned(source, 'of-long');
    const contents = new Map<number, string>([[1, await contentNow(clone)]]);
    let last = await refreshed(clone, { ownChanges: 'keep' }, 3);
    expect(last.plan.follow).toBeUndefined();
    for (let round = 0; round < 3; round++) {
      clone = last.clone;
      contents.set(clone.generations?.current ?? 0, await contentNow(clone));
      await offline(source, `write -q -P ${0x50 + round} ${round * 3}M 64k`);
      last = await refreshed(clone, { ownChanges: 'keep' }, 3);
    }
    clone = last.clone;
    const now = await contentNow(clone);
    expect(await depthOf(await diskOf(clone.guest, 'vdb'))).toBe(6);
    expect(last.plan.follow).toBe('promote');
    expect(last.plan.notes.map((note) => note.text).join(' ')).toMatch(
      /up to 6 files, and this host is set to 3.*copies about/,
    );

    const plan = await planOf(lab.driver(), flatteningOf(clone), 'whole');
    expect(plan.steps.find(({ kind }) => kind === 'stand-on')).toMatchObject({ standsOnEarlier: true });
    expect(plan.steps.map(({ kind }) => kind)).toEqual(['copy-disk', 'stand-on', 'settle']);
    const before = await filesBelow(lab.store);
    // The last step takes away what nothing stands on: from there on it only goes forward.
    for (let step = 0; step < plan.steps.length - 1; step++)
      for (const moment of moments) {
        const journal = new MemoryJournal();
        await performUntil(lab.driver(), plan, { step, moment }, workerStopped(), journal);
        expect(await contentNow(clone)).toBe(now);
        const undoing = { nextStep: step, undoing: { cancelled: true } };
        expect(await perform(lab.driver(), plan, journal, undefined, undoing)).toMatchObject({
          undo: { leftBehind: [] },
        });
        expect(await filesBelow(lab.store)).toEqual(before);
        expect(await contentNow(clone)).toBe(now);
      }
    const journal = new MemoryJournal();
    await performUntil(lab.driver(), plan, { step: 1, moment: 'after' }, workerStopped(), journal);
    expect(await perform(lab.driver(), plan, journal, undefined, journal.startingPoint())).toMatchObject({
      state: 'finished',
    });
    clone = record(clone, plan);
    expect(await depthOf(await diskOf(clone.guest, 'vdb'))).toBe(2);
    await same(source, clone);
    expect(await filesBelow(lab.store)).toEqual(expect.arrayContaining(clone.owned));
    const again = await planOf(lab.driver(), flatteningOf(clone), 'again');
    expect(again.steps).toEqual([]);

    // Every state kept is what it was, and the next refresh builds on the whole one.
    const present = clone.generations?.current ?? 0;
    for (const [number, content] of contents) {
      clone = await restored(clone, number);
      expect(await contentNow(clone), `state ${number}`).toBe(content);
    }
    clone = await restored(clone, present);
    await offline(source, 'write -q -P 0x66 30M 64k');
    const next = await refreshed(clone);
    await same(source, next.clone);
    expect(next.result.movedBytes).toBeLessThan(MIB);
    await deleted(next.clone);
  });
});
