/** Step: copies all disks of a running guest as they are at one point in time, by a push-mode backup job of libvirt. */
import { checkpointXml, pushXml } from '../../../disks/backup.ts';
import type { StepHandler } from '../../../driver.ts';
import type { Shell } from '../../../shell/shell.ts';
import { removeRecord } from '../records.ts';
import type { BackupStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';
import { beginJob, endJob, followJob, removeScratch, type BackupJob } from './backup-job.ts';
import { complete, deleted, folderOf, partial, removeOwn } from './own-files.ts';
import { reporting } from './reporting.ts';
import type { Turns } from './turns.ts';

export function backupStep(shell: Shell, virsh: Virsh, jobs: Turns): StepHandler<BackupStep> {
  return {
    run: (step, context) =>
      reporting(async (report) => {
        const { signal } = context;
        const total = step.bytes;
        report({ doneBytes: 0, totalBytes: total });
        if (!(await allThere(shell, step))) {
          await endJob(virsh, jobOf(step), signal);
          if (step.record !== undefined) await removeRecord(shell, virsh, step.guest, step.record, signal);
          await removeOwn(
            shell,
            step.disks.map((disk) => disk.to),
            undefined,
            signal,
          );
          for (const disk of step.disks) await shell.mkdir(folderOf(disk.to));
          await jobs.take(step.guest.uuid, signal, async () => {
            const look = await beginJob(virsh, jobOf(step), definitionOf(step), context);
            await followJob(virsh, jobOf(step), look, signal, (bytes) =>
              report({ doneBytes: Math.round((bytes.done / bytes.total) * total), totalBytes: total }),
            );
          });
          for (const disk of step.disks) await complete(shell, disk.to);
        }
        const stats = await Promise.all(step.disks.map((disk) => shell.stat(disk.to)));
        context.result({
          strategy: 'backup',
          movedBytes: total,
          storedBytes: stats.reduce((sum, stat) => sum + (stat?.allocated ?? 0), 0),
        });
        report({ doneBytes: total, totalBytes: total });
      }),
    async undo(step, { signal }) {
      await endJob(virsh, jobOf(step), signal);
      await removeScratch(shell, step);
      if (step.record !== undefined) await removeRecord(shell, virsh, step.guest, step.record, signal);
      const names: string[] = [];
      for (const disk of step.disks)
        names.push(...(await removeOwn(shell, [disk.to], folderOf(disk.to), signal)));
      return deleted(names);
    },
  };
}

const jobOf = (step: BackupStep): BackupJob => ({
  guest: step.guest,
  freeze: step.freeze,
  scratch: step.scratch,
  marks: step.disks.map((disk) => partial(disk.to)),
});

function definitionOf(step: BackupStep): { backup: string; checkpoint?: string } {
  const disks = step.disks.map((disk) => ({ target: disk.target, to: partial(disk.to) }));
  const targets = disks.map((disk) => disk.target);
  return {
    backup: pushXml({ disks, excluded: step.excluded }),
    ...(step.record === undefined ? {} : { checkpoint: checkpointXml(step.record, targets, step.excluded) }),
  };
}

async function allThere(shell: Shell, step: BackupStep): Promise<boolean> {
  for (const disk of step.disks) if (!(await shell.stat(disk.to))) return false;
  return true;
}
