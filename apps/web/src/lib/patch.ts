/**
 * Patches what the browser holds with an event, so that nothing is asked again for progress. Pure. Events may be
 * older than what is held (a replay after a reload): a patch never takes anything back.
 */
import {
  isEnded,
  type OperationEventData,
  type OperationState,
  type StepProgress,
  type StepStatus,
} from '@offshoot/clone-core/contract';
import type { OperationView } from '../server/views/operation.ts';

const order: Readonly<Record<OperationState, number>> = {
  waiting: 0,
  queued: 1,
  running: 2,
  undoing: 3,
  finished: 4,
  failed: 4,
  cancelled: 4,
  stale: 4,
};

/** The operation after the event. The same object when nothing changed, so that nothing renders again. */
export function patchOperation(held: OperationView, data: OperationEventData, at: string): OperationView {
  switch (data.type) {
    case 'state':
      return patchState(held, data, at);
    case 'plan':
      if (held.plan !== null && held.plan.fingerprint === data.plan.fingerprint) return held;
      if (isEnded(held.state) && held.state !== 'stale') return held;
      return { ...held, plan: data.plan };
    case 'step':
      return withStep(held, data.index, (old) =>
        isOlder(data.status, old) ? old : mergeStatus(old, data.status),
      );
    case 'progress':
      return withStep(held, data.index, (old) => {
        if (old.state !== 'running' && old.state !== 'pending') return old;
        return { ...old, state: 'running', progress: mergeProgress(old.progress, data.progress) };
      });
    case 'log':
      return held;
  }
}

type StateData = Extract<OperationEventData, { type: 'state' }>;

function patchState(held: OperationView, data: StateData, at: string): OperationView {
  // A worker that shuts down gives work back: running → queued is the one way back, and the refetch that follows settles it.
  if (isEnded(held.state) || order[data.state] < order[held.state]) return held;
  return {
    ...held,
    state: data.state,
    startedAt: held.startedAt ?? (data.state === 'running' ? at : null),
    finishedAt: held.finishedAt ?? (isEnded(data.state) ? at : null),
    ...(data.error === undefined ? {} : { error: data.error }),
    ...(data.result === undefined ? {} : { result: data.result }),
    ...(data.undo === undefined ? {} : { undo: data.undo }),
  };
}

const stepOrder: Readonly<Record<StepStatus['state'], number>> = {
  pending: 0,
  running: 1,
  done: 2,
  failed: 2,
  undoing: 3,
  undone: 4,
  'undo-failed': 4,
};

const isOlder = (status: StepStatus, held: StepStatus): boolean =>
  stepOrder[status.state] < stepOrder[held.state];

function mergeStatus(old: StepStatus, status: StepStatus): StepStatus {
  const progress = status.progress ?? old.progress;
  return { ...old, ...status, ...(progress === undefined ? {} : { progress }) };
}

function mergeProgress(old: StepProgress | undefined, next: StepProgress): StepProgress {
  if (old?.doneBytes === undefined || next.doneBytes === undefined || next.doneBytes >= old.doneBytes)
    return next;
  return { ...next, doneBytes: old.doneBytes };
}

function withStep(
  held: OperationView,
  index: number,
  change: (old: StepStatus) => StepStatus,
): OperationView {
  if (index < 0 || index > 1000) return held;
  const old = held.steps[index] ?? { state: 'pending' };
  const next = change(old);
  if (next === old) return held;
  const steps = held.steps.slice();
  while (steps.length < index) steps.push({ state: 'pending' });
  steps[index] = next;
  return { ...held, steps };
}

/** The list with the one operation patched in place; the same list when it holds no such operation. */
export function patchList(
  list: readonly OperationView[],
  id: string,
  data: OperationEventData,
  at: string,
): readonly OperationView[] {
  const index = list.findIndex((operation) => operation.id === id);
  const held = list[index];
  if (!held) return list;
  const next = patchOperation(held, data, at);
  if (next === held) return list;
  const copy: OperationView[] = list.slice();
  copy[index] = next;
  return copy;
}
