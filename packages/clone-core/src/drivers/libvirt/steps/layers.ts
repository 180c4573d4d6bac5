/** Steps of a refresh: the new layers, and the clone's own files on them. */
import { checkpointXml, pullXml, pushXml } from '../../../disks/backup.ts';
import { checkLayer, storeDifference, storedIn } from '../../../disks/layers.ts';
import { createOverlay } from '../../../disks/overlay.ts';
import type { Progress, StepContext, StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Shell } from '../../../shell/shell.ts';
import { addBitmap, adoptRecord, hasBitmap, removeRecord } from '../records.ts';
import type { BeginRecordStep, FillLayersStep, NewLayer, OwnLayersStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';
import {
  beginJob,
  endJob,
  followJob,
  removeScratch,
  type BackupJob,
  type JobDefinition,
} from './backup-job.ts';
import { needStopped, needUnchanged } from './copy.ts';
import { complete, deleted, folderOf, partial, removeEmpty, removeOwn } from './own-files.ts';
import { reporting } from './reporting.ts';
import { together } from './together.ts';
import type { Turns } from './turns.ts';

type Report = (progress: Progress) => void;

/** Makes the new layers beside the old ones. Nothing that the clone uses now is opened for writing. */
export function fillLayersStep(shell: Shell, virsh: Virsh, jobs: Turns): StepHandler<FillLayersStep> {
  const clear = async (step: FillLayersStep, signal: AbortSignal): Promise<string[]> => {
    if (step.way !== 'compare-stopped') await endJob(virsh, jobOf(step), signal);
    await removePull(shell, step, signal);
    if (step.record !== undefined) await removeRecord(shell, virsh, step.source, step.record, signal);
    await removeScratch(shell, step);
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
        // Written back while they are checked.
        await together(
          step.layers.flatMap(({ to }) => [
            checkLayer(shell, partial(to), context.signal),
            shell.sync(partial(to)),
          ]),
        );
        await together(step.layers.map(({ to }) => complete(shell, to)));
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
  const prepare = async (): Promise<void> => {
    await together(
      step.layers.map(({ onto, ontoFormat, virtualBytes, to }) =>
        createOverlay(
          shell,
          { basePath: onto, baseFormat: ontoFormat, to: partial(to), virtualBytes },
          signal,
        ),
      ),
    );
  };
  const disks = step.layers.map((layer) => ({ target: layer.target, to: partial(layer.to) }));
  const { since, excluded } = step;
  if (since === undefined)
    throw new OffshootError('internal', { publicMessage: 'The plan names no record.' });
  const backup = pushXml({ disks, excluded, since });
  const job: JobDefinition = { backup, ...checkpointOf(step), reuse: true, prepare };
  const look = await beginJob(virsh, jobOf(step), job, context);
  const moved = await followJob(virsh, jobOf(step), look, signal, ({ done, total }) =>
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
      await together(
        step.disks.map(async ({ onto, ontoFormat, to, virtualBytes }) => {
          await shell.mkdir(folderOf(to));
          // Of an earlier run that was cut: nothing can have been written to it, no definition names it yet.
          await shell.remove(to);
          await createOverlay(shell, { basePath: onto, baseFormat: ontoFormat, to, virtualBytes }, signal);
        }),
      );
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
