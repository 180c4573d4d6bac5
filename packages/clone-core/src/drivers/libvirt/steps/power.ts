/** Steps that start and stop guests. */
import type { StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import { addressOf, agentAnswers } from '../agent.ts';
import { holdOn, type HoldParts } from '../holding.ts';
import type { StartStep, StopStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';
import { pause } from './reporting.ts';

/** Between two questions to an agent that is not up yet, milliseconds. */
const ASK_MS = 250;
/** A guest that boots ignores the power button: it is pressed again, milliseconds. */
const PRESS_AGAIN_MS = 10_000;

export function startStep(reader: HoldParts): StepHandler<StartStep> {
  const { virsh } = reader;
  return {
    async *run(step, context) {
      const { signal } = context;
      const { uuid, name } = step.guest;
      yield { note: 'starting' };
      const began = performance.now();
      const state = await virsh.state(uuid, signal);
      if (state === 'paused') await virsh.run(['resume', '--domain', uuid], { signal });
      else if (state !== 'running') await start(virsh, uuid, signal);
      if (step.notes) await holdOn(reader, step.guest, { ...step.notes, started: true }, signal);
      if (step.agentSeconds === undefined) return;
      let nextLook = began;
      while (!(await agentAnswers(virsh, uuid, signal))) {
        const waited = Math.round((performance.now() - began) / 1000);
        if (waited >= step.agentSeconds) throw silent(name, step.agentSeconds);
        if (performance.now() >= nextLook) {
          nextLook += 2000;
          if ((await virsh.state(uuid, signal)) === 'stopped') throw stopped(name);
        }
        yield { note: `waiting for the guest agent (${waited} s)` };
        await pause(ASK_MS, signal);
      }
      const agentMs = Math.max(1, Math.round(performance.now() - began));
      const address = await addressOf(virsh, uuid, signal);
      context.result({ agentMs, ...(address === undefined ? {} : { address }) });
    },
    // A guest that the plan did not make stays as it is: switching it off could lose someone's work.
    async undo(step, { signal }) {
      if (!step.ours) return undefined;
      return (await virsh.destroy(step.guest.uuid, signal)) ? `switched off ${step.guest.name}` : undefined;
    },
  };
}

async function start(virsh: Virsh, uuid: string, signal: AbortSignal): Promise<void> {
  try {
    await virsh.start(uuid, signal);
  } catch (thrown) {
    const now = await virsh.state(uuid, signal);
    if (now !== 'running') throw thrown; // else another hand was faster
  }
}

export const silent = (name: string, seconds: number): OffshootError =>
  new OffshootError('agent-silent', {
    publicMessage: `${name} runs, but its guest agent did not answer within ${seconds} s.`,
    remedy:
      'See on its screen whether it booted (virt-viewer on its host); without qemu-guest-agent in it, don’t wait for one.',
    retryable: true,
  });
export const stopped = (name: string): OffshootError =>
  new OffshootError('agent-silent', {
    publicMessage: `${name} stopped by itself before its agent answered.`,
    remedy: 'Start it and look at its screen (virt-viewer on its host).',
  });

export function stopStep(virsh: Virsh): StepHandler<StopStep> {
  return {
    async *run(step, { signal }) {
      const { uuid, name } = step.guest;
      yield { note: step.force ? 'switching off' : 'asking the guest to shut down' };
      if (step.force) {
        await virsh.destroy(uuid, signal);
        return;
      }
      const began = performance.now();
      let nextPress = began;
      for (;;) {
        const state = await virsh.state(uuid, signal);
        if (state === undefined || state === 'stopped') return;
        const waited = Math.round((performance.now() - began) / 1000);
        if (waited >= step.timeoutSeconds) throw ignores(name, step.timeoutSeconds);
        if (performance.now() >= nextPress) {
          nextPress += PRESS_AGAIN_MS;
          await press(virsh, uuid, signal);
        }
        yield { note: `waiting for it to shut down (${waited} s)` };
        await pause(ASK_MS, signal);
      }
    },
    async undo(step, { signal }) {
      if (step.startAgain !== true || (await virsh.state(step.guest.uuid, signal)) !== 'stopped')
        return undefined;
      await start(virsh, step.guest.uuid, signal);
      return `started ${step.guest.name} again`;
    },
  };
}

/** Through the agent when it answers, else the power button. */
async function press(virsh: Virsh, uuid: string, signal: AbortSignal): Promise<void> {
  try {
    await virsh.run(['shutdown', '--domain', uuid], { signal });
  } catch (thrown) {
    const state = await virsh.state(uuid, signal);
    if (state !== undefined && state !== 'stopped') throw thrown;
  }
}

const ignores = (name: string, seconds: number): OffshootError =>
  new OffshootError('timeout', {
    publicMessage: `${name} did not shut down within ${seconds} s; it still runs.`,
    remedy: 'Look at its screen (virt-viewer on its host), or switch it off.',
    retryable: true,
  });
