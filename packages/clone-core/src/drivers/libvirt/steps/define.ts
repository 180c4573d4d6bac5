/** Steps that make and remove definitions. */
import type { StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { Definitions } from '../definitions.ts';
import type { DefineStep, UndefineStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';

export function defineStep(virsh: Virsh, definitions: Definitions): StepHandler<DefineStep> {
  return {
    async *run(step, context) {
      const { signal } = context;
      yield { note: 'handing the definition to libvirt' };
      if (step.identity) context.result({ identity: step.identity });
      try {
        await virsh.define(step.xml, step.scratch, signal);
      } catch (thrown) {
        if (!(thrown instanceof OffshootError) || thrown.code !== 'name-taken') throw thrown;
        throw new OffshootError('name-taken', {
          publicMessage: `There already is a guest named ${step.guest.name} on this host.`,
          remedy: 'Choose another name.',
          field: 'name',
          context: thrown.context,
          cause: thrown,
        });
      }
      definitions.learned(step.guest, step.xml);
    },
    // By the UUID that the plan made up: a guest of the same name but of another hand is never touched.
    async undo(step, { signal }) {
      await virsh.shell.remove(step.scratch);
      await virsh.destroy(step.guest.uuid, signal);
      const had = await virsh.undefine(step.guest.uuid, { tpm: step.undefineTpm, nvram: true }, signal);
      definitions.changed(step.guest.uuid);
      return had ? `removed ${step.guest.name} from the host` : undefined;
    },
  };
}

export function undefineStep(virsh: Virsh, definitions: Definitions): StepHandler<UndefineStep> {
  return {
    async *run(step, { signal }) {
      yield { note: 'removing the definition' };
      await virsh.undefine(step.guest.uuid, { tpm: step.tpm, nvram: step.nvram }, signal);
      definitions.changed(step.guest.uuid);
    },
    async undo(step, { signal }) {
      if ((await virsh.state(step.guest.uuid, signal)) !== undefined) return undefined;
      throw new OffshootError('internal', {
        publicMessage: `${step.guest.name} is already removed from the host and can’t be brought back.`,
      });
    },
  };
}
