import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { assertSameContent, coldSeconds, makeMixedDisk } from '../disk.ts';
import { dd, qemuImgDefault, qemuImgVariants, virtClone } from '../full-clone-peers.ts';
import { batchFinished, deleteGuests, enqueueClones } from '../portal.ts';
import { median, round, type Bench } from '../result.ts';
import { defineSource, diskOf, LIBVIRT_URI, scratchDisk, virsh } from '../source.ts';

const GIB = 1024 ** 3;
const DATA_BYTES = 1.5 * GIB;

/** A full clone of a stopped guest with 1.5 GiB of mixed data, from enqueue to finished, against copying tools. */
export const fullClone: Bench = {
  id: 'full-clone',
  title: 'full clone of 1.5 GiB allocated, cold cache, synced, enqueue to finished',
  async run(lab) {
    const portal = await lab.portal();
    const disk = scratchDisk(lab.scratch, 'full-source');
    await makeMixedDisk(disk, DATA_BYTES, 4 * GIB);
    const source = await defineSource(portal, disk);
    const times = new Map<string, number[]>();
    const note = (name: string, seconds: number): void => {
      times.set(name, [...(times.get(name) ?? []), seconds]);
      lab.say(`${name}: ${seconds.toFixed(2)} s`);
    };
    const clone = async (name: string): Promise<void> => {
      const batch = await enqueueClones(portal, {
        source: { type: 'guest', id: source.id },
        mode: 'full',
        names: [name],
      });
      await batchFinished(portal, batch.batchId, 1);
    };
    const peers = [
      virtClone(LIBVIRT_URI, source.name, 'bench-virt-clone'),
      qemuImgDefault,
      ...qemuImgVariants,
      dd,
    ];
    const entrants: (() => Promise<void>)[] = [
      async () => {
        const name = 'bench-full';
        note('offshoot', await coldSeconds(() => clone(name)));
        if (times.get('offshoot')?.length === 1) await assertSameContent(disk, await diskOf(name));
        await deleteGuests(portal, [name]);
      },
      ...peers.map((peer) => async () => {
        const target = join(lab.scratch, 'peer.qcow2');
        note(peer.name, await coldSeconds(() => peer.copy(disk, target)));
        if (peer.name === 'virt-clone') await virsh('undefine', 'bench-virt-clone');
        await rm(target, { force: true });
      }),
    ];
    try {
      // Everything in turn within each run, so that a machine that slows down slows down for all; and each time after
      // another, for the first copy through the page cache after those past it was seen to pay for them. (Seven is a
      // prime: any stride from 1 to 6 visits all.)
      for (let run = 0; run < lab.runs; run++)
        for (let turn = 0; turn < entrants.length; turn++)
          await entrants[(run + turn * ((run % (entrants.length - 1)) + 1)) % entrants.length]?.();
    } finally {
      await source.remove();
      await rm(disk, { force: true });
    }
    const middle = (name: string): number => round(median(times.get(name) ?? []));
    const best = Math.min(...qemuImgVariants.map(({ name }) => middle(name)), middle('qemu-img-default'));
    const ours = middle('offshoot');
    return {
      id: 'full-clone',
      unit: 's',
      ours,
      peers: {
        'virt-clone': middle('virt-clone'),
        'qemu-img-default': middle('qemu-img-default'),
        'qemu-img-best': best,
        dd: middle('dd'),
      },
      ratio: round(ours / middle('virt-clone')),
      of: 'virt-clone',
      runs: lab.runs,
      notes: `1.5 GiB of 4 GiB, cold, synced; compared equal; ${round(ours / best)} × qemu-img-best`,
    };
  },
};
