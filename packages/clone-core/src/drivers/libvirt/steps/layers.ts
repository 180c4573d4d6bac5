/** Steps of a refresh: the new layers, the clone's own files on them, the swap, and what goes afterwards. */
import { checkpointXml, pullXml, pushXml } from '../../../disks/backup.ts';
import { checkLayer, mergeDown, standOn, storeDifference, storedIn } from '../../../disks/layers.ts';
import { createOverlay } from '../../../disks/overlay.ts';
import type { Progress, StepContext, StepHandler } from '../../../driver.ts';
import { OffshootError, toOffshootError } from '../../../errors.ts';
import type { Shell } from '../../../shell/shell.ts';
import type { Definitions } from '../definitions.ts';
import { readDomain } from '../domain-read.ts';
import { addBitmap, adoptRecord, hasBitmap, removeRecord } from '../records.ts';
import type {
  BeginRecordStep,
  FillLayersStep,
  NewLayer,
  OwnLayersStep,
  RedefineStep,
  SettleAction,
  SettleStep,
  StandOnStep,
} from '../types.ts';
import type { Virsh } from '../virsh.ts';
import { beginJob, endJob, followJob, type BackupJob } from './backup-job.ts';
import { needStopped, needUnchanged } from './copy.ts';
import { complete, deleted, folderOf, partial, removeEmpty, removeOwn } from './own-files.ts';
import { reporting } from './reporting.ts';
import type { Turns } from './turns.ts';

type Report = (progress: Progress) => void;

/** Makes the new layers beside the old ones. Nothing that the clone uses now is opened for writing. */
export function fillLayersStep(shell: Shell, virsh: Virsh, jobs: Turns): StepHandler<FillLayersStep> {
  const clear = async (step: FillLayersStep, signal: AbortSignal): Promise<string[]> => {
    if (step.way !== 'compare-stopped') await endJob(virsh, jobOf(step), signal);
    await removePull(shell, step, signal);
    if (step.record !== undefined) await removeRecord(shell, virsh, step.source, step.record, signal);
    await shell.remove(step.scratch);
    const paths = step.layers.map((layer) => layer.to);
    return removeOwn(shell, paths, undefined, signal);
  };
  return {
    run: (step, context) =>
      reporting(async (report) => {
        report({ doneBytes: 0, totalBytes: step.bytes });
        // A run that was cut may have left a layer of another point: all are of one point, or none is.
        if (await begunBefore(shell, step)) await clear(step, context.signal);
        const work = (): Promise<number> => fill(shell, virsh, step, context, report);
        const moved = await (step.way === 'compare-stopped'
          ? work()
          : jobs.take(step.source.uuid, context.signal, work));
        await Promise.all(step.layers.map(({ to }) => checkLayer(shell, partial(to), context.signal)));
        for (const layer of step.layers) await complete(shell, layer.to);
        const stats = await Promise.all(step.layers.map((layer) => shell.stat(layer.to)));
        context.result({
          strategy: step.way === 'record' ? 'changed blocks' : 'comparison',
          movedBytes: moved,
          storedBytes: stats.reduce((sum, stat) => sum + (stat?.allocated ?? 0), 0),
        });
        report({ doneBytes: step.bytes, totalBytes: step.bytes });
      }),
    undo: async (step, { signal }) => deleted(await clear(step, signal)),
  };
}

/** Whatever an earlier run did, it made one of these first. */
async function begunBefore(shell: Shell, step: FillLayersStep): Promise<boolean> {
  for (const path of [step.pull, ...step.layers.flatMap(({ to }) => [to, partial(to)])])
    if (await shell.stat(path)) return true;
  return false;
}

async function fill(
  shell: Shell,
  virsh: Virsh,
  step: FillLayersStep,
  context: StepContext,
  report: Report,
): Promise<number> {
  switch (step.way) {
    case 'record':
      return fromRecord(shell, virsh, step, context, report);
    case 'compare-running':
      return fromRunning(shell, virsh, step, context, report);
    default:
      return fromStopped(shell, virsh, step, context, report);
  }
}

