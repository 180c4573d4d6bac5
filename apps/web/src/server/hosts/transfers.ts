/** Bases on their way between hosts. */
import type { OperationState, StepProgress, StepStatus } from '@offshoot/clone-core/contract';
import { db } from '../services.ts';

export interface HostRef {
  id: string;
  name: string;
}

export interface TransferView {
  operationId: string;
  /** "sample v2" */
  label: string;
  state: OperationState;
  /** Null: its host is gone from the portal. */
  from: HostRef | null;
  to: HostRef;
  doneBytes: number;
  totalBytes: number;
  /** Bytes per second; null: none is known yet. */
  rate: number | null;
  secondsLeft: number | null;
  /** In the worker's words, what it waits for. */
  note: string | null;
}

/** More than these are cut off; the answer says so. */
const MOST = 200;

interface Row {
  id: string;
  title: string;
  state: OperationState;
  hostId: string;
  hostName: string;
  fromId: string | null;
  fromName: string | null;
  plan: { bytes?: number }[] | null;
  steps: StepStatus[] | null;
}

/** Transfers that have not ended, oldest first: of one host, to it or from it, or of all. */
export async function transfersNow(
  hostId?: string,
): Promise<{ transfers: TransferView[]; truncated: boolean }> {
  const { rows } = await db().pool.query<Row>(
    `SELECT o."id", o."title", o."state", o."hostId", h."name" AS "hostName", f."id" AS "fromId", f."name" AS "fromName",
       o."plan" -> 'steps' AS plan, o."steps"
     FROM "operation" o JOIN "host" h ON h."id" = o."hostId" LEFT JOIN "host" f ON f."id" = o."request" -> 'sources' ->> 0
     WHERE o."state" IN ('waiting', 'queued', 'running', 'undoing') AND o."kind" = 'transfer'
       AND ($1::text IS NULL OR o."hostId" = $1 OR o."request" -> 'sources' ->> 0 = $1)
     ORDER BY o."id" LIMIT $2`,
    [hostId ?? null, MOST + 1],
  );
  return { transfers: rows.slice(0, MOST).map(transferView), truncated: rows.length > MOST };
}

function transferView(row: Row): TransferView {
  const progress: StepProgress =
    row.steps?.find((step) => step.progress?.doneBytes !== undefined)?.progress ?? {};
  const planned = (row.plan ?? []).reduce((sum, step) => sum + (step.bytes ?? 0), 0);
  return {
    operationId: row.id,
    label: row.title,
    state: row.state,
    from: row.fromId === null ? null : { id: row.fromId, name: row.fromName ?? row.fromId },
    to: { id: row.hostId, name: row.hostName },
    doneBytes: progress.doneBytes ?? 0,
    totalBytes: Math.max(planned, progress.totalBytes ?? 0),
    rate: progress.rate ?? null,
    secondsLeft: progress.secondsLeft ?? null,
    note: progress.note ?? null,
  };
}
