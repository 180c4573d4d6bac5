/** One backup job of a running guest at a time: begun at a frozen point, followed, ended. */
import { jobBytes } from '../../../disks/backup.ts';
import { stderrOf } from '../../../disks/stderr.ts';
import type { GuestRef, StepContext } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Shell } from '../../../shell/shell.ts';
import { freezing, frozenIn, thaw, thawing } from '../agent.ts';
import { foundIn, outOf, type Answer, type Virsh } from '../virsh.ts';
import { pause } from './reporting.ts';
import { together } from './together.ts';

/** Between two looks at a job: short ones are noticed soon, long ones not asked often. A part of the time so far; milliseconds. */
const LOOK_PART = 0.15;
const SHORTEST_LOOK_MS = 15;
const LONGEST_LOOK_MS = 400;
/** For freezing (libvirt itself gives the agent 5 s), beginning and letting go, milliseconds. */
const BEGIN_MS = 100_000;

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
  /** Makes them meanwhile. */
  prepare?: () => Promise<void>;
}

/**
 * Freezes, begins the job and lets go again, whatever happens in between. Says in the result how consistent it is. Resolves to a
 * first look at the job.
 */
export async function beginJob(
  virsh: Virsh,
  job: BackupJob,
  definition: JobDefinition,
  context: StepContext,
): Promise<Look> {
  const { signal } = context;
  const { uuid, name } = job.guest;
  const say = (consistency: 'filesystem' | 'crash', text: string): void => {
    context.result({
      consistency,
      consistencyNote: `${consistency}-consistent: ${text}`,
      pointAt: new Date().toISOString(),
    });
    context.note(`${consistency}-consistent`);
  };
  return withDefinition(virsh, job, definition, async (begin) => {
    if (!job.freeze) {
      const [begun, ...look] = await virsh.each([begin, ...looking(uuid)], { signal });
      outOf(begun);
      say('crash', 'no agent answered that could freeze the filesystems');
      return look;
    }
    let look: Look = [];
    const began = performance.now();
    let free = false;
    let count: number | undefined;
    try {
      // In one process: filesystems stand still no longer than the job takes to begin.
      const [frozen, begun, freed, ...first] = await virsh.each(
        [freezing(uuid), begin, thawing(uuid), ...looking(uuid)],
        { signal, timeoutMs: BEGIN_MS, quiet: false },
      );
      look = first;
      free = freed !== undefined && 'out' in freed;
      count = frozenIn(frozen);
      if (count === undefined) context.log(`The agent of ${name} could not freeze its filesystems.`);
      outOf(begun);
    } finally {
      if (!free) await letGo(virsh, job.guest, (line) => context.log(line));
    }
    const ms = Math.round(performance.now() - began);
    if (count === undefined || count === 0) say('crash', 'the agent could not freeze the filesystems');
    else
      say(
        'filesystem',
        `the agent froze ${count} ${count === 1 ? 'filesystem' : 'filesystems'} for ${ms} ms at most`,
      );
    return look;
  });
}

/** virsh reads definitions from files, which are readable by the worker only and gone afterwards. */
async function withDefinition<T>(
  { shell }: Virsh,
  { guest, scratch }: BackupJob,
  { backup, checkpoint, reuse, prepare }: JobDefinition,
  use: (begin: readonly string[]) => Promise<T>,
): Promise<T> {
  const begin = ['backup-begin', '--domain', guest.uuid, '--backupxml', scratch];
  if (reuse === true) begin.push('--reuse-external');
  const files = [{ path: scratch, content: backup }];
  if (checkpoint !== undefined) {
    const path = checkpointFile(scratch);
    files.push({ path, content: checkpoint });
    begin.push('--checkpointxml', path);
  }
  try {
    await together([
      ...files.map(({ path, content }) => shell.writeFile(path, content, 0o600)),
      ...(prepare ? [prepare()] : []),
    ]);
    return await use(begin);
  } finally {
    await together(files.map(({ path }) => shell.remove(path)));
  }
}

const checkpointFile = (scratch: string): string => `${scratch}.checkpoint`;

/** What a worker that died while a job began may have left. */
export async function removeScratch(shell: Shell, { scratch }: { scratch: string }): Promise<void> {
  await shell.remove(scratch);
  await shell.remove(checkpointFile(scratch));
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
  const [answer] = await virsh.each([definitionOf(uuid)], { signal });
  return jobIn(answer);
}

const definitionOf = (uuid: string): string[] => ['backup-dumpxml', '--domain', uuid];

function jobIn(answer: Answer | undefined): string | undefined {
  const gone = /no domain backup job|domain is not running/i;
  return answer && 'error' in answer && gone.test(stderrOf(answer.error)) ? undefined : foundIn(answer);
}

/** What a guest's job is, how far it is, and how the last one ended. */
export type Look = readonly Answer[];
const looking = (uuid: string): string[][] => [
  definitionOf(uuid),
  ['domjobinfo', '--domain', uuid],
  ['domjobinfo', '--domain', uuid, '--completed', '--keep-completed'],
];

/** Until the push job is over; resolves to the bytes it moved. Throws when it did not complete. `first`: as `beginJob` saw it. */
export async function followJob(
  virsh: Virsh,
  { guest: { uuid, name } }: BackupJob,
  first: Look,
  signal: AbortSignal,
  onBytes: (bytes: { done: number; total: number }) => void,
): Promise<number | undefined> {
  const began = performance.now();
  for (let look = first; ; look = await virsh.each(looking(uuid), { signal })) {
    const [job, now, ended] = look;
    if (jobIn(job) === undefined) {
      const done = await ending(virsh, uuid, name, ended, signal);
      if (/Job type:\s+Completed/i.test(done)) return jobBytes(done)?.done;
      if ((await virsh.state(uuid, signal)) === 'stopped') throw stoppedMeanwhile(name);
      throw unfinished(name, done);
    }
    const bytes = jobBytes(foundIn(now) ?? '');
    if (bytes && bytes.total > 0) onBytes(bytes);
    const wait = Math.max(SHORTEST_LOOK_MS, (performance.now() - began) * LOOK_PART);
    await pause(Math.min(wait, LONGEST_LOOK_MS), signal);
  }
}

async function ending(
  virsh: Virsh,
  uuid: string,
  name: string,
  answer: Answer | undefined,
  signal: AbortSignal,
): Promise<string> {
  if (answer && 'out' in answer) return answer.out;
  const state = await virsh.state(uuid, signal);
  if (state === undefined || state === 'stopped') throw stoppedMeanwhile(name);
  return outOf(answer);
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
