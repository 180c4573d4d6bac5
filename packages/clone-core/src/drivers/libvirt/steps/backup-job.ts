/** One backup job of a running guest at a time: begun at a frozen point, followed, ended. */
import { jobBytes } from '../../../disks/backup.ts';
import { stderrOf } from '../../../disks/stderr.ts';
import type { GuestRef, StepContext } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import { freeze, thaw } from '../agent.ts';
import type { Virsh } from '../virsh.ts';
import { pause } from './reporting.ts';

/** Between two looks at a job, milliseconds: short jobs are noticed soon, long ones not asked often. */
const FIRST_LOOK_MS = 15;
const LONGEST_LOOK_MS = 400;

export interface BackupJob {
  guest: GuestRef;
  /** Ask the agent to freeze the filesystems around the point. */
  freeze: boolean;
  /** Path of the caller's alone, for what virsh reads from files. */
  scratch: string;
  /** Paths that only this job's definition can name: how it is told from another program's. */
  marks: readonly string[];
}

export interface JobDefinition {
  backup: string;
  /** A change record that begins at the same point. */
  checkpoint?: string;
  /** The target files are there already. */
  reuse?: boolean;
}

/** Freezes, begins the job and lets go again, whatever happens in between. Says in the result how consistent it is. */
export async function beginJob(
  virsh: Virsh,
  job: BackupJob,
  definition: JobDefinition,
  context: StepContext,
): Promise<void> {
  const { signal } = context;
  const { uuid, name } = job.guest;
  const start = (): Promise<string> => startJob(virsh, job, definition, signal);
  const say = (consistency: 'filesystem' | 'crash', text: string): void => {
    context.result({
      consistency,
      consistencyNote: `${consistency}-consistent: ${text}`,
      pointAt: new Date().toISOString(),
    });
    context.note(`${consistency}-consistent`);
  };
  if (!job.freeze) {
    await start();
    say('crash', 'no agent answered that could freeze the filesystems');
    return;
  }
  const frozen = performance.now();
  let count: number | undefined;
  try {
    count = await freeze(virsh, uuid, signal);
    if (count === undefined) context.log(`The agent of ${name} could not freeze its filesystems.`);
    await start();
  } finally {
    await letGo(virsh, job.guest, (line) => context.log(line));
  }
  const ms = Math.round(performance.now() - frozen);
  if (count === undefined || count === 0) say('crash', 'the agent could not freeze the filesystems');
  else
    say('filesystem', `the agent froze ${count} ${count === 1 ? 'filesystem' : 'filesystems'} for ${ms} ms`);
}

async function startJob(
  virsh: Virsh,
  { guest, scratch }: BackupJob,
  { backup, checkpoint, reuse }: JobDefinition,
  signal: AbortSignal,
): Promise<string> {
  const begin = (more: readonly string[]): Promise<string> =>
    virsh.withFile(scratch, backup, () =>
      virsh.run(['backup-begin', '--domain', guest.uuid, '--backupxml', scratch, ...more], { signal }),
    );
  const words = reuse === true ? ['--reuse-external'] : [];
  if (checkpoint === undefined) return begin(words);
  const path = `${scratch}.checkpoint`;
  return virsh.withFile(path, checkpoint, () => begin([...words, '--checkpointxml', path]));
}

async function letGo(virsh: Virsh, guest: GuestRef, log?: (line: string) => void): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await thaw(virsh, guest.uuid);
      return;
    } catch (thrown) {
      const state = await virsh.state(guest.uuid);
      if (state !== 'running') return; // nothing is frozen in a guest that does not run
      if (attempt < 3) continue;
      log?.(`thaw failed: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
      throw new OffshootError('agent-silent', {
        publicMessage: `The filesystems of ${guest.name} may still be frozen: its agent does not answer.`,
        remedy: `Run virsh domfsthaw ${guest.name} on the host, or restart the guest.`,
        cause: thrown,
      });
    }
  }
}

/** Ends the job if it is this one, and thaws what an earlier run may have frozen. Harmless when nothing runs. */
export async function endJob(virsh: Virsh, job: BackupJob, signal: AbortSignal): Promise<void> {
  const { uuid } = job.guest;
  if (job.freeze && (await virsh.state(uuid, signal)) === 'running') await letGoIfAsked(virsh, job.guest);
  for (;;) {
    const running = await currentJob(virsh, uuid, signal);
    if (running === undefined || !job.marks.some((mark) => running.includes(mark))) return;
    try {
      await virsh.run(['domjobabort', '--domain', uuid], { signal });
    } catch (thrown) {
      if ((await currentJob(virsh, uuid, signal)) !== undefined) throw thrown;
    }
    await pause(50, signal);
  }
}

/** Only a frozen agent may need it; one that is silent has nothing to thaw as far as can be known. */
async function letGoIfAsked(virsh: Virsh, guest: GuestRef): Promise<void> {
  try {
    await thaw(virsh, guest.uuid);
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

/** Until the push job is over; resolves to the bytes it moved. Throws when it did not complete. */
export async function followJob(
  virsh: Virsh,
  { guest: { uuid, name } }: BackupJob,
  signal: AbortSignal,
  onBytes: (bytes: { done: number; total: number }) => void,
): Promise<number | undefined> {
  for (let wait = FIRST_LOOK_MS; ; wait = Math.min(wait * 2, LONGEST_LOOK_MS)) {
    if ((await currentJob(virsh, uuid, signal)) === undefined) break;
    const bytes = jobBytes((await virsh.maybe(['domjobinfo', '--domain', uuid], { signal })) ?? '');
    if (bytes && bytes.total > 0) onBytes(bytes);
    await pause(wait, signal);
  }
  const done = await ending(virsh, uuid, name, signal);
  if (/Job type:\s+Completed/i.test(done)) return jobBytes(done)?.done;
  if ((await virsh.state(uuid, signal)) === 'stopped') throw stoppedMeanwhile(name);
  throw unfinished(name, done);
}

async function ending(virsh: Virsh, uuid: string, name: string, signal: AbortSignal): Promise<string> {
  try {
    return await virsh.run(['domjobinfo', '--domain', uuid, '--completed', '--keep-completed'], { signal });
  } catch (thrown) {
    const state = await virsh.state(uuid, signal);
    throw state === undefined || state === 'stopped' ? stoppedMeanwhile(name) : thrown;
  }
}

const stoppedMeanwhile = (name: string): OffshootError =>
  new OffshootError('source-changed', {
    publicMessage: `The source ${name} was stopped in the middle of the copy.`,
    remedy: 'Try again.',
    retryable: true,
  });

function unfinished(name: string, done: string): OffshootError {
  const said = /Error message:\s+(.*)/i.exec(done)?.[1] ?? done.split('\n')[0] ?? '';
  return /No space left|ENOSPC/i.test(done)
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