const jobOf = (step: FillLayersStep): BackupJob => ({
  guest: step.source,
  freeze: step.freeze,
  scratch: step.scratch,
  marks: step.way === 'record' ? step.layers.map((layer) => partial(layer.to)) : [socketOf(step)],
});
const socketOf = (step: FillLayersStep): string => `${step.pull}/nbd`;
const scratchOf = (step: FillLayersStep, layer: NewLayer): string => `${step.pull}/${layer.target}.scratch`;

const checkpointOf = (step: FillLayersStep): { checkpoint?: string } =>
  step.record === undefined
    ? {}
    : {
        checkpoint: checkpointXml(
          step.record,
          step.layers.map((layer) => layer.target),
          step.excluded,
        ),
      };

/** QEMU pushes the changed blocks into layers that stand on the old ones already. */
async function fromRecord(
  shell: Shell,
  virsh: Virsh,
  step: FillLayersStep,
  context: StepContext,
  report: Report,
): Promise<number> {
  const { signal } = context;
  await Promise.all(
    step.layers.map(({ onto, ontoFormat, virtualBytes, to }) =>
      createOverlay(shell, { basePath: onto, baseFormat: ontoFormat, to: partial(to), virtualBytes }, signal),
    ),
  );
  const disks = step.layers.map((layer) => ({ target: layer.target, to: partial(layer.to) }));
  const { since, excluded } = step;
  if (since === undefined)
    throw new OffshootError('internal', { publicMessage: 'The plan names no record.' });
  const backup = pushXml({ disks, excluded, since });
  await beginJob(virsh, jobOf(step), { backup, ...checkpointOf(step), reuse: true }, context);
  const moved = await followJob(virsh, jobOf(step), signal, ({ done, total }) =>
    report({ doneBytes: Math.min(done, total), totalBytes: total }),
  );
  return moved ?? step.bytes;
}

/** QEMU shows the source as of one point over NBD; what differs from the old layers is stored. */
async function fromRunning(
  shell: Shell,
  virsh: Virsh,
  step: FillLayersStep,
  context: StepContext,
  report: Report,
): Promise<number> {
  await shell.mkdir(step.pull);
  // QEMU's own account makes the socket in it; the folder's name is known to nobody else.
  await shell.chmod(step.pull, 0o733);
  const disks = step.layers.map((layer) => ({ target: layer.target, scratch: scratchOf(step, layer) }));
  const backup = pullXml(disks, step.excluded, socketOf(step));
  await beginJob(virsh, jobOf(step), { backup, ...checkpointOf(step) }, context);
  const moved = await compare(shell, step, context, report, (layer) => ({
    path: `nbd+unix:///${encodeURIComponent(layer.target)}?socket=${encodeURIComponent(socketOf(step))}`,
    format: 'raw',
  }));
  await endJob(virsh, jobOf(step), context.signal);
  await removePull(shell, step, context.signal);
  return moved;
}

/** As `fromRunning`, of the files of a source that stands still. */
async function fromStopped(
  shell: Shell,
  virsh: Virsh,
  step: FillLayersStep,
  context: StepContext,
  report: Report,
): Promise<number> {
  const { signal } = context;
  const still = async (): Promise<void> => {
    await needStopped(virsh, step.source, signal);
    for (const [index, layer] of step.layers.entries())
      await needUnchanged(shell, layer.target, step.from[index]?.expects ?? []);
  };
  await still();
  context.result({ consistency: 'exact', pointAt: new Date().toISOString() });
  const moved = await compare(shell, step, context, report, (_layer, index) => {
    const from = step.from[index];
    if (!from)
      throw new OffshootError('internal', { publicMessage: 'The plan names no file of the source.' });
    return from;
  });
  await still();
  return moved;
}

/** Begins the change record of a stopped source, which must be as it was when its content was compared. */
export function beginRecordStep(shell: Shell, virsh: Virsh): StepHandler<BeginRecordStep> {
  return {
    async *run(step, { signal }) {
      yield { note: 'noting the point at the source' };
      await needStopped(virsh, step.source, signal);
      for (const disk of step.disks) {
        // Added by a run that was cut: it notes every write since, and was checked then.
        if (await hasBitmap(shell, disk.path, step.record, signal)) continue;
        await needUnchanged(shell, disk.target, disk.expects);
        await addBitmap(shell, disk.path, step.record, signal);
      }
      await adoptRecord(virsh, step, signal);
    },
    async undo(step, { signal }) {
      await shell.remove(step.scratch);
      await removeRecord(shell, virsh, step.source, step.record, signal);
      return undefined;
    },
  };
}

