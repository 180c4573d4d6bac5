/** Where `execute` is recorded: one round trip per write, fenced by the claim, patient while PostgreSQL restarts. */
import type { StepProgress, StepStatus } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Journal } from '@offshoot/clone-core/execute';
import pg from 'pg';
import { lostClaim, type Claim } from './claims.ts';
import type { Db } from './client.ts';
import { storable } from './storable.ts';
import { isDatabaseAway, persistently, statement, statements } from './transaction.ts';

/** Progress is written at most this often per operation, milliseconds. */
const PROGRESS_INTERVAL_MS = 250;
/** Where writing takes long, because hundreds do, it is written more rarely: this many times as long apart. */
const PROGRESS_PATIENCE = 20;
/** Log lines are gathered this long, milliseconds. */
const LOG_DELAY_MS = 100;

export interface JournalOptions {
  /** Aborted when the worker gives work back: the journal then refuses to begin another step's undo. */
  stop?: AbortSignal;
}

/**
 * The journal of one claimed operation. Its promises reject with `lost-claim` when another worker has taken over, and
 * when PostgreSQL stayed away for a minute: then nobody knows whose the operation is, so it is left as it stands.
 */
export function journalFor(
  db: Db,
  held: Pick<Claim, 'operationId' | 'token'>,
  options: JournalOptions = {},
): Journal {
  const writer = new JournalWriter(db, held.operationId, held.token);
  const now = (): string => new Date().toISOString();
  const settled = async (index: number, status: StepStatus): Promise<StepStatus> => {
    const progress = status.state === 'running' ? undefined : writer.takeProgress(index);
    await writer.settle();
    return progress === undefined ? status : { ...status, progress };
  };
  const step = async (
    expected: 'running' | 'undoing',
    index: number,
    status: StepStatus,
    more: StepMore = {},
  ): Promise<void> => {
    const calls = [stepCall(expected, index, await settled(index, status), more)];
    if (more.begins !== undefined) calls.push(stepCall(expected, more.begins, started()));
    await writer.write(...calls);
  };
  const started = (): StepStatus => ({ state: 'running', startedAt: now() });
  const done = (note: string | undefined): StepStatus => ({
    state: 'done',
    endedAt: now(),
    ...(note === undefined ? {} : { note }),
  });
  return {
    stepStarted: (index) => step('running', index, started()),
    stepFinished: (index, note, result, begins) =>
      step('running', index, done(note), {
        next: index + 1,
        result,
        ...(begins === undefined ? {} : { begins }),
      }),
    lastFinished: (index, note) => settled(index, done(note)),
    stepFailed: (index, why) => step('running', index, { state: 'failed', endedAt: now(), note: why }),
    async undoStarted({ cancelled, error }) {
      await writer.settle();
      await writer.write({
        name: 'offshoot_undo_started',
        values: [storable({ cancelled, ...(error ? { error: error.toPublic() } : {}) })],
      });
    },
    async stepUndoing(index) {
      if (options.stop?.aborted) {
        throw new OffshootError('lost-claim', {
          publicMessage: 'The worker is stopping; the undo goes on elsewhere.',
          cause: options.stop.reason,
        });
      }
      await step('undoing', index, { state: 'undoing', startedAt: now() });
    },
    stepUndone(index, { undone, leftBehind }) {
      const status: StepStatus = {
        state: leftBehind === undefined ? 'undone' : 'undo-failed',
        endedAt: now(),
      };
      const note = leftBehind ?? undone;
      return step('undoing', index, note === undefined ? status : { ...status, note }, {
        ...(undone === undefined ? {} : { undone }),
        ...(leftBehind === undefined ? {} : { left: leftBehind }),
      });
    },
    progress: (index, progress) => writer.progress(index, progress),
    log: (index, line) => writer.log(index, line),
  };
}

/** Text of PostgreSQL holds no NUL. */
const literal = (value: string | number | null): string =>
  typeof value === 'string' ? pg.escapeLiteral(value.replaceAll('\0', '')) : String(value ?? 'NULL');

/** A function of the database's, and what it takes after the claim. */
interface Call {
  name: string;
  values: readonly (string | number | null)[];
}

