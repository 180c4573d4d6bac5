/** Every operation is in a definite state, with a coherent row and a log of events that tells one story. */
import {
  endedStates,
  type OperationEventData,
  type StepStatus,
  type PublicError,
  type OperationState,
} from '@offshoot/clone-core/contract';
import type { OperationRow } from '@offshoot/db/types';
import type { OperationEvent } from '../watch.ts';

const ended = (state: string): boolean => endedStates.some((one) => one === state);

/** The row by itself. */
export function checkRow(row: OperationRow): string[] {
  const found: string[] = [];
  const error = row.error as unknown as PublicError | null;
  const steps = (row.steps ?? []) as unknown as StepStatus[];
  if (!ended(row.state)) found.push(`is ${row.state}`);
  if (row.finishedAt === null) found.push('has no end');
  if (row.state === 'finished') {
    if (error !== null) found.push(`is finished with the error ${error.message}`);
    if (row.result === null) found.push('is finished without a result');
    if (row.undo !== null) found.push('is finished and tells of an undo');
    if (row.nextStep !== steps.length || steps.some(({ state }) => state !== 'done'))
      found.push(`is finished with steps ${steps.map(({ state }) => state).join(', ')}`);
  }
  if (row.state === 'failed' && error === null) found.push('failed without a word');
  if (row.state === 'cancelled' && row.cancelRequestedAt === null && row.afterId === null)
    found.push('was cancelled by nobody');
  if (error?.code === 'internal') found.push(`failed with an error that nobody foresaw: ${error.message}`);
  const open = steps.filter(({ state }) => state === 'running' || state === 'undoing' || state === 'failed');
  if (open.length > 0) found.push(`ended with steps ${steps.map(({ state }) => state).join(', ')}`);
  return found;
}

type State = OperationState;
const next: Readonly<Record<State, readonly State[]>> = {
  waiting: ['queued', 'failed', 'cancelled', 'stale'],
  queued: ['running', 'cancelled', 'failed'],
  running: ['queued', 'undoing', 'finished', 'failed', 'cancelled', 'stale'],
  undoing: ['undoing', 'failed', 'cancelled'],
  finished: [],
  failed: [],
  cancelled: [],
  stale: [],
};

/** The events in the table: one story from its beginning to one end. */
export function checkStory(row: OperationRow, events: readonly OperationEvent[]): string[] {
  const found: string[] = [];
  let state: State | undefined;
  for (const { data } of events) {
    if (state !== undefined && ended(state))
      found.push(`has an event after its end: ${JSON.stringify(data).slice(0, 200)}`);
    if (data.type === 'state') {
      const allowed: readonly State[] = state === undefined ? ['waiting', 'queued'] : next[state];
      if (!allowed.includes(data.state)) found.push(`went from ${state ?? 'nothing'} to ${data.state}`);
      state = data.state;
    }
  }
  if (state !== row.state) found.push(`is ${row.state}, its events say ${state ?? 'nothing'}`);
  return [...found, ...checkSteps(events.map(({ data }) => data))];
}

/** A step is done only after it ran, in order; the same step may run again after a crash. */
function checkSteps(story: readonly OperationEventData[]): string[] {
  const found: string[] = [];
  let done = 0;
  for (const data of story) {
    if (data.type === 'state' && data.state === 'queued') done = 0;
    if (data.type !== 'step') continue;
    const { index, status } = data;
    if (status.state === 'running' && index !== done)
      found.push(`ran step ${index + 1} with ${done} steps done`);
    if (status.state === 'done') {
      if (index !== done) found.push(`finished step ${index + 1} with ${done} steps done`);
      done = index + 1;
    }
  }
  return found;
}

/** What a follower of the log was told is what is in it: each event once, in order. */
export function checkStream(told: readonly OperationEvent[], logged: readonly OperationEvent[]): string[] {
  const [one, other] = [told, logged].map((events) => events.map(({ id }) => id).join());
  return one === other ? [] : [`its follower was told the events ${one}, the log has ${other}`];
}
