/** Hosts as a browser and the health check see them. */
import { version } from '../../../package.json';
import type { Duty } from '@offshoot/clone-core/contract/joining';
import type { HostFacts, HypervisorKind } from '@offshoot/clone-core/contract';

import type { GuestSums } from '../hosts/list.ts';

/** A worker reports every few seconds; after this many without a word its host counts as silent. */
export const HOST_SILENT_SECONDS_SHOWN = 30;

export const hostStates = ['online', 'problem', 'silent'] as const;
export type HostState = (typeof hostStates)[number];

export interface HostView {
  id: string;
  name: string;
  kind: HypervisorKind;
  simulated: boolean;
  workerVersion: string | null;
  /** Another version than the portal's, which it still works with. */
  otherVersion: boolean;
  duty: Duty;
  /** Its worker has a credential of its own, which can be revoked; false: it signs in as the portal, or was revoked. */
  joined: boolean;
  /** Its worker is elsewhere: how it reaches the host, and the key that was pinned at joining. */
  via: { target: string; hostKey: string } | null;
  state: HostState;
  problem: string | null;
  facts: HostFacts | null;
  lastSeenAt: string | null;
  guests: GuestSums;
}

const NO_GUESTS: GuestSums = {
  total: 0,
  running: 0,
  vcpus: 0,
  promisedMemoryBytes: 0,
  promisedStoreBytes: 0,
  growBytes: 0,
};

interface Row {
  id: string;
  name: string;
  kind: string;
  simulated: boolean;
  workerVersion: string | null;
  duty: string;
  workers: { revokedAt: Date | null; via: unknown }[];
  facts: unknown;
  problem: string | null;
  heartbeatAt: Date | null;
}

/** Whether the host can be used, from its row alone. */
export function hostState(row: Pick<Row, 'problem' | 'heartbeatAt'>, now: number): HostState {
  if (row.heartbeatAt === null || now - row.heartbeatAt.getTime() > HOST_SILENT_SECONDS_SHOWN * 1000)
    return 'silent';
  return row.problem === null ? 'online' : 'problem';
}

/** Row and its guests' states → view. */
export function hostView(row: Row, guests: GuestSums = NO_GUESTS, now: number): HostView {
  return {
    id: row.id,
    name: row.name,
    kind: row.kind as HypervisorKind,
    simulated: row.simulated,
    workerVersion: row.workerVersion,
    otherVersion: row.workerVersion !== null && row.workerVersion !== version,
    duty: row.duty as Duty,
    via: (row.workers.find(({ revokedAt }) => revokedAt === null)?.via ?? null) as HostView['via'],
    joined: row.workers.some(({ revokedAt }) => revokedAt === null),
    state: hostState(row, now),
    problem: row.problem,
    facts: row.facts as HostFacts | null,
    lastSeenAt: row.heartbeatAt?.toISOString() ?? null,
    guests,
  };
}
