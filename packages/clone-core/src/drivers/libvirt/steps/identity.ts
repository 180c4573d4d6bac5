/** Step: a clone that went on from its source's memory becomes a guest of its own, and only then gets its network. */
import { randomBytes } from 'node:crypto';
import type { StepContext, StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import { agentAnswers, runInGuest } from '../agent.ts';
import { goOnline, LINK_IS_UP, NO_SUCH_NIC, takeIdentity } from '../../../identity/scripts.ts';
import type { TakeIdentityStep } from '../types.ts';
import type { Virsh } from '../virsh.ts';
import { silent, stopped } from './power.ts';
import { pause } from './reporting.ts';

/** The agent was running when the memory was saved: it answers as soon as the guest does. */
const ASK_MS = 50;
/** New SSH host keys take seconds in an emulated guest. */
const SCRIPT_MS = 120_000;
const SEED_BYTES = 256;

export function takeIdentityStep(virsh: Virsh): StepHandler<TakeIdentityStep> {
  return {
    async *run(step, context) {
      const { signal } = context;
      const { uuid, name } = step.guest;
      const began = performance.now();
      while (!(await agentAnswers(virsh, uuid, signal))) {
        const waited = Math.round((performance.now() - began) / 1000);
        if (waited >= step.agentSeconds) throw silent(name, step.agentSeconds);
        if ((await virsh.state(uuid, signal)) === 'stopped') throw stopped(name);
        yield { note: `waiting for the guest agent (${waited} s)` };
        await pause(ASK_MS, signal);
      }
      const agentMs = Math.max(1, Math.round(performance.now() - began));
      yield { note: 'giving it its own name, MAC and secrets' };
      await becomeItself(virsh, step, context);
      for (const nic of step.nics.filter((each) => each.up))
        await virsh.run(['domif-setlink', '--domain', uuid, '--interface', nic.mac, '--state', 'up'], {
          signal,
        });
      const online = { path: '/bin/sh', args: ['-c', goOnline, 'offshoot', step.hostname] };
      await runInGuest(virsh, uuid, { ...online, timeoutMs: SCRIPT_MS }, signal);
      // Its address comes later, by the inventory: DHCP takes its time.
      context.result({ agentMs });
    },
    // What is inside goes with the guest's disks.
    undo: () => Promise.resolve(undefined),
  };
}

/** Throws `agent-silent` when the guest is not itself afterwards, by what it says of itself. */
async function becomeItself(virsh: Virsh, step: TakeIdentityStep, context: StepContext): Promise<void> {
  const { name } = step.guest;
  const { code, stdout, stderr } = await runInGuest(
    virsh,
    step.guest.uuid,
    {
      path: '/bin/sh',
      args: [
        '-c',
        takeIdentity,
        'offshoot',
        step.hostname,
        step.machineId,
        String(Math.round(Date.now() / 1000)),
        ...step.nics.map((nic) => `${nic.was}/${nic.mac}`),
      ],
      input: randomBytes(SEED_BYTES),
      timeoutMs: SCRIPT_MS,
    },
    context.signal,
  );
  if (stderr.trim() !== '') context.log(`inside the guest: ${stderr.trim().slice(0, 2000)}`);
  const has = (line: string): boolean => stdout.split('\n').includes(line);
  const missing = step.nics.find((nic) => !has(`mac ${nic.mac}`));
  if (code === 0 && has(`name ${step.hostname}`) && !missing) return;
  const why =
    code === LINK_IS_UP
      ? 'its network was connected before it had one'
      : code === NO_SUCH_NIC || missing
        ? 'inside it, a network card of its source is not to be found'
        : 'the commands that change it failed inside the guest';
  throw new OffshootError('agent-silent', {
    publicMessage: `${name} could not be given an identity of its own: ${why}. It was never on the network.`,
    remedy: 'Make a linked clone instead: it boots as a guest of its own.',
    context: { code, stdout, stderr },
  });
}
