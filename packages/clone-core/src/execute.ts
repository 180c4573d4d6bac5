/**
 * The one loop that performs a plan: persists through a Journal, runs, reports, undoes. Knows interfaces only.
 */
import type { OperationResult, StepProgress, StepStatus, UndoReport } from './contract.ts';
import type { Driver, Plan, Step, StepContext, StepHandler } from './driver.ts';
import { OffshootError, toOffshootError } from './errors.ts';
import { ProgressMeter } from './progress.ts';

/**
 * Where execution is recorded. Every promise resolves only when the record is durable; any of them may reject with
 * `lost-claim`, which stops execution at once and without undo (another worker owns the operation now).
 */
export interface Journal {
  /** Durable before the step's first effect: after a crash this step may have half happened. */
  stepStarted(index: number): Promise<void>;
  /** @param begins the step after it, when its start is to be in the same record */
  stepFinished(
    index: number,
    note: string | undefined,
    result: OperationResult,
    begins?: number,
  ): Promise<void>;
  /**
   * Of the last step: resolves with what the record of the operation's end is to say of it (undefined: it is recorded already).
   * Until that record the step counts as begun, so that a crash has it run again.
   */
  lastFinished(
    index: number,
    note: string | undefined,
    result: OperationResult,
  ): Promise<StepStatus | undefined>;
  stepFailed(index: number, why: string): Promise<void>;
  /** Durable before the first undo: after a crash the undo goes on, never the plan. */
  undoStarted(reason: { cancelled: boolean; error?: OffshootError }): Promise<void>;
  stepUndoing(index: number): Promise<void>;
  stepUndone(index: number, outcome: { undone?: string; leftBehind?: string }): Promise<void>;
  /** May be dropped. */
  progress(index: number, progress: StepProgress): void;
  /** May be batched, never dropped. */
  log(index: number, line: string): void;
}

/** Where to begin: fresh plans at step 0; a resumed one at the first step not recorded as done. */
export interface StartingPoint {
  nextStep: number;
  /** That step was begun before, and may have half happened. */
  begun?: boolean;
  /** The record says that the step has begun, but this is its first run: it is begun by who says so. */
  recorded?: boolean;
  /** What an earlier run found: go on undoing instead of running. */
  undoing?: { cancelled: boolean; error?: OffshootError };
  result?: OperationResult;
}

export type Outcome =
  | { state: 'finished'; result: OperationResult; last?: { index: number; status: StepStatus } }
  | { state: 'failed'; error: OffshootError; undo: UndoReport; result: OperationResult }
  | { state: 'cancelled'; undo: UndoReport };

const UNDO_ATTEMPTS = 3;
/** Each undo gets its own deadline, because the operation's signal is usually aborted by then. */
const UNDO_DEADLINE_MS = 60_000;

export interface ExecuteOptions {
  operationId: string;
  /** Aborted by cancel (reason `cancelled`) or by shutdown/lost claim (any other OffshootError: no undo, work is given back). */
  signal: AbortSignal;
  from?: StartingPoint;
  now?: () => number;
}

/**
 * Performs the plan from `from.nextStep`. Resolves with the outcome once the steps are done or undone.
 * Rejects only when the work must be left as it is for later or someone else: `lost-claim`, the signal's reason when that
 * is not a cancel, or `host-unreachable` while undoing or past a step that can't be undone.
 */
