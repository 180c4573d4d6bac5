/** What looking into disks and editing them takes and gives. */
import type { GuestInside } from '../../identity/contract.ts';

/** One disk of a guest that stands still. */
export interface InsideDisk {
  /** vda */
  target: string;
  /** Of its active file on the host. */
  path: string;
  /** qcow2, raw, … as the guest's definition says. */
  format: string;
}

/** Where files can be read and written: what `lookInside` found. */
export type InsideRoot = NonNullable<GuestInside['root']>;

/** An agent with state of its own, as agents.ts lists them. */
export interface AgentTrace {
  id: string;
  /** For sentences; unset: the id. */
  name?: string;
  /** Paths or patterns inside the guest; one of them there: its state is there. */
  detect: readonly string[];
  /** What becomes of it in a clone, a sentence. Unset: its state is reset. */
  note?: string;
  remove?: readonly string[];
  empty?: readonly string[];
  lines?: readonly unknown[];
}

export interface LookOptions {
  /** Folder of the host for temporary files: a few MiB while it runs. */
  store: string;
  signal: AbortSignal;
  agents?: readonly AgentTrace[];
}

export interface FileInside {
  /** Inside the guest, links resolved. */
  path: string;
  /** base64 */
  content: string;
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
}
