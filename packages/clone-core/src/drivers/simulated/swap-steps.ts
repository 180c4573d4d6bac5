/** Step handlers of the simulated driver that put other files in the place of a guest's own. */
import type { StepHandler } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import type { Clock } from './clock.ts';
import type { SimulatedHost } from './host.ts';
import type { Speed } from './own-files.ts';
import type { DiscardStep, SwapStep } from './step-types.ts';

export function swapHandler(host: SimulatedHost, speed: Speed, clock: Clock): StepHandler<SwapStep> {
  return {
    async *run(step, { signal }) {
      await clock.sleep(speed.latencyMs, signal);
      await host.change(({ files }) => {
        for (const { live, fresh, kept } of step.swaps) {
          const [old, made] = [files[live], files[fresh]];
          if (files[kept] || !old || !made) continue;
          files[kept] = old;
          files[live] = made;
          delete files[fresh];
        }
      });
      yield {};
    },
    undo: (step) =>
      host.change(({ files }) => {
        let back = 0;
        for (const { live, kept } of step.swaps) {
          const old = files[kept];
          if (!old) continue;
          files[live] = old;
          delete files[kept];
          back++;
        }
        return back === 0 ? undefined : `put the disks of ${step.guest.name} back as before (simulated)`;
      }),
  };
}

export function discardHandler(host: SimulatedHost, speed: Speed, clock: Clock): StepHandler<DiscardStep> {
  return {
    async *run(step, { signal }) {
      yield { note: 'deleting' };
      await clock.sleep(speed.latencyMs, signal);
      await host.change(({ files }) => {
        for (const { kept } of step.swaps) delete files[kept];
      });
    },
    undo: (step) =>
      host.change(({ files }) => {
        const done = step.swaps.some(({ live, kept }) => !files[kept] && files[live]?.owner === step.owner);
        if (!done) return undefined;
        throw new OffshootError('internal', {
          publicMessage: `The old disks of ${step.guest.name} are already deleted and can’t be brought back; it has its new ones.`,
        });
      }),
  };
}
