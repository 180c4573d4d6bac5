/** Step: copies what a running guest's disks share with others into them (`virsh blockpull`). */
import { readChain } from '../../../disks/chain.ts';
import { standOn } from '../../../disks/layers.ts';
import { stderrOf } from '../../../disks/stderr.ts';
import type { StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Shell } from '../../../shell/shell.ts';
import type { PullDisksStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';
import { pause, reporting } from './reporting.ts';

const POLL_MS = 300;
/** The job stops before the store is full: a full one would pause every guest on it. Bytes. */
const RESERVE = 256 * 1024 ** 2;

type Disk = PullDisksStep['disks'][number];

export function pullStep(shell: Shell, virsh: Virsh): StepHandler<PullDisksStep> {
  const isWhole = async (disk: Disk, signal: AbortSignal): Promise<boolean> =>
    (await readChain(shell, { path: disk.path, format: disk.format, label: `disk ${disk.target}` }, signal))
      .length === 1;
  return {
    run: (step, context) =>
      reporting(async (report) => {
        const { signal } = context;
        const total = step.bytes ?? 0;
        let done = 0;
        for (const disk of step.disks) {
          report({ doneBytes: done, totalBytes: total });
          if (!(await isWhole(disk, signal))) {
            // A job of an earlier run of this step goes on by itself.
            if ((await jobOf(virsh, step, disk, signal)) === undefined)
              await begin(virsh, step, disk, signal);
            for (;;) {
              const share = await jobOf(virsh, step, disk, signal);
              if (share === undefined) break;
              report({ doneBytes: done + Math.round(share * disk.bytes), totalBytes: total });
              if ((await shell.filesystem(step.store)).freeBytes < RESERVE) {
                await end(virsh, step, disk, signal);
                throw full();
              }
              await pause(POLL_MS, signal);
            }
            if (!(await isWhole(disk, signal))) throw await notDone(virsh, step, disk, signal);
          }
          done += disk.bytes;
        }
        await flush(shell, virsh, step, signal);
        context.result({ strategy: 'pull', movedBytes: total });
        report({ doneBytes: total, totalBytes: total });
      }),
    async undo(step, { signal }) {
      let ended = false;
      for (const disk of step.disks) ended = (await end(virsh, step, disk, signal)) || ended;
      await goOn(virsh, step, signal);
      // QEMU died before it wrote its tables: what they would say is still in the base.
      if ((await virsh.state(step.guest.uuid, signal)) === 'stopped')
        for (const disk of step.disks)
          if (await isWhole(disk, signal)) await standOn(shell, disk.path, disk.onto, signal);
      return ended ? `stopped copying; ${step.guest.name} works as before` : undefined;
    },
  };
}

/**
 * QEMU drops the base from the file's header at once and keeps the tables that say where the copied blocks are to itself
 * until the guest asks for a flush, which it may never do: a crash before would leave an empty disk. It writes them out
 * when it stops the guest. What it copied is on the disk by then, so that the guest stands still for milliseconds.
 */
async function flush(shell: Shell, virsh: Virsh, step: PullDisksStep, signal: AbortSignal): Promise<void> {
  for (const disk of step.disks) await shell.sync(disk.path);
  // Of an earlier run that was cut between the two.
  await goOn(virsh, step, signal);
  try {
    await virsh.run(['suspend', '--domain', step.guest.uuid], { signal });
  } catch (thrown) {
    if ((await virsh.state(step.guest.uuid, signal)) !== 'stopped') throw thrown;
    throw stopped(step);
  } finally {
    await goOn(virsh, step, new AbortController().signal);
  }
}

/** The guest ran when this was planned: if it stands still, it was stopped here. */
async function goOn(virsh: Virsh, { guest: { uuid } }: PullDisksStep, signal: AbortSignal): Promise<void> {
  if ((await virsh.state(uuid, signal)) === 'paused')
    await virsh.run(['resume', '--domain', uuid], { signal });
}

async function begin(virsh: Virsh, step: PullDisksStep, disk: Disk, signal: AbortSignal): Promise<void> {
  if ((await virsh.state(step.guest.uuid, signal)) === 'stopped') throw stopped(step);
  await virsh.run(['blockpull', '--domain', step.guest.uuid, '--path', disk.target], { signal });
}

/** How far the disk's job is, 0 to 1; undefined when there is none. Keys of `blockjob --raw`: type, bandwidth, cur, end. */
async function jobOf(
  virsh: Virsh,
  step: PullDisksStep,
  disk: Disk,
  signal: AbortSignal,
): Promise<number | undefined> {
  try {
    const out = await virsh.maybe(
      ['blockjob', '--domain', step.guest.uuid, '--path', disk.target, '--info', '--raw'],
      { signal },
    );
    const [current, end] = ['cur', 'end'].map((key) =>
      Number(new RegExp(`${key}=(\\d+)`).exec(out ?? '')?.[1] ?? -1),
    );
    if (current === undefined || end === undefined || end < 0) return undefined;
    return end === 0 ? 0 : current / end;
  } catch (thrown) {
    if (/domain is not running/i.test(stderrOf(thrown))) return undefined;
    throw thrown;
  }
}

/** Resolves to whether there was a job. */
async function end(virsh: Virsh, step: PullDisksStep, disk: Disk, signal: AbortSignal): Promise<boolean> {
  if ((await jobOf(virsh, step, disk, signal)) === undefined) return false;
  try {
    await virsh.run(['blockjob', '--domain', step.guest.uuid, '--path', disk.target, '--abort'], { signal });
  } catch (thrown) {
    if ((await jobOf(virsh, step, disk, signal)) !== undefined) throw thrown;
  }
  return true;
}

async function notDone(
  virsh: Virsh,
  step: PullDisksStep,
  disk: Disk,
  signal: AbortSignal,
): Promise<OffshootError> {
  if ((await virsh.state(step.guest.uuid, signal)) === 'stopped') return stopped(step);
  return new OffshootError('command-failed', {
    publicMessage: `QEMU gave up copying disk ${disk.target} of ${step.guest.name}; the guest works as before.`,
    remedy: 'See that the store has room and its files can be read, then try again.',
    retryable: true,
    context: { disk },
  });
}

const stopped = (step: PullDisksStep): OffshootError =>
  new OffshootError('source-changed', {
    publicMessage: `${step.guest.name} was stopped meanwhile; it is a linked clone as before.`,
    remedy: 'Try again: a stopped guest can be detached too.',
    retryable: true,
  });

const full = (): OffshootError =>
  new OffshootError('no-space', {
    publicMessage: 'The store was nearly full, so the copying stopped; the guest works as before.',
    remedy: 'Free space on the store, then try again.',
    retryable: true,
  });
