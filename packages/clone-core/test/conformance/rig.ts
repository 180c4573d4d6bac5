/**
 * What the conformance suite needs to know of a host, besides the driver under test. A rig looks at the host by its
 * own means (not through the driver), so that a driver can't vouch for itself.
 */
import type { GuestRef } from '../../src/driver.ts';
import type { AnyDriver } from '../../src/drivers/registry.ts';

/** Everything cloning could leave behind or take away. Sorted. */
export interface HostLook {
  /** Names of all guests the host knows. */
  guests: string[];
  /** Paths of all files and folders below the store, and of the sources' disks. No sizes: a log may grow. */
  files: string[];
  /** Anything else that could be left over, as text: snapshots, checkpoints, block jobs, mounts, bitmaps. */
  other: string[];
}

/** A guest as the hypervisor has it, identity apart from the rest. */
export interface Definition {
  uuid: string;
  macs: string[];
  /** Disks in order, as the guest sees them. */
  disks: { target: string; path: string }[];
  /**
   * The rest of the definition as stable text: without name, UUID, genid, MACs, paths of disks, NVRAM and TPM state,
   * and without what the hypervisor assigns anew at each start (ids, ports, labels).
   */
  rest: string;
}

export interface ConformanceRig {
  /** A new driver on the same host, as a restarted worker would make it; it knows nothing but the host. */
  driver(): AnyDriver;
  /** Makes a small guest not known to the driver: at least 1 disk (better 2) with content, at least 1 NIC (better 2). */
  makeSource(options: { name: string; running: boolean }): Promise<GuestRef>;
  /** Changes what a plan of this stopped guest is decided on: its definition, or its disk's content. */
  changeSource(source: GuestRef, what: 'definition' | 'disk'): Promise<void>;
  /** Writes to the last disk of this stopped guest, the same each time. */
  writeTo(name: string): Promise<void>;
  /** Makes free space a little less (a few MiB) or gives it back; no guest and no file of `look` changes. */
  wiggleFreeSpace(): Promise<void>;
  /** Makes an image file that `import` can read; outside the store. */
  makeImage(): Promise<string>;
  look(): Promise<HostLook>;
  /** By the hypervisor's name; undefined when there is no such guest. */
  definition(name: string): Promise<Definition | undefined>;
  isRunning(name: string): Promise<boolean>;
  /** Digest of what the guest sees on each disk, by target; must also work for a stopped guest's overlay. */
  content(name: string): Promise<Record<string, string>>;
  /** Digest of the guest-visible content of a file (a base's disk). */
  fileContent(path: string): Promise<string>;
  /** Processes that driver steps started and that still run (copy tools and the like; not running guests). */
  processes(): Promise<number>;
  /** Makes the store too full for a full clone, until the returned function is called. Left out: can't be done here. */
  fillStore?(): Promise<() => Promise<void>>;
  /**
   * Puts a file of someone else's, with some content, at a path where a plan wants to make one; the returned function
   * takes it away. Left out: the driver's names can't be met by chance.
   */
  placeFile?(path: string): Promise<() => Promise<void>>;
  /** Whether a guest made by `makeSource` has a guest agent that answers; false skips the cases that wait for one. */
  readonly hasAgent: boolean;
  /** Each step costs real time: cases that nearly repeat another are left to OFFSHOOT_THOROUGH=1. */
  readonly slow?: boolean;
  /** Removes everything the rig and the cases made. */
  destroy(): Promise<void>;
}

/** Makes a rig per `describe` block; called in `beforeAll`. */
export type MakeRig = () => Promise<ConformanceRig>;