async function compare(
  shell: Shell,
  step: FillLayersStep,
  { signal }: StepContext,
  report: Report,
  contentOf: (layer: NewLayer, index: number) => { path: string; format: string },
): Promise<number> {
  const whole = step.layers.reduce((sum, layer) => sum + layer.virtualBytes, 0);
  let before = 0;
  let moved = 0;
  for (const [index, layer] of step.layers.entries()) {
    const content = contentOf(layer, index);
    const { onto, ontoFormat, virtualBytes } = layer;
    await storeDifference(
      shell,
      {
        to: partial(layer.to),
        content: content.path,
        contentFormat: content.format,
        onto,
        ontoFormat,
        virtualBytes,
      },
      {
        signal,
        onPercent: (percent) =>
          report({
            doneBytes: Math.round(((before + (virtualBytes * percent) / 100) / whole) * step.bytes),
            totalBytes: step.bytes,
            note: `comparing ${layer.target}`,
          }),
      },
    );
    before += virtualBytes;
    moved += await storedIn(shell, partial(layer.to), signal);
  }
  return moved;
}

/** libvirt removes the scratch files with the job; a job that never began may have left one. */
async function removePull(shell: Shell, step: FillLayersStep, signal: AbortSignal): Promise<void> {
  if ((await shell.stat(step.pull))?.type !== 'directory') return;
  for (const layer of step.layers) await shell.remove(scratchOf(step, layer));
  await shell.remove(socketOf(step));
  await removeEmpty(shell, step.pull, signal);
}

/** The files that the clone will write to, each on its layer. */
export function ownLayersStep(shell: Shell): StepHandler<OwnLayersStep> {
  return {
    async *run(step, { signal }) {
      yield { note: 'creating' };
      for (const disk of step.disks) {
        const { onto, ontoFormat, to, virtualBytes } = disk;
        await shell.mkdir(folderOf(to));
        // Of an earlier run that was cut: nothing can have been written to it, no definition names it yet.
        await shell.remove(to);
        await createOverlay(shell, { basePath: onto, baseFormat: ontoFormat, to, virtualBytes }, signal);
      }
    },
    async undo(step, { signal }) {
      const paths = step.disks.map((disk) => disk.to);
      const [first] = paths;
      return deleted(
        await removeOwn(shell, paths, first === undefined ? undefined : folderOf(first), signal),
      );
    },
  };
}

/** The swap: libvirt takes the whole new definition, or keeps the old one. */
export function redefineStep(virsh: Virsh, definitions: Definitions): StepHandler<RedefineStep> {
  return {
    async *run(step, { signal }) {
      yield { note: 'handing the definition to libvirt' };
      const state = await virsh.state(step.guest.uuid, signal);
      if (state === 'stopped') {
        await refuseWritten(virsh.shell, step);
        await virsh.define(step.xml, step.scratch, signal);
        definitions.learned(step.guest, step.xml);
        return;
      }
      throw state === undefined
        ? new OffshootError('not-found', {
            publicMessage: `The host knows no guest ${step.guest.name} any more.`,
            remedy: 'Reload the list of guests: it was removed by another hand.',
          })
        : new OffshootError('busy', {
            publicMessage: `${step.guest.name} was started meanwhile, so its disks were left as they are.`,
            remedy: 'Stop it, then try again.',
            retryable: true,
          });
    },
    async undo(step, { signal }) {
      await virsh.shell.remove(step.scratch);
      const state = await virsh.state(step.guest.uuid, signal);
      if (state === undefined) return undefined;
      if (state !== 'stopped') await refuseRunningOnNew(virsh, step, signal);
      await virsh.define(step.before, step.scratch, signal);
      definitions.learned(step.guest, step.before);
      return `${step.guest.name} has the disks it had before`;
    },
  };
}

