/**
 * Step: sees by the agent that a clone is itself inside, and only then connects its network. What it finds is the
 * operation's result, no failure: a clone that is not itself stays as it is, for people to look at (decision 0021).
 */
import type { Progress, StepContext, StepHandler } from '../../../driver.ts';
import { OffshootError } from '../../../errors.ts';
import type { AttestedIdentity, IdentityOutcome } from '../../../identity/contract.ts';
import { judge } from '../../../identity/judge.ts';
import { addressOf, agentAnswers } from '../agent.ts';
import { askIdentity, becomeItself, goOnline, settle, stopWaiting } from '../guest-identity.ts';
import { holdOn, release, setLinks } from '../holding.ts';
import type { Reader } from '../inspect.ts';
import type { AttestStep } from '../types.ts';
import { pause } from './reporting.ts';

/** Between two questions, milliseconds. */
const ASK_MS = 250;
/** Between two looks whether it still runs, milliseconds. */
const LOOK_MS = 2000;

type Judged = Pick<IdentityOutcome, 'verdict' | 'problems'> & { attested?: AttestedIdentity };

export function attestStep(
  reader: Pick<Reader, 'shell' | 'virsh' | 'definitions' | 'store'>,
): StepHandler<AttestStep> {
  return {
    async *run(step, context) {
      const judged = yield* untilItself(reader, step, context);
      const { policy } = step.awaiting.outcome;
      const itself = judged.verdict === 'attested';
      const found = { ...step.awaiting.outcome, ...judged };
      if (!itself && policy === 'strict') {
        context.result({ identity: found });
        context.note(`its network stays off: ${judged.problems[0] ?? 'nothing was attested'}`);
        return;
      }
      yield { note: 'connecting its network' };
      const linkUpAt = await connect(reader, step, itself, context);
      // With the policy `off` they were never down.
      context.result({ identity: policy === 'off' ? found : { ...found, linkUpAt } });
      context.note(itself ? 'it is itself' : `connected all the same: ${judged.problems[0] ?? ''}`);
      const address = await addressOf(reader.virsh, step.guest.uuid, context.signal);
      if (address !== undefined) context.result({ address });
    },
    // It only asked; what it changed goes with the guest, or is how the guest should be.
    undo: () => Promise.resolve(undefined),
  };
}

/** Asks until the guest is itself, or the deadline is over: in the middle of a question too. */
async function* untilItself(
  { virsh }: Pick<Reader, 'virsh'>,
  step: AttestStep,
  context: StepContext,
): AsyncGenerator<Progress, Judged> {
  const { uuid } = step.guest;
  const { awaiting } = step;
  const began = performance.now();
  // To whoever asks, it is an agent's silence.
  const late = new OffshootError('timeout', { publicMessage: 'Its agent did not answer in time.' });
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(late), awaiting.deadlineSeconds * 1000);
  const signal = AbortSignal.any([context.signal, deadline.signal]);
  let nextLook = began + LOOK_MS;
  let first = true;
  let settled = false;
  // Something was done inside: what came of it is asked once, deadline or not.
  let due = false;
  let judged: Judged = judge({ decided: awaiting.outcome.decided, changed: awaiting.outcome.changed });
  try {
    for (;;) {
      const waited = Math.round((performance.now() - began) / 1000);
      if (deadline.signal.aborted && !due) return judged;
      const asking = due ? context.signal : signal;
      if (performance.now() >= nextLook) {
        nextLook = performance.now() + LOOK_MS;
        if ((await virsh.state(uuid, asking)) === 'stopped')
          return {
            ...judged,
            problems: ['It stopped by itself before it was attested.', ...judged.problems],
          };
      }
      if (await agentAnswers(virsh, uuid, asking)) {
        if (first) {
          first = false;
          context.result({ agentMs: Math.max(1, Math.round(performance.now() - began)) });
          if (awaiting.take) {
            yield { note: 'giving it its own name, MAC and secrets' };
            // No question, and cut short it would leave a twin of its source, which `warn` connects: it has a time of its own.
            const problem = await becomeItself(virsh, step, context);
            if (problem !== undefined) return { ...judged, verdict: 'mismatch', problems: [problem] };
            due = true;
          } else if (!awaiting.windows) await stopWaiting(virsh, uuid, signal);
        }
        const attested = await askIdentity(virsh, uuid, due ? context.signal : signal, awaiting.windows);
        due = false;
        if (attested) {
          const { decided, changed } = awaiting.outcome;
          if (!settled && awaiting.drive && attested.cloudInitInstance === decided.instanceId) {
            await settle(virsh, step, context.signal);
            settled = true;
            due = true;
            continue;
          }
          judged = { ...judge({ decided, changed, attested, source: awaiting.source }), attested };
          if (judged.verdict === 'attested') return judged;
        }
      }
      yield {
        note:
          judged.verdict === 'silent'
            ? `waiting for the guest agent (${waited} s)`
            : `not itself yet (${waited} s): ${judged.problems[0] ?? ''}`,
      };
      await pause(ASK_MS, signal);
    }
  } catch (thrown) {
    if (thrown !== late) throw thrown;
    return judged;
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves to when its links went up. */
async function connect(
  reader: Pick<Reader, 'shell' | 'virsh' | 'definitions' | 'store'>,
  { guest, awaiting }: AttestStep,
  itself: boolean,
  { signal }: StepContext,
): Promise<string> {
  const { virsh } = reader;
  // Before, so that no frame of the guest is older.
  const linkUpAt = new Date().toISOString();
  await setLinks(virsh, guest, awaiting.links, 'up', signal);
  if (itself) await release(reader, guest, signal);
  else await holdOn(reader, guest, { ...awaiting, links: [] }, signal);
  await goOnline(virsh, guest.uuid, awaiting.outcome.decided.hostname, signal);
  return linkUpAt;
}
