/** How a guest gets its identity, what that changes and what it leaves: chosen from facts, and said before it happens. Pure. */
import type { Refusal } from '../driver.ts';
import { OffshootError } from '../errors.ts';
import { agentsToReset } from './agents.ts';
import type { GuestInside, IdentityOptions, IdentityWay, LinkPolicy } from './contract.ts';
import { IDENTITY_FIELD } from './static-address.ts';
import { beyondSubset, effectsOf, refuseUnmet } from './ways-effects.ts';
import { notesOf } from './ways-notes.ts';
import type { Chosen, HypervisorCan, WayChoice, WayQuestion } from './ways-question.ts';

export type { HypervisorCan, WayChoice, WayQuestion } from './ways-question.ts';

/**
 * Chooses. Throws `invalid-input` with field and remedy for what was asked for and can't be had: policy `strict` or `warn`
 * where no agent would attest, another policy than `strict` for a clone with memory, users or an address where nothing inside can
 * be changed.
 */
export function chooseWay(question: WayQuestion): WayChoice {
  const { options, inside } = question;
  const agent = question.can.agent === true && (question.agentAnswers === true || inside?.agent === true);
  const chosen = chooseFrom(question, agent);
  const policy = policyOf(question, chosen, agent);
  const resets = agentsToReset(
    options.agents,
    question.mode === 'memory' && inside === undefined ? undefined : inside?.agents,
    question.agents,
  );
  const { changed, kept } = effectsOf(question, chosen, resets);
  refuseUnmet(options, chosen, kept);
  const choice = { way: chosen.way, editsToo: chosen.editsToo, policy, agent, changed, kept, resets };
  return { ...choice, notes: notesOf(choice, question, chosen.why) };
}

function chooseFrom(question: WayQuestion, agent: boolean): Chosen {
  const { can, inside, mode, options } = question;
  const chosen = (way: IdentityWay, more: Partial<Chosen> = {}): Chosen => ({
    way,
    editsToo: false,
    ...more,
  });
  if (mode === 'memory') {
    if (can.agent !== true)
      throw unavailable('A clone with memory gets its identity by its agent', can.agent);
    return chosen('agent');
  }
  if (inside?.kind === 'windows') return chooseWindows(inside, can, options, chosen);
  const editable = can.edit === true && inside?.root !== undefined && inside.notEditable === undefined;
  const offline = inside?.kind === 'linux' && editable;
  if (inside?.kind === 'linux') {
    if (inside.seedReader !== undefined && can.drive === true) {
      const subset = inside.seedReader === 'nocloud-subset';
      if (!(subset && offline && beyondSubset(options)))
        return chosen('seed', { editsToo: offline && !subset });
    }
    if (offline) return chosen('offline');
  }
  if (agent && question.start) return chosen('agent');
  return chosen('none', { why: whyNone(question, agent) });
}

function chooseWindows(
  inside: GuestInside,
  can: HypervisorCan,
  options: IdentityOptions,
  chosen: (way: IdentityWay, more?: Partial<Chosen>) => Chosen,
): Chosen {
  const sealed = inside.windows?.generalized === true;
  if (can.drive !== true) return chosen('none', { why: can.drive.why });
  // cloudbase-init joins no domain.
  if (inside.seedReader === 'cloudbase-init' && !options.windows?.join) return chosen('seed');
  if (sealed) return chosen('unattend');
  return chosen('none', { why: 'this Windows was not generalized with sysprep' });
}

function whyNone(question: WayQuestion, agent: boolean): string {
  const { inside, can } = question;
  if (!inside) return 'what is in its disks is not known, and no guest agent answers in its source';
  if (inside.kind === 'unknown') return inside.why ?? 'what is in its disks can’t be read';
  if (agent) return 'its agent can change it only when it is started';
  if (can.edit !== true) return can.edit.why;
  return (
    inside.notEditable ??
    'it has no cloud-init and no guest agent, and its disk is of a kind that is not edited here'
  );
}

function unavailable(what: string, refusal: Refusal): OffshootError {
  return new OffshootError('unavailable-mode', {
    publicMessage: `${what}, and here that can’t be: ${refusal.why}.`,
    remedy: refusal.remedy ?? 'Make a linked clone instead: it boots as a guest of its own.',
  });
}

function policyOf(question: WayQuestion, chosen: Chosen, agent: boolean): LinkPolicy {
  const { options, mode, nics, start } = question;
  const asked = options.policy;
  const refuse = (publicMessage: string, remedy: string): OffshootError =>
    new OffshootError('invalid-input', { publicMessage, remedy, field: `${IDENTITY_FIELD}.policy` });
  if (mode === 'memory') {
    if (asked !== undefined && asked !== 'strict')
      throw refuse(
        'A clone with memory is its source until its agent has changed it: on the network before that, both would break.',
        'Leave the policy on strict, or make a linked clone.',
      );
    return 'strict';
  }
  if (asked === 'off' || asked === undefined)
    return asked ?? (agent && start && nics > 0 && chosen.way !== 'none' ? 'strict' : 'off');
  if (!agent)
    throw refuse(
      `The network can’t wait for a proof here: ${
        question.can.agent === true
          ? question.inside || question.agentAnswers !== undefined
            ? 'no guest agent was found in the source'
            : 'whether a guest agent is in the source is not known'
          : question.can.agent.why
      }.`,
      'Set the policy to off, or install qemu-guest-agent in the source and clone again.',
    );
  return asked;
}