interface StepMore {
  next?: number;
  /** The step that begins in the same record. */
  begins?: number;
  result?: object;
  undone?: string;
  left?: string;
}

const stepCall = (
  expected: 'running' | 'undoing',
  index: number,
  status: StepStatus,
  more: StepMore = {},
): Call => ({
  name: 'offshoot_step',
  values: [
    expected,
    index,
    storable(status),
    more.next ?? null,
    more.result === undefined ? null : storable(more.result),
    more.undone ?? null,
    more.left ?? null,
  ],
});

class JournalWriter {
  private lines: { index: number; line: string }[] = [];
  private logTimer: NodeJS.Timeout | undefined;
  private latest: { index: number; progress: StepProgress } | undefined;
  private progressTimer: NodeJS.Timeout | undefined;
  private lastProgressAt = 0;
  private progressTookMs = 0;
  /** Writes of progress and log lines, one after the other. */
  private background: Promise<void> = Promise.resolve();

  constructor(
    private readonly db: Db,
    private readonly operationId: string,
    private readonly token: string,
  ) {}

  private textOf({ name, values }: Call): string {
    return `SELECT ${name}(${[this.operationId, this.token, ...values].map(literal).join(', ')}) AS held`;
  }

  /** All of them in one transaction, and in order. */
  async write(...calls: Call[]): Promise<void> {
    const texts = calls.map((call) => this.textOf(call));
    let held: boolean;
    try {
      const answers = await persistently(() => statements<{ held: boolean }>(this.db, texts));
      held = answers.every(([answer]) => answer?.held === true);
    } catch (error) {
      if (!(error instanceof OffshootError)) throw error;
      throw new OffshootError('lost-claim', {
        publicMessage: error.publicMessage,
        retryable: true,
        cause: error,
      });
    }
    if (!held) throw lostClaim(this.operationId);
  }

  progress(index: number, progress: StepProgress): void {
    this.latest = { index, progress };
    if (this.progressTimer) return;
    const pause = Math.max(PROGRESS_INTERVAL_MS, this.progressTookMs * PROGRESS_PATIENCE);
    const wait = Math.max(0, this.lastProgressAt + pause - Date.now());
    this.progressTimer = setTimeout(() => this.flushProgress(), wait);
  }

  private flushProgress(): void {
    this.progressTimer = undefined;
    const latest = this.latest;
    this.latest = undefined;
    if (!latest) return;
    this.lastProgressAt = Date.now();
    this.enqueue(async () => {
      const values = [latest.index, storable(latest.progress)];
      const text = this.textOf({ name: 'offshoot_progress', values });
      await statement(this.db, text, { losable: true });
      this.progressTookMs = Date.now() - this.lastProgressAt;
    });
  }

  /** What was not written yet of that step's: it goes with the step's own record. */
  takeProgress(index: number): StepProgress | undefined {
    if (this.latest?.index !== index) return undefined;
    const { progress } = this.latest;
    this.latest = undefined;
    return progress;
  }

  log(index: number, line: string): void {
    this.lines.push({ index, line });
    this.logTimer ??= setTimeout(() => this.flushLog(), LOG_DELAY_MS);
  }

  private flushLog(): void {
    clearTimeout(this.logTimer);
    this.logTimer = undefined;
    const lines = this.lines;
    this.lines = [];
    if (lines.length === 0) return;
    this.enqueue(() => this.write({ name: 'offshoot_log', values: [storable(lines)] }));
  }

  private enqueue(work: () => Promise<void>): void {
    this.background = this.background.then(work).catch((error: unknown) => {
      // Progress may be dropped; a lost claim is told by the next step's write.
      if (isDatabaseAway(error) || (error instanceof OffshootError && error.code === 'lost-claim')) return;
      process.emitWarning(error instanceof Error ? error : new Error(String(error)));
    });
  }

  /** Before a state change: what was said earlier is in the log earlier. Progress not yet written is the last one of its step. */
  async settle(): Promise<void> {
    clearTimeout(this.progressTimer);
    if (this.latest) this.flushProgress();
    this.progressTimer = undefined;
    this.flushLog();
    await this.background;
  }
}
