/** Step handlers of the simulated driver that hold, seal and remove files. */
import type { StepHandler } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import type { Clock } from './clock.ts';
import { childrenOf, digestOf, usersOf, type SimulatedHost } from './host.ts';
import { ownFile, removeOwn, type Speed } from './own-files.ts';
import type { PointStep, ReleaseStep, RemoveFileStep, SealStep } from './step-types.ts';

export function pointHandler(host: SimulatedHost, speed: Speed, clock: Clock): StepHandler<PointStep> {
  return {
    async *run(step, context) {
      await clock.sleep(speed.latencyMs, context.signal);
      const hasAgent = await host.change((state) => {
        const guest = state.guests.find((each) => each.uuid === step.source.uuid);
        for (const { from, to } of step.points) {
          const file = state.files[from];
          if (!guest || !file) {
            throw new OffshootError('source-missing', {
              publicMessage: `${step.source.name} or its disk is gone.`,
              remedy: 'Choose another source.',
            });
          }
          if (!ownFile(state, to, step.owner))
            state.files[to] = { ...file, allocatedBytes: 0, readOnly: true, owner: step.owner };
        }
        return guest?.hasAgent ?? false;
      });
      const consistencyNote = hasAgent
        ? 'filesystem-consistent: the simulated agent froze 1 filesystem for 41 ms'
        : 'crash-consistent: no agent answered to freeze filesystems (simulated)';
      context.result({ consistency: hasAgent ? 'filesystem' : 'crash', consistencyNote });
      context.note(consistencyNote);
      yield {};
    },
    async undo(step) {
      for (const { to } of step.points) await removeOwn(host, to, step.owner);
      return undefined;
    },
  };
}

export function releaseHandler(host: SimulatedHost, speed: Speed, clock: Clock): StepHandler<ReleaseStep> {
  return {
    async *run(step, { signal }) {
      await clock.sleep(speed.latencyMs, signal);
      for (const path of step.paths) await removeOwn(host, path, step.owner);
      yield {};
    },
    undo: () => Promise.resolve(undefined), // what it takes away is nobody's but the plan's
  };
}

export function sealHandler(host: SimulatedHost, speed: Speed, clock: Clock): StepHandler<SealStep> {
  return {
    async *run(step, context) {
      await clock.sleep(speed.latencyMs, context.signal);
      const disks = await host.change((state) =>
        step.disks.map(({ target, path }) => {
          const file = ownFile(state, path, step.owner);
          if (!file)
            throw new OffshootError('source-missing', {
              publicMessage: `The copied disk ${path} is gone.`,
              remedy: 'Retry.',
            });
          file.readOnly = true;
          const { virtualBytes, allocatedBytes, content } = file;
          return { target, path, format: 'qcow2', digest: content, virtualBytes, allocatedBytes };
        }),
      );
      // Every capture keeps files of its own here, so that each is a base of its own, also of the same content.
      const digest = digestOf([...disks.map((disk) => disk.digest), step.owner].join());
      const { vcpus, memoryBytes, nics } = JSON.parse(step.definition) as {
        vcpus: number;
        memoryBytes: number;
        nics: string[];
      };
      const needs = { vcpus, memoryBytes, networks: [...new Set(nics)] };
      context.result({ base: { digest, definition: step.definition, disks, needs } });
      yield {};
    },
    undo: () => Promise.resolve(undefined), // the copies' own undo removes the disks
  };
}

export function removeFileHandler(
  host: SimulatedHost,
  speed: Speed,
  clock: Clock,
): StepHandler<RemoveFileStep> {
  return {
    async *run(step, { signal }) {
      await clock.sleep(speed.latencyMs, signal);
      await host.change((state) => {
        const users = [...usersOf(state, childrenOf(state, step.path)), ...usersOf(state, [step.path])];
        if (users.length > 0) {
          throw new OffshootError('in-use', {
            publicMessage: `${step.path} is in use by ${users.join(', ')}.`,
            remedy: 'Delete those guests first.',
          });
        }
        delete state.files[step.path];
      });
      yield {};
    },
    undo: () => Promise.resolve(undefined), // a deleted file can't come back; the plan says so before
  };
}
