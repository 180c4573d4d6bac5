/** What a placement is decided on, and what it says. Pure data. All bytes are bytes. */

/** What one guest takes of the host that it is put on. */
export interface Need {
  /** Processors of the guest that will be at work; 0 when it is not started. */
  vcpus: number;
  /** 0 when it is not started. */
  memoryBytes: number;
  storeBytes: number;
  /** Networks that it can't be defined or started without. */
  networks: readonly string[];
}

/** A guest that looks for a host. */
export interface Seat extends Need {
  name: string;
  /** Seats of one group never share a host. */
  apart?: string;
  /** Seats of one group are all on one host. */
  together?: string;
}

/** What a host has of the base: `older`, a version of the same template, which shares blocks; `coming`, on its way. */
export type Holding = 'base' | 'coming' | 'older' | 'none';

/** A host as it is now, with everything taken off that was promised to others. */
export interface HostState {
  id: string;
  name: string;
  /** Why nothing can be put on it, as the end of "host-2: …": "is drained". Left out: it can be used. */
  unusable?: string;
  cores: number;
  /** Processors of the guests that run there, or will. */
  busyVcpus: number;
  /** Its processes that ran or waited, on average over the last minute (proc(5), loadavg). */
  load1: number;
  memoryBytes: number;
  memoryFreeBytes: number;
  storeBytes: number;
  storeFreeBytes: number;
  networks: readonly { name: string; active: boolean }[];
  holds: Holding;
  /** Why it can't get a base from another host; left out: it can. */
  receivesNothing?: string;
  /** Groups (`apart`) that have a guest there. */
  groups?: readonly string[];
}

/** `spread`: evenly, though not over a transfer for a few guests. `pack`: on as few hosts as will do. */
export type PlacementPolicy = 'spread' | 'pack';

export interface PlacementQuestion {
  hosts: readonly HostState[];
  seats: readonly Seat[];
  /** Space that the base takes on a host that does not have it, once. */
  baseBytes: number;
  policy: PlacementPolicy;
}

/** What one host gets. */
export interface Share {
  hostId: string;
  name: string;
  /** Indices of the seats, ascending. */
  seats: number[];
  /** "already holds the base; 41 GiB free; 3 of 8 cores in use" */
  why: string;
  holds: Holding;
}

export interface Placement {
  /** By host id. */
  shares: Share[];
  /** Hosts that got nothing, by id. `refused`: it can't take one; otherwise another was better. */
  others: { hostId: string; name: string; refused: boolean; why: string }[];
  /** Seats that no host can take, by index. */
  unplaced: { seat: number; why: string }[];
}
