/** Hosts as a browser and the health check see them. */
import type { HostFacts, HypervisorKind } from '@offshoot/clone-core/contract';

/** A worker reports every few seconds; after this many without a word its host counts as silent. */
export const SILENT_AFTER_SECONDS = 30;

export type HostState = 'online' | 'problem' | 'silent';

export interface HostView {
  id: string;
  name: string;
  kind: HypervisorKind;
  simulated: boolean;
  workerVersion: string | null;
  state: HostState;
  problem: string | null;
  facts: HostFacts | null;
  lastSeenAt: string | null;
  guests: { total: number; running: number };
}

interface Row {
  id: string;
  name: string;
  kind: string;
  simulated: boolean;
  workerVersion: string | null;
  facts: unknown;
  problem: string | null;
  heartbeatAt: Date | null;
}

/** Whether the host can be used, from its row alone. */
export function hostState(row: Pick<Row, 'problem' | 'heartbeatAt'>, now: number): HostState {
  if (row.heartbeatAt === null || now - row.heartbeatAt.getTime() > SILENT_AFTER_SECONDS * 1000)
    return 'silent';
  return row.problem === null ? 'online' : 'problem';
}

/** Row and its guests' states → view. */
export function hostView(row: Row, guests: { total: number; running: number }, now: number): HostView {
  return {
    id: row.id,
    name: row.name,
    kind: row.kind as HypervisorKind,
    simulated: row.simulated,
    workerVersion: row.workerVersion,
    state: hostState(row, now),
    problem: row.problem,
    facts: row.facts as HostFacts | null,
    lastSeenAt: row.heartbeatAt?.toISOString() ?? null,
    guests,
  };
}
