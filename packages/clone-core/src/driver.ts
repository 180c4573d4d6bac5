/**
 * The Driver interface: a plan is data, a driver explains it, one loop (`execute.ts`) performs it.
 */
import type {
  BaseDisk,
  CapturedBase,
  CloneMode,
  CloneOptions,
  Drift,
  Estimates,
  ExportFormat,
  Generations,
  GuestSnapshot,
  GuestState,
  HostFacts,
  HypervisorKind,
  OperationKind,
  OperationResult,
  PlanView,
  RefreshOptions,
  StepView,
  VerifyDepth,
} from './contract.ts';
import type {
  AttestedIdentity,
  CleanKind,
  DecidedIdentity,
  GuestInside,
  IdentityOptions,
} from './identity/contract.ts';
import type { Duplex } from 'node:stream';

/** A guest on the driver's host. `uuid` is the hypervisor's own; `name` is for messages and as second check. */
export interface GuestRef {
  uuid: string;
  name: string;
}

/** What to clone from, resolved from the database by the worker. */
export type DriverSource =
  | { type: 'guest'; guest: GuestRef }
  /** `absent`: as another host has it; a transfer brings it here before the plan that needs it runs. */
  | { type: 'base'; label: string; base: CapturedBase; absent?: true };

/** What a clone was to be inside when it was made. */
export interface GivenIdentity {
  options: IdentityOptions;
  /** Which guest of its request, from 0. */
  index: number;
  decided: DecidedIdentity;
  /** Its request is not known any more: the options are those that everyone has. */
  forgotten?: true;
}

/** One unit of work for one guest (or base), as a driver understands it. Pure JSON. */
export type OperationRequest =
  /** `linked` or `memory` of a guest is planned for its preview only: what runs names the base that a capture made before. */
  | {
      kind: 'clone';
      source: DriverSource;
      mode: CloneMode;
      name: string;
      options: CloneOptions;
      /** Place in what was asked for, from 0: consecutive addresses are given out by it. */
      index: number;
    }
  /** `memory`: with what runs in it, at the same instant. */
  | { kind: 'capture'; guest: GuestRef; label: string; memory?: boolean }
  | {
      kind: 'import';
      imagePath: string;
      label: string;
      osName: string;
      vcpus: number;
      memoryMiB: number;
      firmware: 'bios' | 'uefi';
      network?: string;
    }
  | { kind: 'start'; guest: GuestRef; waitForAgent: boolean; agentTimeoutSeconds: number }
  | { kind: 'stop'; guest: GuestRef; force: boolean; timeoutSeconds: number }
  /** `owned`: files that plans of this guest created and that go with it. Others are never touched. */
  | {
      kind: 'delete';
      guest: GuestRef;
      owned: string[];
      /** Of a refreshable clone: the source whose change records go with it. */
      source?: GuestRef;
      generations?: Generations;
    }
  | { kind: 'remove-base'; label: string; base: CapturedBase }
  /** Brings a base here. `base`: as its first source has it. `older`: bases that are here and may share blocks with it. */
  | {
      kind: 'transfer';
      label: string;
      base: CapturedBase;
      sources: { hostId: string; name: string }[];
      older: CapturedBase[];
      /** The copy that is here is damaged. */
      replace: boolean;
      bytesPerSecond?: number;
    }
  /**
   * Moves a guest, running or stopped, to another host. `owned`: as for `delete`. `base`: what its disks stand on, as this
   * host has it. `generations`: it has earlier states. `network`: for its network cards there.
   */
  | {
      kind: 'migrate';
      guest: GuestRef;
      target: { hostId: string; name: string };
      owned: string[];
      base?: CapturedBase;
      generations: boolean;
      network?: string;
    }
  /** Of a stopped guest or a base. */
  | { kind: 'export'; source: DriverSource; label: string; format: ExportFormat }
  | { kind: 'verify'; guest: GuestRef; against: DriverSource; depth: VerifyDepth }
  /**
   * New disks on the base for the same guest, which is switched off for it and started again if it ran. `owned`: as for
   * `delete`; only these are replaced.
   */
  | {
      kind: 'reset';
      guest: GuestRef;
      label: string;
      base: CapturedBase;
      owned: string[];
      /** What was left out of it when it was made: it is again. */
      clean?: CleanKind[];
      identity?: GivenIdentity;
      waitForAgent: boolean;
      agentTimeoutSeconds: number;
    }
  /** Without `generations`: a full clone that was not made refreshable, and is from now on. */
  | {
      kind: 'refresh';
      guest: GuestRef;
      source: GuestRef;
      owned: string[];
      /** What was left out of it when it was made: it is again. */
      clean?: CleanKind[];
      identity?: GivenIdentity;
      generations?: Generations;
      options: RefreshOptions;
    }
  | { kind: 'restore'; guest: GuestRef; generations: Generations; to: number }
  /** Of a running guest with its memory, of a stopped one without. */
  | { kind: 'snapshot'; guest: GuestRef; name: string }
  | { kind: 'revert'; guest: GuestRef; name: string }
  | { kind: 'remove-snapshot'; guest: GuestRef; name: string }
  /**
   * `owned`: as for `delete`; only these are made whole. Of a clone with `generations` the present one is, apart from the
   * earlier ones, which stay.
   */
  | { kind: 'promote'; guest: GuestRef; owned: string[]; generations?: Generations };