export async function execute<S extends Step>(
  plan: Plan<S>,
  driver: Pick<Driver<S>, 'steps'>,
  journal: Journal,
  options: ExecuteOptions,
): Promise<Outcome> {
  const { operationId, signal } = options;
  const now = options.now ?? (() => performance.now());
  const from = options.from ?? { nextStep: 0 };
  let result: OperationResult = { ...from.result };
  let index = from.nextStep;
  let undoing = from.undoing;
  let committed =
    isCommitted(plan, from.begun === true ? index : index - 1) ||
    plan.steps.slice(0, index).some((step) => step.commits === true);
  const firm = withoutCancel(signal);

  const contextFor = (at: number, stepSignal: AbortSignal, onNote: (text: string) => void): StepContext => ({
    signal: stepSignal,
    operationId,
    plan,
    log: (line) => journal.log(at, line),
    result: (part) => {
      result = { ...result, ...part };
    },
    note: onNote,
  });

  if (!undoing) {
    let begun = from.recorded === true ? index : undefined;
    let last: { index: number; status: StepStatus } | undefined;
    for (; index < plan.steps.length; index++) {
      const step = stepAt(plan, index);
      const meter = new ProgressMeter(now);
      let note: string | undefined;
      const obeyed = (): AbortSignal => (committed ? firm : signal);
      try {
        throwIfAborted(obeyed());
        if (begun !== index) await journal.stepStarted(index);
        committed ||= step.irreversible === true;
        const context = contextFor(index, obeyed(), (text) => {
          note = text;
        });
        for await (const progress of handlerOf(driver, step).run(step, context)) {
          const report = meter.report(progress);
          if (report) journal.progress(index, report);
        }
        committed ||= step.commits === true;
        throwIfAborted(obeyed());
        const next = plan.steps[index + 1];
        if (next) {
          begun = startsWithRecord(next) ? index + 1 : undefined;
          await journal.stepFinished(index, note, result, begun);
        } else {
          const status = await journal.lastFinished(index, note, result);
          if (status) last = { index, status };
        }
      } catch (thrown) {
        const error = obeyed().aborted ? toOffshootError(obeyed().reason) : toOffshootError(thrown);
        if (mustLeaveAlone(error, obeyed())) throw error;
        // There is no way back, and the way on is open again when the host is.
        if (committed && error.code === 'host-unreachable') throw error;
        const cancelled = error.code === 'cancelled';
        undoing = cancelled ? { cancelled } : { cancelled, error };
        await journal.stepFailed(index, cancelled ? 'cancelled' : error.publicMessage);
        await journal.undoStarted(undoing);
        break;
      }
    }
    if (!undoing) return { state: 'finished', result, ...(last ? { last } : {}) };
  }

  const undo: UndoReport = { undone: [], leftBehind: [] };
  for (let at = Math.min(index, plan.steps.length - 1); at >= 0; at--) {
    const step = stepAt(plan, at);
    await journal.stepUndoing(at);
    const deadline = deadlineSignal(UNDO_DEADLINE_MS, `undoing "${step.title}"`);
    try {
      const context = contextFor(at, deadline.signal, () => undefined);
      const undone = await undoneAtLast(() => handlerOf(driver, step).undo(step, context), {
        signal: deadline.signal,
        log: (line) => journal.log(at, line),
      });
      if (undone !== undefined) undo.undone.push(undone);
      await journal.stepUndone(at, undone === undefined ? {} : { undone });
    } catch (thrown) {
      const error = toOffshootError(thrown);
      // Nobody can be asked what is left: the undo goes on when the host is back.
      if (error.code === 'lost-claim' || error.code === 'host-unreachable') throw error;
      const leftBehind = `${step.title}: ${error.publicMessage}`;
      undo.leftBehind.push(leftBehind);
      journal.log(at, `undo failed: ${error.publicMessage}`);
      await journal.stepUndone(at, { leftBehind });
      if (step.standsOnEarlier === true) {
        for (let earlier = at - 1; earlier >= 0; earlier--) {
          const kept = `${stepAt(plan, earlier).title}: kept, because the guest may be using it.`;
          undo.leftBehind.push(kept);
          await journal.stepUndone(earlier, { leftBehind: kept });
        }
        break;
      }
    } finally {
      deadline.clear();
    }
  }
  if (undoing.cancelled) return { state: 'cancelled', undo };
  const error =
    undoing.error ?? toOffshootError(new Error('the operation failed before its worker was restarted'));
  return { state: 'failed', error, undo, result };
}

/** A program that someone killed, or a moment's trouble, is no reason to leave anything behind: undoing is idempotent. */
async function undoneAtLast(
  undo: () => Promise<string | undefined>,
  { signal, log }: { signal: AbortSignal; log: (line: string) => void },
): Promise<string | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await undo();
    } catch (thrown) {
      const error = toOffshootError(thrown);
      const final = error.code === 'lost-claim' || error.code === 'host-unreachable' || signal.aborted;
      if (final || attempt === UNDO_ATTEMPTS) throw thrown;
      log(`undo failed, trying again: ${error.publicMessage}`);
    }
  }
}

function stepAt<S extends Step>(plan: Plan<S>, index: number): S {
  const step = plan.steps[index];
  if (!step)
    throw new OffshootError('internal', {
      publicMessage: 'The saved plan has fewer steps than were performed.',
      context: { index },
    });
  return step;
}

function handlerOf<S extends Step>(driver: Pick<Driver<S>, 'steps'>, step: S): StepHandler<S> {
  const table: Readonly<Partial<Record<string, unknown>>> = driver.steps;
  const handler = table[step.kind];
  if (handler === undefined) {
    throw new OffshootError('internal', {
      publicMessage: `This worker does not know the step "${step.title}".`,
      remedy: 'Update the worker: the operation was planned by another version.',
      context: { kind: step.kind },
    });
  }
  // The mapped type of Driver.steps guarantees that the handler under a step's own kind takes that step.
  return handler as StepHandler<S>;
}

/**
 * Whether its start may be recorded with what was before it. Not of a step that can't be undone: a cancel that comes
 * between would be too late, though nothing has happened.
 */
export const startsWithRecord = (step: Step): boolean => step.irreversible !== true;

/** Whether a step up to this one can't be undone. */
const isCommitted = (plan: Plan, upTo: number): boolean =>
  plan.steps.slice(0, upTo + 1).some((step) => step.irreversible === true);

/** Aborts as the signal does, but not for a cancel. */
function withoutCancel(signal: AbortSignal): AbortSignal {
  const controller = new AbortController();
  const follow = (): void => {
    const reason = toOffshootError(signal.reason);
    if (reason.code !== 'cancelled') controller.abort(reason);
  };
  if (signal.aborted) follow();
  else signal.addEventListener('abort', follow, { once: true });
  return controller.signal;
}

function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw toOffshootError(signal.reason);
}

function mustLeaveAlone(error: OffshootError, signal: AbortSignal): boolean {
  return error.code === 'lost-claim' || (signal.aborted && error.code !== 'cancelled');
}

function deadlineSignal(ms: number, what: string): { signal: AbortSignal; clear(): void } {
  const controller = new AbortController();
  const timer = setTimeout(
    () =>
      controller.abort(
        new OffshootError('timeout', { publicMessage: `No answer within ${ms / 1000} s while ${what}.` }),
      ),
    ms,
  );
  return { signal: controller.signal, clear: () => clearTimeout(timer) };
}
