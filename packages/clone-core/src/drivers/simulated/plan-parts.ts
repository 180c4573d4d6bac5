/** What the plans of the simulated driver are put together from. */
import type { CloneMode, Estimates, PlanNote } from '../../contract.ts';
import type { CapabilityTable, Creation, Plan } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import type { DiskFacts, SimulatedFacts } from './facts.ts';
import type { SimulatedGuest } from './host.ts';
import type { Speed } from './own-files.ts';
import type { SimulatedStep } from './step-types.ts';

const paused = {
  why: 'A paused guest can’t be asked to bring its disks to a consistent point.',
  remedy: 'Resume or stop it first.',
};

const noMemory = {
  why: 'A simulated host runs nothing, so its guests have no memory to go on from.',
  remedy: 'Make a linked clone.',
};

export const capabilities: CapabilityTable = {
  full: { stopped: true, running: true, paused, template: true },
  linked: { stopped: true, running: true, paused, template: true },
  memory: { stopped: noMemory, running: noMemory, paused: noMemory, template: noMemory },
};

export const simulatedNote: PlanNote = {
  level: 'info',
  text: 'This host is simulated: no real guest or disk is made, moved or started.',
};

/** Steps without what every step of a plan has. */
export type DraftStep = SimulatedStep extends infer S
  ? S extends SimulatedStep
    ? Omit<S, 'id' | 'owner'>
    : never
  : never;

export interface Draft {
  summary: string;
  strategy?: string;
  consistency?: NonNullable<Plan['consistency']>;
  estimates: Estimates;
  notes?: PlanNote[];
  steps: DraftStep[];
  creates?: Creation[];
  guest?: NonNullable<Plan['guest']>;
  baseDigest?: string;
  /** What the plan was decided on. */
  basis: unknown;
}

/** Estimates of what moves this many bytes and has this many steps. */
export function estimate(
  speed: Speed,
  moveBytes: number,
  storeBytes: number,
  steps: number,
  boots: boolean,
): Estimates {
  const ms = (moveBytes / speed.copyRate) * 1000 + steps * speed.latencyMs + (boots ? speed.bootMs : 0);
  return { readBytes: moveBytes, moveBytes, storeBytes, seconds: Math.round(ms) / 1000 };
}

export const sumOf = (disks: readonly DiskFacts[]): number =>
  disks.reduce((sum, disk) => sum + disk.allocatedBytes, 0);

/** Throws `no-space` when the store can't take that many more bytes. */
export function needSpace(facts: SimulatedFacts, bytes: number): void {
  const { freeBytes } = facts.host.store;
  if (bytes <= freeBytes) return;
  throw new OffshootError('no-space', {
    publicMessage: `It needs ${bytes} bytes on the simulated store, ${freeBytes} are free.`,
    remedy: 'Delete guests you no longer need, or make a linked clone, which takes almost nothing.',
    field: 'mode',
  });
}

/** The guest the facts are about. */
export function needGuest(facts: SimulatedFacts): SimulatedGuest {
  if (facts.guest) return facts.guest;
  throw new OffshootError('internal', { publicMessage: 'The facts of this plan are of another request.' });
}

/** Definition of a guest without what makes it itself: what a base keeps. */
export function definitionOf(guest: SimulatedGuest): string {
  const { vcpus, memoryBytes, osName, firmware, hasAgent } = guest;
  return JSON.stringify({
    vcpus,
    memoryBytes,
    osName,
    firmware,
    hasAgent,
    nics: guest.nics.map((nic) => nic.network),
  });
}

/** Steps around copies of a running source: hold a point in time, and let it go. */
export function aroundPoint(
  guest: SimulatedGuest,
  disks: readonly DiskFacts[],
  store: string,
  owner: string,
  copies: DraftStep[],
): DraftStep[] {
  if (guest.state === 'stopped') return copies;
  const points = disks.map((disk) => ({ from: disk.path, to: pointPath(store, owner, disk.target) }));
  return [
    {
      kind: 'point',
      title: `Hold a point in time of ${guest.name}`,
      source: { uuid: guest.uuid, name: guest.name },
      points,
    },
    ...copies,
    { kind: 'release', title: 'Let the point in time go', paths: points.map((point) => point.to) },
  ];
}

export const pointPath = (store: string, owner: string, target: string): string =>
  `${store}/points/${owner}-${target}`;

/** What a plan from a guest is decided on; the content only counts while it stands still. */
export const basisOf = (guest: SimulatedGuest, disks: readonly DiskFacts[]): unknown => [
  guest.uuid,
  guest.state,
  guest.nics,
  definitionOf(guest),
  disks.map((disk) => [
    disk.target,
    disk.path,
    disk.virtualBytes,
    guest.state === 'stopped' ? disk.content : '',
  ]),
];

export function copySteps(
  guest: SimulatedGuest,
  disks: readonly DiskFacts[],
  store: string,
  owner: string,
  to: (target: string) => string,
): DraftStep[] {
  const source = { uuid: guest.uuid, name: guest.name };
  return disks.map((disk) => ({
    kind: 'copy' as const,
    title: `Copy disk ${disk.target}`,
    from: guest.state === 'stopped' ? disk.path : pointPath(store, owner, disk.target),
    to: to(disk.target),
    bytes: disk.allocatedBytes,
    virtualBytes: disk.virtualBytes,
    ...(guest.state === 'stopped' ? { stoppedSource: source } : {}),
  }));
}

export function refuseUnavailable(
  mode: CloneMode,
  state: 'stopped' | 'running' | 'paused' | 'template',
): void {
  const can = capabilities[mode][state];
  if (can === true) return;
  throw new OffshootError('unavailable-mode', {
    publicMessage: can.why,
    ...(can.remedy ? { remedy: can.remedy } : {}),
    field: 'mode',
  });
}

export const consistencyOf = (guest: SimulatedGuest): 'exact' | 'filesystem' | 'crash' =>
  guest.state === 'stopped' ? 'exact' : guest.hasAgent ? 'filesystem' : 'crash';

/** Every file that these steps make. */
export const createdFiles = (steps: readonly DraftStep[]): Creation[] =>
  steps.flatMap((step) => {
    if (step.kind === 'point') return step.points.map((point) => ({ type: 'file' as const, name: point.to }));
    return step.kind === 'copy' || step.kind === 'overlay' || step.kind === 'import-image'
      ? [{ type: 'file' as const, name: step.to }]
      : [];
  });
