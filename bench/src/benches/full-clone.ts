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
    const peers = [
      virtClone(LIBVIRT_URI, source.name, 'bench-virt-clone'),
      qemuImgDefault,
      ...qemuImgVariants,
      dd,
    ];
    try {
      // Everything in turn within each run, so that a machine that slows down slows down for all.
      for (let run = 0; run < lab.runs; run++) {
        const name = `bench-full-${run}`;
        note(
          'offshoot',
          await coldSeconds(async () => {
            const batch = await enqueueClones(portal, {
              source: { type: 'guest', id: source.id },
              mode: 'full',
              names: [name],
            });
            await batchFinished(portal, batch.batchId, 1);
          }),
        );
        if (run === 0) await assertSameContent(disk, await diskOf(name));
        await deleteGuests(portal, [name]);
        for (const peer of peers) {
          const target = join(lab.scratch, 'peer.qcow2');
          note(peer.name, await coldSeconds(() => peer.copy(disk, target)));
          if (peer.name === 'virt-clone') await virsh('undefine', 'bench-virt-clone');
          await rm(target, { force: true });
        }
      }
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
