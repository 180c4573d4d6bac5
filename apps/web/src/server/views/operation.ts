/** Operations as a browser sees them: JSON, bytes as numbers, times as ISO 8601. */
import type {
  CloneMode,
  Lane,
  OperationKind,
  OperationResult,
  OperationState,
  PlanView,
  PublicError,
  Source,
  StepStatus,
  StepView,
  UndoReport,
} from '@offshoot/clone-core/contract';
import type { Db } from '@offshoot/db/client';
import { storedRequestSchema } from '@offshoot/db/types';

export const operationInclude = {
  host: { select: { id: true, name: true, simulated: true } },
  guest: { select: { id: true, name: true, state: true } },
  requestedBy: { select: { name: true } },
  after: { select: { id: true, title: true, state: true } },
} as const;

type Row = NonNullable<Awaited<ReturnType<typeof readOne>>>;
const readOne = (db: Db, id: string) =>
  db.prisma.operation.findUnique({ where: { id }, include: operationInclude });

export interface OperationView {
  id: string;
  kind: OperationKind;
  state: OperationState;
  title: string;
  host: { id: string; name: string; simulated: boolean };
  lane: Lane;
  guest: { id: string; name: string; state: string } | null;
  batchId: string;
  after: { id: string; title: string; state: string } | null;
  /** Set for clones. */
  mode: CloneMode | null;
  source: Source | null;
  plan: PlanView | null;
  steps: StepStatus[];
  result: OperationResult | null;
  error: PublicError | null;
  undo: UndoReport | null;
  cancelRequested: boolean;
  requestedBy: string | null;
  createdAt: string;
  startedAt: string | null;
  finishedAt: string | null;
}

/** Row → view. The plan loses what only its driver needs (paths, definitions). */
export function operationView(row: Row): OperationView {
  const request = storedRequestSchema.safeParse(row.request);
  const clone = request.success && request.data.kind === 'clone' ? request.data : undefined;
  const plan = row.plan as unknown as PlanView | null;
  return {
    id: row.id,
    kind: row.kind as OperationKind,
    state: row.state as OperationState,
    title: row.title,
    host: row.host,
    lane: row.lane as Lane,
    guest: row.guest,
    batchId: row.batchId,
    after: row.after,
    mode: clone?.mode ?? null,
    source: clone?.source ?? null,
    plan: plan === null ? null : planView(plan),
    steps: (row.steps as unknown as StepStatus[] | null) ?? [],
    result: resultView(row.result as unknown as OperationResult | null),
    error: row.error as unknown as PublicError | null,
    undo: row.undo as unknown as UndoReport | null,
    cancelRequested: row.cancelRequestedAt !== null,
    requestedBy: row.requestedBy?.name ?? null,
    createdAt: row.createdAt.toISOString(),
    startedAt: row.startedAt?.toISOString() ?? null,
    finishedAt: row.finishedAt?.toISOString() ?? null,
  };
}

function planView(plan: PlanView): PlanView {
  const { summary, estimates, consistency, strategy, notes, steps, fingerprint } = plan;
  return {
    summary,
    estimates,
    notes,
    fingerprint,
    steps: steps.map(stepView),
    ...(consistency === undefined ? {} : { consistency }),
    ...(strategy === undefined ? {} : { strategy }),
  };
}

function stepView({ id, kind, title, bytes }: StepView): StepView {
  return bytes === undefined ? { id, kind, title } : { id, kind, title, bytes };
}

function resultView(result: OperationResult | null): OperationResult | null {
  if (!result?.base) return result;
  // A base's definition is the hypervisor's XML: the operator's, and large.
  const { memory, ...base } = result.base;
  return {
    ...result,
    base: { ...base, definition: '', ...(memory ? { memory: { ...memory, resume: '' } } : {}) },
  };
}
