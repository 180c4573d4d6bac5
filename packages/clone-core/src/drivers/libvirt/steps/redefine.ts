/** Steps that give a guest other disks, and its disks others to stand on. */
import { standOn } from '../../../disks/layers.ts';
import type { StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Shell } from '../../../shell/shell.ts';
import type { Definitions } from '../definitions.ts';
import { readDomain } from '../domain-read.ts';
import type { RedefineStep, StandOnStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';
import { needStopped } from './copy.ts';

/** The swap: libvirt takes the whole new definition, or keeps the old one. */
export function redefineStep(virsh: Virsh, definitions: Definitions): StepHandler<RedefineStep> {
  return {
    async *run(step, context) {
      const { signal } = context;
      yield { note: 'handing the definition to libvirt' };
      if (step.identity) context.result({ identity: step.identity });
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
