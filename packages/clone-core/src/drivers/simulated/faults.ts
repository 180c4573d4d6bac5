/** Faults that a simulated host is told to have: what fails, when, and how. */
import { errorCodes, OffshootError, type ErrorCode } from '../../errors.ts';
import type { Progress, StepContext, StepHandler } from '../../driver.ts';
import { hang, slowedClock, type Clock } from './clock.ts';
import { seededRandom } from './random.ts';
import type { SimulatedStep, SimulatedStepKind } from './step-types.ts';

/** One fault. Pure JSON, so that a demo can be told by its configuration. */
export interface Fault {
  step: SimulatedStepKind | '*';
  /** `fail`: an error with words; `crash`: throws what is no OffshootError; `hang`: until aborted; `slow`: `factor` times. */
  type: 'fail' | 'crash' | 'hang' | 'slow';
  on?: 'run' | 'undo';
  /** Strikes only the n-th time (from 1) that such a step runs; otherwise every time. */
  nth?: number;
  /** Strikes with this probability (0…1), seeded. */
  probability?: number;
  /** How far the step gets before it strikes: 0 before any effect, 1 after its whole effect. Default 0.5 for copies. */
  after?: number;
  error?: { code: ErrorCode; message: string; remedy?: string };
  /** For `slow`; default 10. */
  factor?: number;
}

export class Faults {
  private readonly counts = new Map<Fault, number>();
  private readonly random: () => number;

  constructor(
    private readonly faults: readonly Fault[],
    seed: number,
  ) {
    this.random = seededRandom(seed);
  }

  /** The fault that strikes this run, if any; counts it. */
  private strike(kind: SimulatedStepKind, on: 'run' | 'undo'): Fault | undefined {
    let struck: Fault | undefined;
    for (const fault of this.faults) {
      if ((fault.step !== '*' && fault.step !== kind) || (fault.on ?? 'run') !== on) continue;
      const count = (this.counts.get(fault) ?? 0) + 1;
      this.counts.set(fault, count);
      if (fault.nth !== undefined && fault.nth !== count) continue;
      if (fault.probability !== undefined && this.random() >= fault.probability) continue;
      struck ??= fault;
    }
    return struck;
  }

  /** The handler, with this host's faults. `make` gives it for a clock, so that it can be slowed. */
  wrap<S extends SimulatedStep>(
    kind: S['kind'],
    clock: Clock,
    make: (clock: Clock) => StepHandler<S>,
  ): StepHandler<S> {
    const slowed = (fault: Fault | undefined): StepHandler<S> =>
      make(fault?.type === 'slow' ? slowedClock(clock, fault.factor ?? 10) : clock);
    const strike = (on: 'run' | 'undo'): Fault | undefined => this.strike(kind, on);
    return {
      async *run(step, context) {
        const fault = strike('run');
        if (!fault || fault.type === 'slow') yield* slowed(fault).run(step, context);
        else yield* cutShort(make(clock).run(step, context), fault, step, context);
      },
      async undo(step, context) {
        const fault = strike('undo');
        if (fault && fault.type !== 'slow') await happen(fault, step, context);
        return slowed(fault).undo(step, context);
      },
    };
  }
}

async function* cutShort(
  run: AsyncIterable<Progress>,
  fault: Fault,
  step: SimulatedStep,
  context: StepContext,
): AsyncGenerator<Progress> {
  const after = fault.after ?? (step.bytes ? 0.5 : 0);
  if (after > 0) {
    for await (const progress of run) {
      yield progress;
      if (after < 1 && (progress.doneBytes ?? 0) >= after * (progress.totalBytes ?? Infinity)) break;
    }
  }
  await happen(fault, step, context);
}

async function happen(fault: Fault, step: SimulatedStep, context: StepContext): Promise<void> {
  if (fault.type === 'hang') await hang(context.signal);
  if (fault.type === 'crash') throw new TypeError(`simulated crash in step ${step.id}`);
  const code = fault.error?.code;
  throw new OffshootError(code && errorCodes.includes(code) ? code : 'command-failed', {
    publicMessage: fault.error?.message ?? `Simulated fault: “${step.title}” was told to fail.`,
    remedy: fault.error?.remedy ?? 'Retry, or take the fault out of the simulated host’s configuration.',
    retryable: true,
    context: { simulated: true, step: step.id },
  });
}