/** Why something can't be done, from the capability table or from facts. */
export interface Refusal {
  why: string;
  remedy?: string;
}

export type SourceState = 'stopped' | 'running' | 'paused' | 'template';

/** Mode × state of the source → yes, or why not. A lookup, so the UI can grey out and explain. */
export type CapabilityTable = Readonly<Record<CloneMode, Readonly<Record<SourceState, true | Refusal>>>>;

export interface Step extends StepView {
  /**
   * Once it has begun nothing can be undone any more: the plan is performed to its end. A cancel comes too late, and a
   * host that is away is waited for.
   */
  irreversible?: true;
  /** Once it is done nothing can be undone any more, as with `irreversible`; until then it can. */
  commits?: true;
  /** What steps before it made is in use once this is done: when it can't be undone, they are left as they are. */
  standsOnEarlier?: true;
}

/** What a plan makes: the only names its undo may ever touch. */
export interface Creation {
  type: 'guest' | 'file' | 'directory';
  name: string;
}

export interface Plan<S extends Step = Step> extends PlanView {
  version: 1;
  driver: HypervisorKind;
  kind: OperationKind;
  estimates: Estimates;
  steps: S[];
  creates: Creation[];
  /** Identity decided at plan time; for clone plans. */
  guest?: {
    name: string;
    uuid: string;
    macs: string[];
    memoryBytes: number;
    vcpus: number;
    virtualBytes: number;
  };
  /**
   * What the guest's row says when the plan is finished; the time, consistency and moved bytes of its current generation
   * come from the result.
   */
  generations?: Generations;
  /** Files of the guest that are gone when the plan is finished. */
  removes?: string[];
  /** The guest is on another host when the plan is finished: what is its own there, and what it stands on. */
  moves?: { hostId: string; owned: string[]; baseDigest?: string };
  /** Asked for by itself once the plan is finished. */
  follow?: 'promote';
  /** Bases this guest's disks stand on: recorded as children when the clone is made. Digest of the base. */
  baseDigest?: string;
}

/** Everything that could surprise, read before planning. Pure JSON; each driver adds its own fields. */
export interface Facts {
  host: HostFacts;
  /** Names of all guests the host knows, of any origin; a driver may leave them out where nothing gets a name. */
  takenNames: string[];
  /** What is inside a clone's source, where that was looked at. */
  inside?: GuestInside;
  at: string;
}

/** Where new UUIDs, MACs and times come from; seeded in tests so that plans are golden. */
export interface IdSource {
  uuid(): string;
  /** A MAC in the hypervisor's locally usual prefix (52:54:00 for QEMU), not in `taken`. */
  mac(taken: ReadonlySet<string>): string;
}

