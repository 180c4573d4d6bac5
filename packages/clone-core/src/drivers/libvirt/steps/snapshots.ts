/** Steps that take, go back to and remove snapshots, all inside the disk files (`snapshot='internal'`). */
import type { GuestRef, StepHandler } from '../../../driver.ts';
import { stderrOf } from '../../../disks/stderr.ts';
import { OffshootError } from '../../../errors.ts';
import { parseSnapshots } from '../inspect-snapshots.ts';
import type { DropSnapshotStep, RevertStep, TakeSnapshotStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';

/** Saving and loading memory takes its time, milliseconds. */
const PATIENCE_MS = 30 * 60_000;

export function takeSnapshotStep(virsh: Virsh): StepHandler<TakeSnapshotStep> {
  return {
    async *run(step, context) {
      const { signal } = context;
      yield { note: 'saving' };
      const before = await descriptionOf(virsh, step.guest, step.name, signal);
      if (before === undefined) {
        await virsh.run(
          [
            'snapshot-create-as',
            '--domain',
            step.guest.uuid,
            '--name',
            step.name,
            '--description',
            described(step),
          ],
          { signal, timeoutMs: PATIENCE_MS },
        );
      } else if (before !== described(step)) throw taken(step);
      const found = (await list(virsh, step.guest, signal)).find((each) => each.name === step.name);
      if (found) context.result({ snapshot: { ...found, ours: true } });
    },
    async undo(step, { signal }) {
      if ((await descriptionOf(virsh, step.guest, step.name, signal)) !== described(step)) return undefined;
      await remove(virsh, step.guest, step.name, signal);
      return `removed snapshot ${step.name}`;
    },
  };
}

export function revertStep(virsh: Virsh): StepHandler<RevertStep> {
  return {
    async *run(step, { signal }) {
      yield { note: 'going back' };
      await revert(virsh, step.guest, step.to, signal);
    },
    async undo(step, { signal }) {
      const kept = (await list(virsh, step.guest, signal)).some((each) => each.name === step.back);
      const current = await currentOf(virsh, step.guest, signal);
      if (kept && current === step.back) return undefined; // it was not gone back yet
      if (kept) {
        await revert(virsh, step.guest, step.back, signal);
        return `put ${step.guest.name} back to what it was before`;
      }
      if (current !== step.to) return undefined;
      throw new OffshootError('internal', {
        publicMessage: `${step.guest.name} is already back at ${step.to}, and what was before is deleted.`,
      });
    },
  };
}

export function dropSnapshotStep(virsh: Virsh): StepHandler<DropSnapshotStep> {
  return {
    async *run(step, { signal }) {
      yield { note: 'deleting' };
      signal.throwIfAborted();
      await remove(virsh, step.guest, step.name, signal);
    },
    async undo(step, { signal }) {
      if (step.ours || (await list(virsh, step.guest, signal)).some((each) => each.name === step.name))
        return undefined;
      throw new OffshootError('internal', {
        publicMessage: `The snapshot ${step.name} is already deleted and can’t be brought back.`,
      });
    },
  };
}

const described = (step: TakeSnapshotStep): string => `Offshoot ${step.mark}`;

const taken = (step: TakeSnapshotStep): OffshootError =>
  new OffshootError('name-taken', {
    publicMessage: `Another hand just took a snapshot named ${step.name} of ${step.guest.name}.`,
    remedy: 'Choose another name.',
    field: 'name',
  });

async function list(
  virsh: Virsh,
  guest: GuestRef,
  signal: AbortSignal,
): Promise<ReturnType<typeof parseSnapshots>> {
  return parseSnapshots((await virsh.maybe(['snapshot-list', '--domain', guest.uuid], { signal })) ?? '');
}

/** Name of the snapshot that the guest was last put into or back to. */
async function currentOf(virsh: Virsh, guest: GuestRef, signal: AbortSignal): Promise<string | undefined> {
  try {
    return await virsh.maybe(['snapshot-current', '--domain', guest.uuid, '--name'], { signal });
  } catch (thrown) {
    if (/no current snapshot/i.test(stderrOf(thrown))) return undefined;
    throw thrown;
  }
}

/** Undefined: there is no such snapshot. */
async function descriptionOf(
  virsh: Virsh,
  guest: GuestRef,
  name: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (!(await list(virsh, guest, signal)).some((each) => each.name === name)) return undefined;
  const xml = await virsh.run(['snapshot-dumpxml', '--domain', guest.uuid, '--snapshotname', name], {
    signal,
  });
  return /<description>([^<]*)<\/description>/.exec(xml)?.[1] ?? '';
}

async function revert(virsh: Virsh, guest: GuestRef, name: string, signal: AbortSignal): Promise<void> {
  await virsh.run(['snapshot-revert', '--domain', guest.uuid, '--snapshotname', name], {
    signal,
    timeoutMs: PATIENCE_MS,
  });
}

/** Nothing happens when it is gone already. */
async function remove(virsh: Virsh, guest: GuestRef, name: string, signal: AbortSignal): Promise<void> {
  try {
    await virsh.maybe(['snapshot-delete', '--domain', guest.uuid, '--snapshotname', name], {
      signal,
      timeoutMs: PATIENCE_MS,
    });
  } catch (thrown) {
    if (!/no domain snapshot with matching name|snapshot not found/i.test(stderrOf(thrown))) throw thrown;
  }
}
