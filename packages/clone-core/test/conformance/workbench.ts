/** How conformance cases plan, run, cut, resume and undo. */
import { createHash } from 'node:crypto';
import { cloneOptionsSchema, type CloneOptions } from '../../src/contract.ts';
import type {
  CapturedBase,
  GuestRef,
  IdSource,
  OperationRequest,
  Plan,
  Progress,
  Step,
  StepContext,
  StepHandler,
} from '../../src/driver.ts';
import type { AnyDriver } from '../../src/drivers/registry.ts';
import { OffshootError } from '../../src/errors.ts';
import { execute, type Outcome, type StartingPoint } from '../../src/execute.ts';
import { MemoryJournal } from './journal.ts';
import type { ConformanceRig, HostLook } from './rig.ts';

/** Ids that depend only on the seed: the same plan twice. */
export function seededIds(seed: string): IdSource {
  let n = 0;
  const next = (): string => createHash('sha256').update(`${seed} ${n++}`).digest('hex');
  return {
    uuid: () => {
      const hex = next();
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
    },
    mac: (taken) => {
      for (;;) {
        const hex = next();
        const mac = `52:54:00:${hex.slice(0, 2)}:${hex.slice(2, 4)}:${hex.slice(4, 6)}`;
        if (!taken.has(mac)) return mac;
      }
    },
  };
}

export const options = (part: Partial<CloneOptions> = {}): CloneOptions => ({
  ...cloneOptionsSchema.parse({}),
  start: false,
  ...part,
});

export const cloneOf = (
  guest: GuestRef,
  name: string,
  part: Partial<CloneOptions> = {},
): OperationRequest & { kind: 'clone' } => ({
  kind: 'clone',
  source: { type: 'guest', guest },
  mode: 'full',
  name,
  options: options(part),
  index: 0,
});

const never = new AbortController().signal;

/** Inspects and plans; the plan goes through JSON, as it does through the database. */
export async function planOf(
  driver: AnyDriver,
  request: OperationRequest,
  seed: string = request.kind,
): Promise<Plan> {
  const facts = await driver.inspect(request, never);
  const plan: Plan = JSON.parse(JSON.stringify(driver.plan(request, facts, seededIds(seed))));
  return plan;
}

export async function perform(
  driver: Pick<AnyDriver, 'steps'>,
  plan: Plan,
  journal = new MemoryJournal(),
  signal = new AbortController().signal,
  from?: StartingPoint,
): Promise<Outcome> {
  return execute(plan, driver, journal, { operationId: 'conformance', signal, ...(from ? { from } : {}) });
}

/** Performs and expects it to finish. */
export async function finish(
  driver: AnyDriver,
  plan: Plan,
): Promise<Extract<Outcome, { state: 'finished' }>> {
  const outcome = await perform(driver, plan);
  if (outcome.state === 'finished') return outcome;
  throw outcome.state === 'failed' ? outcome.error : new Error('it was cancelled');
}

/** Plans and performs with ids of its own. */
export async function make(
  rig: Pick<ConformanceRig, 'driver'>,
  request: OperationRequest,
  seed: string,
): Promise<{ plan: Plan; outcome: Extract<Outcome, { state: 'finished' }> }> {
  const driver = rig.driver();
  const plan = await planOf(driver, request, seed);
  return { plan, outcome: await finish(driver, plan) };
}

/** What a plan made, as `delete` wants it. */
export const ownedBy = (plan: Plan): string[] =>
  plan.creates.flatMap((made) => (made.type === 'file' ? [made.name] : []));

/** The reset of what a plan made, on the base it stands on. */
export function resetOf(plan: Plan, base: CapturedBase): OperationRequest & { kind: 'reset' } {
  if (!plan.guest) throw new Error('this plan makes no guest');
  const guest = { uuid: plan.guest.uuid, name: plan.guest.name };
  const owned = ownedBy(plan);
  return { kind: 'reset', guest, label: 'a base', base, owned, waitForAgent: false, agentTimeoutSeconds: 60 };
}

/** Deletes a clone with everything its plan made. */
export async function destroyClone(rig: Pick<ConformanceRig, 'driver'>, plan: Plan): Promise<void> {
  if (!plan.guest) throw new Error('this plan makes no guest');
  const guest = { uuid: plan.guest.uuid, name: plan.guest.name };
  await make(rig, { kind: 'delete', guest, owned: ownedBy(plan) }, `delete ${guest.uuid}`);
}

export type Moment = 'before' | 'during' | 'after';
/** `before`: recorded as started, nothing done. `during`: at its first progress. `after`: done, not recorded as done. */
export const moments: readonly Moment[] = ['before', 'during', 'after'];

/**
 * Performs until the moment of the step, where the signal aborts with the reason. What `execute` then makes of it is
 * returned; a cut that is no cancel gives undefined.
 */
export async function performUntil(
  driver: AnyDriver,
  plan: Plan,
  at: { step: number; moment: Moment },
  reason: OffshootError,
  journal: MemoryJournal,
): Promise<Outcome | undefined> {
  const controller = new AbortController();
  const cut = (): void => controller.abort(reason);
  journal.onCall = (call) => {
    if (at.moment === 'before' && call.call === 'stepStarted' && call.index === at.step) cut();
  };
  const target = plan.steps[at.step];
  const handlers = new Map<string, StepHandler<Step>>(Object.entries(driver.steps));
  const steps = Object.fromEntries(
    [...handlers].map(([kind, handler]) => [kind, cutting(handler, target, at.moment, cut)]),
  );
  try {
    return await perform({ steps }, plan, journal, controller.signal);
  } catch (thrown) {
    if (thrown === reason) return undefined;
    throw thrown;
  } finally {
    journal.onCall = () => undefined;
  }
}

function cutting(
  handler: StepHandler<Step>,
  target: Step | undefined,
  moment: Moment,
  cut: () => void,
): StepHandler<Step> {
  return {
    async *run(step: Step, context: StepContext): AsyncIterable<Progress> {
      if (step !== target || moment === 'before') {
        yield* handler.run(step, context);
        return;
      }
      for await (const progress of handler.run(step, context)) {
        yield progress;
        if (moment === 'during') cut();
      }
      cut();
    },
    undo: (step, context) => handler.undo(step, context),
  };
}

export const workerStopped = (): OffshootError =>
  new OffshootError('lost-claim', { publicMessage: 'The worker is shutting down.' });
export const userCancelled = (): OffshootError =>
  new OffshootError('cancelled', { publicMessage: 'Cancelled.' });

/** A host as it is, as one value to compare. */
export async function snapshot(rig: ConformanceRig): Promise<HostLook & { processes: number }> {
  return { ...(await rig.look()), processes: await rig.processes() };
}

/** Host, definition and content of a clone, as one value to compare. */
export async function stateOf(rig: ConformanceRig, name: string): Promise<unknown> {
  return {
    host: await snapshot(rig),
    definition: await rig.definition(name),
    content: await rig.content(name),
    running: await rig.isRunning(name),
  };
}

/** Undo of all steps from the last, as execute would do it. */
export async function undoAll(driver: AnyDriver, plan: Plan): Promise<Outcome> {
  const journal = new MemoryJournal();
  return perform(driver, plan, journal, undefined, {
    nextStep: plan.steps.length,
    undoing: { cancelled: true },
  });
}
