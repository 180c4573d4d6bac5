/** Step: copies all disks of a running guest as they are at one point in time, by a push-mode backup job of libvirt. */
import { backupXml, progressOf } from '../../../disks/backup.ts';
import type { StepContext, StepHandler } from '../../../driver.ts';
import { stderrOf } from '../../../disks/stderr.ts';
import { OffshootError } from '../../../errors.ts';
import type { Shell } from '../../../shell/shell.ts';
import { freeze, thaw } from '../agent.ts';
import type { BackupStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';
import { complete, deleted, folderOf, partial, removeOwn } from './own-files.ts';
import { pause, reporting } from './reporting.ts';

const POLL_MS = 400;

export function backupStep(shell: Shell, virsh: Virsh): StepHandler<BackupStep> {
  return {
    run: (step, context) =>
      reporting(async (report) => {
        const total = step.bytes;
        report({ doneBytes: 0, totalBytes: total });
        if (!(await allThere(shell, step))) {
          await endOurs(virsh, step, context.signal);
          await removeOwn(
            shell,
            step.disks.map((disk) => disk.to),
            undefined,
            context.signal,
          );
          for (const disk of step.disks) await shell.mkdir(folderOf(disk.to));
          await begin(virsh, step, context);
          await follow(virsh, step, context.signal, (done) =>
            report({ doneBytes: Math.min(done, total), totalBytes: total }),
          );
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
      await endOurs(virsh, step, signal);
      await shell.remove(step.scratch);
      const names: string[] = [];
      for (const disk of step.disks)
        names.push(...(await removeOwn(shell, [disk.to], folderOf(disk.to), signal)));
      return deleted(names);
    },
  };
}

async function allThere(shell: Shell, step: BackupStep): Promise<boolean> {
  for (const disk of step.disks) if (!(await shell.stat(disk.to))) return false;
  return true;
}

/** Freezes, begins the job and lets go again, whatever happens in between. */
async function begin(virsh: Virsh, step: BackupStep, context: StepContext): Promise<void> {
  const { signal } = context;
  const { uuid, name } = step.guest;
  const xml = backupXml(
    step.disks.map((disk) => ({ target: disk.target, to: partial(disk.to) })),
    step.excluded,
  );
  const startJob = async (): Promise<void> => {
    await virsh.withFile(step.scratch, xml, () =>
      virsh.run(['backup-begin', '--domain', uuid, '--backupxml', step.scratch], { signal }),
    );
  };
  const say = (consistency: 'filesystem' | 'crash', text: string): void => {
    context.result({ consistency, consistencyNote: `${consistency}-consistent: ${text}` });
    context.note(`${consistency}-consistent`);
  };
  if (!step.freeze) {
    await startJob();
    say('crash', 'no agent answered that could freeze the filesystems');
    return;
  }
  const frozen = performance.now();
  let count: number | undefined;
  try {
    count = await freeze(virsh, uuid, signal);
    if (count === undefined) context.log(`The agent of ${name} could not freeze its filesystems.`);
    await startJob();
  } finally {
    await letGo(virsh, step, (line) => context.log(line));
  }
  const ms = Math.round(performance.now() - frozen);
  if (count === undefined || count === 0) say('crash', 'the agent could not freeze the filesystems');
  else
    say('filesystem', `the agent froze ${count} ${count === 1 ? 'filesystem' : 'filesystems'} for ${ms} ms`);
}

async function letGo(virsh: Virsh, step: BackupStep, log?: (line: string) => void): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await thaw(virsh, step.guest.uuid);
      return;
    } catch (thrown) {
      const state = await virsh.state(step.guest.uuid);
      if (state !== 'running') return; // nothing is frozen in a guest that does not run
      if (attempt < 3) continue;
      log?.(`thaw failed: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
      throw new OffshootError('agent-silent', {
        publicMessage: `The filesystems of ${step.guest.name} may still be frozen: its agent does not answer.`,
        remedy: `Run virsh domfsthaw ${step.guest.name} on the host, or restart the guest.`,
        cause: thrown,
      });
    }
  }
}

/** Ends the backup job if it is this step's, by the paths it writes to, and thaws what an earlier run may have frozen. */
async function endOurs(virsh: Virsh, step: BackupStep, signal: AbortSignal): Promise<void> {
  const { uuid } = step.guest;
  if (step.freeze && (await virsh.state(uuid, signal)) === 'running') await letGoIfAsked(virsh, step);
  for (;;) {
    const job = await currentJob(virsh, uuid, signal);
    if (job === undefined || !step.disks.some((disk) => job.includes(partial(disk.to)))) return;
    try {
      await virsh.run(['domjobabort', '--domain', uuid], { signal });
    } catch (thrown) {
      if ((await currentJob(virsh, uuid, signal)) !== undefined) throw thrown;
    }
    await pause(50, signal);
  }
}

/** Only a frozen agent may need it; one that is silent has nothing to thaw as far as can be known. */
async function letGoIfAsked(virsh: Virsh, step: BackupStep): Promise<void> {
  try {
    await thaw(virsh, step.guest.uuid);
  } catch (thrown) {
    if (!(thrown instanceof OffshootError) || thrown.code === 'host-unreachable') throw thrown;
    // The agent went away since the plan: a freeze of ours would have been let go in the step that made it.
  }
}

/** Definition of the backup job that runs now; undefined when none does. */
async function currentJob(virsh: Virsh, uuid: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    return await virsh.maybe(['backup-dumpxml', '--domain', uuid], { signal });
  } catch (thrown) {
    if (
      thrown instanceof OffshootError &&
      /no domain backup job|domain is not running/i.test(stderrOf(thrown))
    )
      return undefined;
    throw thrown;
  }
}

/** Until the job is over; throws when it did not complete. */
async function follow(
  virsh: Virsh,
  step: BackupStep,
  signal: AbortSignal,
  onBytes: (done: number) => void,
): Promise<void> {
  const { uuid, name } = step.guest;
  while ((await currentJob(virsh, uuid, signal)) !== undefined) {
    const progress = progressOf((await virsh.maybe(['domjobinfo', '--domain', uuid], { signal })) ?? '');
    if (progress) onBytes(Math.round(progress * step.bytes));
    await pause(POLL_MS, signal);
  }
  if ((await virsh.state(uuid, signal)) === 'stopped')
    throw new OffshootError('source-changed', {
      publicMessage: `The source ${name} was stopped in the middle of the copy.`,
      remedy: 'Clone it again.',
      retryable: true,
    });
  const done = await virsh.run(['domjobinfo', '--domain', uuid, '--completed', '--keep-completed'], {
    signal,
  });
  if (/Job type:\s+Completed/i.test(done)) return;
  const said = /Error message:\s+(.*)/i.exec(done)?.[1] ?? done.split('\n')[0] ?? '';
  throw /No space left|ENOSPC/i.test(done)
    ? new OffshootError('no-space', {
        publicMessage: 'The store filled up while the disks were copied.',
        remedy: 'Free space on the store, then retry.',
        retryable: true,
        context: { done },
      })
    : new OffshootError('command-failed', {
        publicMessage: `The copy of the running source ${name} failed: ${said}.`,
        remedy: 'Retry; the source was not changed.',
        retryable: true,
        context: { done },
      });
}
