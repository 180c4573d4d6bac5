/** What pages say of an operation, worked out from its view alone. */
import {
  isEnded,
  type OperationState,
  type StepProgress,
  type StepState,
} from '@offshoot/clone-core/contract';
import type { OperationView } from '../server/views/operation.ts';
import { formatLeft, formatProgress, formatRate } from './format.ts';

/** How far a run is: `fraction` of 0…1 by bytes where bytes move, else by steps. Undefined before there is a plan. */
export function fractionOf(operation: Pick<OperationView, 'plan' | 'steps' | 'state'>): number | undefined {
  if (operation.state === 'finished') return 1;
  const plan = operation.plan;
  if (!plan || plan.steps.length === 0) return undefined;
  const bytesOf = (index: number): number =>
    Math.max(plan.steps[index]?.bytes ?? 0, operation.steps[index]?.progress?.totalBytes ?? 0);
  const moved = plan.steps.reduce((sum, _, index) => sum + bytesOf(index), 0);
  // Steps without bytes take time too (a boot, say): the bar must not stand at its end meanwhile.
  const small = Math.max(SMALL_STEP_BYTES, moved * SMALL_STEP_SHARE);
  let done = 0;
  let total = 0;
  for (const index of plan.steps.keys()) {
    const status = operation.steps[index];
    const bytes = bytesOf(index);
    const weight = bytes > 0 ? bytes : small;
    total += weight;
    if (status?.state === 'done') done += weight;
    else if (status?.progress?.doneBytes !== undefined && bytes > 0)
      done += Math.min(status.progress.doneBytes, bytes);
  }
  return total === 0 ? undefined : done / total;
}

const SMALL_STEP_BYTES = 4 * 1024 * 1024;
const SMALL_STEP_SHARE = 0.1;

/** The step that runs or is being undone now. */
export function currentStep(
  operation: Pick<OperationView, 'plan' | 'steps'>,
): { index: number; title: string; state: StepState; progress: StepProgress | undefined } | undefined {
  const index = operation.steps.findIndex((step) => step.state === 'running' || step.state === 'undoing');
  const status = operation.steps[index];
  const step = operation.plan?.steps[index];
  return status && step
    ? { index, title: step.title, state: status.state, progress: status.progress }
    : undefined;
}

/** "1.1 / 1.7 GiB · 812 MiB/s · 1 s left". Empty when there is nothing to say. */
export function progressWords(progress: StepProgress | undefined): string {
  if (!progress) return '';
  const parts: string[] = [];
  if (progress.doneBytes !== undefined && progress.totalBytes !== undefined && progress.totalBytes > 0) {
    parts.push(formatProgress(progress.doneBytes, progress.totalBytes));
    if (progress.rate !== undefined && progress.doneBytes < progress.totalBytes)
      parts.push(formatRate(progress.rate));
    if (progress.secondsLeft !== undefined && progress.doneBytes < progress.totalBytes)
      parts.push(`${formatLeft(progress.secondsLeft)} left`);
  }
  if (progress.note !== undefined) parts.push(progress.note);
  return parts.join(' · ');
}

const verbs: Readonly<Record<OperationView['kind'], string>> = {
  clone: 'Clone',
  capture: 'Capture',
  import: 'Import',
  start: 'Start',
  stop: 'Stop',
  delete: 'Delete',
  'remove-base': 'Delete version',
  refresh: 'Refresh',
  restore: 'Put back',
  verify: 'Compare',
  reset: 'Reset',
  snapshot: 'Snapshot',
  revert: 'Revert',
  'remove-snapshot': 'Remove a snapshot of',
  promote: 'Detach',
  transfer: 'Bring',
  migrate: 'Move',
  export: 'Export',
};

/** Removal of a base that no template shows: "base 3f2a…", gone with its last clone. */
export const isHiddenBase = ({ kind, title }: Pick<OperationView, 'kind' | 'title'>): boolean =>
  kind === 'remove-base' && title.startsWith('base ');

/** "Clone web-07". A title that already begins with the verb is left as it is. */
export function operationTitle({ kind, title }: Pick<OperationView, 'kind' | 'title'>): string {
  if (isHiddenBase({ kind, title })) return `Collect ${title}`;
  return title.toLowerCase().startsWith(verbs[kind].toLowerCase()) ? title : `${verbs[kind]} ${title}`;
}

export const stateWords: Readonly<Record<OperationState, string>> = {
  waiting: 'Waiting',
  queued: 'Queued',
  running: 'Running',
  undoing: 'Undoing',
  finished: 'Finished',
  failed: 'Failed',
  cancelled: 'Cancelled',
  stale: 'Needs you',
};

/** What it does or waits for, in one line for lists. */
export function statusLine(operation: OperationView): string {
  if (operation.state === 'waiting')
    return operation.after ? `after “${operation.after.title}”` : 'after another operation';
  if (operation.state === 'queued') return `waiting for a free lane on ${operation.host.name}`;
  if (operation.state === 'stale') return 'things changed since the preview; look at the new plan';
  if (operation.state === 'failed') return operation.error?.message ?? 'failed';
  if (operation.state === 'cancelled') return 'cancelled; what it had done is undone';
  if (isEnded(operation.state)) return operation.result?.consistencyNote ?? '';
  const step = currentStep(operation);
  if (!step) return operation.plan ? 'between two steps' : 'looking at the source';
  const words = progressWords(step.progress);
  const title = step.state === 'undoing' ? `Undoing: ${step.title}` : step.title;
  return words === '' ? title : `${title} · ${words}`;
}

/** Seconds from start to end, or to now. Undefined before it started. */
export function secondsOf(
  operation: Pick<OperationView, 'startedAt' | 'finishedAt'>,
  now: number,
): number | undefined {
  if (operation.startedAt === null) return undefined;
  const end = operation.finishedAt === null ? now : Date.parse(operation.finishedAt);
  return Math.max(0, (end - Date.parse(operation.startedAt)) / 1000);
}
