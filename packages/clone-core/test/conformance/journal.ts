/** A Journal in memory: records every call, knows where to go on, and lets a test cut at a call. */
import type { OperationResult, StepProgress } from '../../src/contract.ts';
import type { OffshootError } from '../../src/errors.ts';
import type { Journal, StartingPoint } from '../../src/execute.ts';

export type Call =
  | { call: 'stepStarted'; index: number }
  | { call: 'stepFinished'; index: number; note: string | undefined; result: OperationResult }
  | { call: 'stepFailed'; index: number; why: string }
  | { call: 'undoStarted'; reason: { cancelled: boolean; error?: OffshootError } }
  | { call: 'stepUndoing'; index: number }
  | { call: 'stepUndone'; index: number; outcome: { undone?: string; leftBehind?: string } }
  | { call: 'progress'; index: number; progress: StepProgress }
  | { call: 'log'; index: number; line: string };

export class MemoryJournal implements Journal {
  readonly calls: Call[] = [];
  /** Called after each record; may throw (a lost claim) or abort. */
  onCall: (call: Call) => void = () => undefined;

  private record(call: Call): void {
    this.calls.push(call);
    this.onCall(call);
  }

  stepStarted = async (index: number): Promise<void> => this.record({ call: 'stepStarted', index });
  stepFinished = async (
    index: number,
    note: string | undefined,
    result: OperationResult,
    begins?: number,
  ): Promise<void> => {
    this.record({ call: 'stepFinished', index, note, result: structuredClone(result) });
    if (begins !== undefined) await this.stepStarted(begins);
  };
  lastFinished = async (
    index: number,
    note: string | undefined,
    result: OperationResult,
  ): Promise<undefined> => {
    await this.stepFinished(index, note, result);
    return undefined;
  };
  stepFailed = async (index: number, why: string): Promise<void> =>
    this.record({ call: 'stepFailed', index, why });
  undoStarted = async (reason: { cancelled: boolean; error?: OffshootError }): Promise<void> =>
    this.record({ call: 'undoStarted', reason });
  stepUndoing = async (index: number): Promise<void> => this.record({ call: 'stepUndoing', index });
  stepUndone = async (index: number, outcome: { undone?: string; leftBehind?: string }): Promise<void> =>
    this.record({ call: 'stepUndone', index, outcome });
  progress = (index: number, progress: StepProgress): void =>
    this.record({ call: 'progress', index, progress });
  log = (index: number, line: string): void => this.record({ call: 'log', index, line });

  /** Where a new worker begins, from what was recorded. */
  startingPoint(): StartingPoint {
    const point: StartingPoint = { nextStep: 0 };
    for (const call of this.calls) {
      if (call.call === 'stepFinished') {
        point.nextStep = call.index + 1;
        point.result = call.result;
      } else if (call.call === 'undoStarted') {
        point.undoing = call.reason;
      }
    }
    return point;
  }

  /** The calls that matter for order: without progress and log lines. */
  get outline(): string[] {
    return this.calls
      .filter((call) => call.call !== 'progress' && call.call !== 'log')
      .map((call) => ('index' in call ? `${call.call} ${call.index}` : call.call));
  }

  progressOf(index: number): StepProgress[] {
    return this.calls.flatMap((call) =>
      call.call === 'progress' && call.index === index ? [call.progress] : [],
    );
  }
}
