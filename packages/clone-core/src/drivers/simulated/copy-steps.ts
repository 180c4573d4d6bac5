/** Step handlers of the simulated driver that make disks: copies and overlays. */
import type { Progress, StepContext, StepHandler } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import type { Clock } from './clock.ts';
import {
  freeBytes,
  OVERLAY_BYTES,
  type SimulatedFile,
  type SimulatedHost,
  type SimulatedState,
} from './host.ts';
import { ownFile, removeOwn, type Speed } from './own-files.ts';
import type { CopyStep, ImportStep, OverlayStep } from './step-types.ts';

interface CopyJob {
  to: string;
  owner: string;
  bytes: number;
  virtualBytes: number;
  source(state: SimulatedState): { content: string };
}

async function* copy(
  host: SimulatedHost,
  speed: Speed,
  clock: Clock,
  job: CopyJob,
  { signal }: StepContext,
): AsyncGenerator<Progress> {
  const state = await host.look();
  const present = ownFile(state, job.to, job.owner);
  if (present && !present.partial) {
    yield { doneBytes: job.bytes, totalBytes: job.bytes };
    return;
  }
  job.source(state);
  if (freeBytes(state) + (present?.allocatedBytes ?? 0) < job.bytes) {
    throw new OffshootError('no-space', {
      publicMessage: 'The store of the simulated host has become too full for this copy.',
      remedy: 'Delete guests you no longer need, then retry.',
    });
  }
  await host.change((now) => {
    now.files[job.to] = {
      content: '',
      virtualBytes: job.virtualBytes,
      allocatedBytes: 0,
      partial: true,
      owner: job.owner,
    };
  });
  for (let done = 0; done < job.bytes;) {
    await clock.sleep(speed.tickMs, signal);
    done = Math.min(job.bytes, done + Math.max(1, Math.round((speed.copyRate * speed.tickMs) / 1000)));
    await host.touch((now) => {
      const file = now.files[job.to];
      if (file) file.allocatedBytes = done;
    });
    yield { doneBytes: done, totalBytes: job.bytes };
  }
  await host.change((now) => {
    const { content } = job.source(now);
    now.files[job.to] = {
      content,
      virtualBytes: job.virtualBytes,
      allocatedBytes: job.bytes,
      owner: job.owner,
    };
  });
}

export function copyHandler(host: SimulatedHost, speed: Speed, clock: Clock): StepHandler<CopyStep> {
  return {
    async *run(step, context) {
      const source = (state: SimulatedState): SimulatedFile => {
        const guest =
          step.stoppedSource && state.guests.find((each) => each.uuid === step.stoppedSource?.uuid);
        if (step.stoppedSource && guest?.state !== 'stopped') {
          throw new OffshootError('source-changed', {
            publicMessage: `${step.stoppedSource.name} was stopped when this was planned and is not any more.`,
            remedy: 'Clone again: the new plan takes it as it is now.',
          });
        }
        const file = state.files[step.from];
        if (file) return file;
        throw new OffshootError('source-missing', {
          publicMessage: `The source’s disk ${step.from} is gone.`,
          remedy: 'Choose another source, or bring the disk back.',
        });
      };
      const { to, owner, bytes, virtualBytes } = step;
      yield* copy(host, speed, clock, { to, owner, bytes, virtualBytes, source }, context);
      context.result({
        movedBytes: context.plan.estimates.moveBytes,
        storedBytes: context.plan.estimates.storeBytes,
        ...(context.plan.consistency === 'exact' ? { consistency: 'exact' } : {}),
      });
    },
    undo: (step) => removeOwn(host, step.to, step.owner),
  };
}

export function importHandler(host: SimulatedHost, speed: Speed, clock: Clock): StepHandler<ImportStep> {
  return {
    async *run(step, context) {
      const source = (state: SimulatedState): { content: string; virtualBytes: number } => {
        const image = state.images[step.image];
        if (image) return image;
        throw new OffshootError('source-missing', {
          publicMessage: `The image ${step.image} is gone.`,
          remedy: 'Bring it back, or name another.',
          field: 'imagePath',
        });
      };
      const { to, owner, bytes } = step;
      const { virtualBytes } = source(await host.look());
      yield* copy(host, speed, clock, { to, owner, bytes, virtualBytes, source }, context);
      context.result({ movedBytes: bytes, storedBytes: bytes });
    },
    undo: (step) => removeOwn(host, step.to, step.owner),
  };
}

export function overlayHandler(host: SimulatedHost, speed: Speed, clock: Clock): StepHandler<OverlayStep> {
  return {
    async *run(step, context) {
      await clock.sleep(speed.latencyMs, context.signal);
      await host.change((state) => {
        if (ownFile(state, step.to, step.owner)) return;
        const base = state.files[step.base];
        if (!base) {
          throw new OffshootError('source-missing', {
            publicMessage: `The base ${step.base} is gone.`,
            remedy: 'Clone from another template version.',
          });
        }
        state.files[step.to] = {
          content: base.content,
          virtualBytes: base.virtualBytes,
          allocatedBytes: OVERLAY_BYTES,
          backing: step.base,
          owner: step.owner,
        };
      });
      context.result({
        movedBytes: 0,
        storedBytes: context.plan.estimates.storeBytes,
        strategy: 'overlay',
        consistency: 'exact',
      });
      yield {};
    },
    undo: (step) => removeOwn(host, step.to, step.owner),
  };
}
