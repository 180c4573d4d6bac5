import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { assertSameContent, coldSeconds, makeMixedDisk } from '../disk.ts';
import { qemuImgDefault } from '../full-clone-peers.ts';
import { batchFinished, deleteGuests, enqueueClones } from '../portal.ts';
import { median, round, type Bench } from '../result.ts';
import { defineSource, diskOf, scratchDisk } from '../source.ts';

const GIB = 1024 ** 3;

/** The same full clone where source and store are on one XFS with reflink, at two sizes: the time must not grow with size. */
export const fullCloneReflink: Bench = {
  id: 'full-clone-reflink',
  title: 'full clone within one reflink-capable XFS (loop-mounted), 1.5 and 6 GiB',
  async run(lab) {
    const image = join(lab.scratch, 'xfs.img');
    const mount = join(lab.scratch, 'xfs');
    await execa('truncate', ['-s', '24G', image]);
    await execa('mkfs.xfs', ['-q', '-m', 'reflink=1', image]);
    await mkdir(mount);
    await execa('mount', ['-o', 'loop', image, mount]);
    await execa('chmod', ['711', mount]);
    const data = join(mount, 'data');
    try {
      const portal = await lab.portal(data);
      const measured: Record<string, number> = {};
      for (const gib of [1.5, 6]) {
        const disk = scratchDisk(mount, `source-${gib}`);
        await makeMixedDisk(disk, gib * GIB, 8 * GIB);
        const source = await defineSource(portal, disk);
        const times: number[] = [];
        for (let run = 0; run < lab.runs; run++) {
          const name = `bench-reflink-${run}`;
          times.push(
            await coldSeconds(async () => {
              const batch = await enqueueClones(portal, {
                source: { type: 'guest', id: source.id },
                mode: 'full',
                names: [name],
              });
              await batchFinished(portal, batch.batchId, 1);
            }),
          );
          lab.say(`offshoot ${gib} GiB: ${times.at(-1)?.toFixed(2)} s`);
          if (run === 0) await assertSameContent(disk, await diskOf(name));
          await deleteGuests(portal, [name]);
        }
        measured[`offshoot-${gib}`] = round(median(times));
        const peerTimes: number[] = [];
        for (let run = 0; run < lab.runs; run++) {
          const target = join(mount, 'peer.qcow2');
          peerTimes.push(await coldSeconds(() => qemuImgDefault.copy(disk, target)));
          await rm(target);
        }
        measured[`convert-${gib}`] = round(median(peerTimes));
        await source.remove();
        await rm(disk);
      }
      const ours = measured['offshoot-1.5'] ?? Number.NaN;
      const large = measured['offshoot-6'] ?? Number.NaN;
      return {
        id: 'full-clone-reflink',
        unit: 's',
        ours,
        peers: { 'qemu-img-default': measured['convert-1.5'] ?? Number.NaN },
        ratio: round(ours / (measured['convert-1.5'] ?? Number.NaN)),
        of: 'qemu-img-default',
        runs: lab.runs,
        notes: `1.5 GiB; at 6 GiB ${large} s against ${measured['convert-6']} s; loop-mounted XFS, cold, synced`,
        seconds6GiB: large,
      };
    } finally {
      await lab.stopPortal(data);
      await execa('umount', [mount], { reject: false });
      await rm(image, { force: true });
    }
  },
};