/** Reported by a running step. May be dropped or throttled by anyone on the way. Bytes are totals of the step. */
export interface Progress {
  doneBytes?: number;
  totalBytes?: number;
  note?: string;
}

export interface StepContext {
  signal: AbortSignal;
  operationId: string;
  plan: Plan;
  /** A line for the operation's log. */
  log(line: string): void;
  /** Merges into the operation's result. */
  result(part: OperationResult): void;
  /** Plain words beside the step: "filesystem-consistent". */
  note(text: string): void;
}

export interface StepHandler<S extends Step> {
  /** Idempotent: safe to run again after a crash at any point of an earlier run. */
  run(step: S, context: StepContext): AsyncIterable<Progress>;
  /**
   * Idempotent; removes only what this plan created. `context.signal` is its own deadline, not the aborted one.
   * Returns plain words of what was undone ("deleted disk web-07.qcow2"), or undefined when nothing was there.
   */
  undo(step: S, context: StepContext): Promise<string | undefined>;
}

/** A guest as the host knows it; what the inventory is synced from. */
export interface ObservedGuest {
  uuid: string;
  name: string;
  state: Exclude<GuestState, 'creating' | 'deleting' | 'missing'>;
  vcpus: number;
  memoryBytes: number;
  macs: string[];
  address?: string;
  disks: { target: string; path: string; format: string; virtualBytes: number; usedBytes: number }[];
  /** Left out: the driver knows of none. */
  snapshots?: Omit<GuestSnapshot, 'ours'>[];
}

/** What unfinished captures and imports left in a host's store, by the id in their plan's paths. */
export interface Leftovers {
  /** `writtenMs`: when something in it was last written, by the host's clock, ms since 1970. */
  list(signal: AbortSignal): Promise<{ id: string; writtenMs: number }[]>;
  remove(id: string, signal: AbortSignal): Promise<void>;
}

export interface Driver<S extends Step = Step, F extends Facts = Facts> {
  readonly info: { kind: HypervisorKind; simulated: boolean; capabilities: CapabilityTable };
  /** Reads only. Throws OffshootError: `source-missing`, `source-unreadable`, `broken-chain`, `host-unreachable`, … */
  inspect(request: OperationRequest, signal: AbortSignal): Promise<F>;
  /** Pure: same input, same plan. Throws OffshootError when the request can't be done (`name-taken`, `no-space`, `unavailable-mode`, …). */
  plan(request: OperationRequest, facts: F, ids: IdSource): Plan<S>;
  readonly steps: { [K in S['kind']]: StepHandler<Extract<S, { kind: K }>> };
  /** All guests of the host. One cheap pass: called every few seconds. */
  list(signal: AbortSignal): Promise<ObservedGuest[]>;
  hostFacts(signal: AbortSignal): Promise<HostFacts>;
  /**
   * What of the guest's disks does not come from the base any more. Reads only, metadata only. Throws `not-found`
   * when the host knows no such guest, `source-changed` when its disks do not stand on that base (any more).
   */
  drift(guest: GuestRef, base: CapturedBase, signal: AbortSignal): Promise<Drift>;
  /**
   * What a running guest's agent reads of its identity inside it, just now. Reads only. Undefined: no agent answers, or
   * it can't tell. Left out: the driver has no way to ask.
   */
  attest?(guest: GuestRef, signal: AbortSignal): Promise<AttestedIdentity | undefined>;
  /** Left out: plans of this driver leave nothing of that kind. */
  readonly leftovers?: Leftovers;
  /**
   * Answers one question of the worker of a host that a guest comes from. `allows`: whether that host performs that
   * operation just now, and it brings a guest here. Left out: guests can't come to hosts of this kind.
   */
  receive?(stream: Duplex, allows: (operationId: string) => Promise<boolean>): Promise<void>;
  /** Calls back soon after a guest changed by any hand; until the signal aborts. */
  watch(onChange: () => void, signal: AbortSignal): Promise<void>;
}

export type { BaseDisk, CapturedBase };