/** It ran meanwhile: its new disks may not fit what it has now, and what it wrote was not asked about. */
async function refuseWritten(shell: Shell, { guest, expects = [] }: RedefineStep): Promise<void> {
  for (const { path, modifiedMs } of expects) {
    if ((await shell.stat(path))?.modifiedMs === modifiedMs) continue;
    throw new OffshootError('busy', {
      publicMessage: `${guest.name} was started by another hand and has written meanwhile, so it was left as it is.`,
      remedy: 'Try again.',
      retryable: true,
      context: { path },
    });
  }
}

/** Its new disks must not go while a guest writes to them. */
async function refuseRunningOnNew(virsh: Virsh, step: RedefineStep, signal: AbortSignal): Promise<void> {
  const live = await virsh.maybe(['dumpxml', '--domain', step.guest.uuid], { signal });
  const pathsIn = (xml: string): (string | undefined)[] => readDomain(xml).disks.map((disk) => disk.path);
  const before = new Set(pathsIn(step.before));
  const made = new Set(pathsIn(step.xml).filter((path) => !before.has(path)));
  if (live === undefined || !pathsIn(live).some((path) => made.has(path))) return;
  throw new OffshootError('busy', {
    publicMessage: `${step.guest.name} was started by another hand on its new disks, so it keeps them.`,
    remedy: 'Its old ones are still there; see its definition (virsh domblklist).',
  });
}

/** Rewrites headers alone: whichever of the two files it stands on, the guest reads the same. */
export function standOnStep(shell: Shell, virsh: Virsh): StepHandler<StandOnStep> {
  return {
    async *run(step, { signal }) {
      yield { note: 'rewriting its header' };
      await needStopped(virsh, step.guest, signal);
      for (const { own, to } of step.disks) await standOn(shell, own, to, signal);
    },
    async undo(step, { signal }) {
      await needStopped(virsh, step.guest, signal);
      for (const { own, before } of step.disks) await standOn(shell, own, before, signal);
      return undefined;
    },
  };
}

/**
 * Removes what is no longer to be put back to; at every moment all other generations read the same as before. What was
 * to be done is done by now, and what an undo would go back to may be gone: what can't be removed stays, as the guest's.
 */
export function settleStep(shell: Shell, virsh: Virsh): StepHandler<SettleStep> {
  return {
    async *run(step, context) {
      for (const [index, action] of step.actions.entries()) {
        yield { note: action.do === 'merge' ? 'merging an old state' : 'deleting an old state' };
        try {
          await settle(shell, action, context.signal);
        } catch (thrown) {
          const error = toOffshootError(thrown);
          if (context.signal.aborted || error.code === 'host-unreachable') throw error;
          // A later action may build on this one.
          const left = step.actions
            .slice(index)
            .map((each) => (each.do === 'remove' ? each.path : each.layer));
          context.log(`Files of older states stay until the next refresh: ${error.publicMessage}`);
          context.note('not all of it: older files stay until the next refresh');
          context.result({ left });
          break;
        }
      }
      if (step.source)
        for (const name of step.records) await removeRecordIfIdle(shell, virsh, step, name, context);
    },
    undo: () => Promise.resolve(undefined),
  };
}

/** An old record costs the source a little memory: a refresh that is done is not given up for it. */
async function removeRecordIfIdle(
  shell: Shell,
  virsh: Virsh,
  { source }: SettleStep,
  name: string,
  context: StepContext,
): Promise<void> {
  if (!source) return;
  try {
    await removeRecord(shell, virsh, source, name, context.signal);
  } catch (thrown) {
    if (context.signal.aborted || !(thrown instanceof OffshootError) || thrown.code === 'host-unreachable')
      throw thrown;
    context.log(`The change record ${name} stays until the next refresh: ${thrown.publicMessage}`);
  }
}

async function settle(shell: Shell, action: SettleAction, signal: AbortSignal): Promise<void> {
  if (action.do === 'remove') {
    await shell.remove(action.path);
    return;
  }
  if (!(await shell.stat(action.layer))) return; // done by an earlier run
  await mergeDown(shell, action.layer, signal);
  for (const dependent of action.dependents)
    if (await shell.stat(dependent))
      await standOn(shell, dependent, { path: action.below, format: action.belowFormat }, signal);
  await shell.remove(action.layer);
}
