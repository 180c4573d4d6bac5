/** The steps a plan of the simulated driver consists of. Pure JSON. */
import type { Verification, VerifyDepth } from '../../contract.ts';
import type { GuestRef, Step } from '../../driver.ts';
import type { IdentityOutcome } from '../../identity/contract.ts';
import type { SimulatedGuest } from './host.ts';

interface Of<K extends string> extends Step {
  kind: K;
  /** Mark on everything the plan makes. */
  owner: string;
}

/** Holds the source's disks at one point in time while it runs on. */
export interface PointStep extends Of<'point'> {
  source: GuestRef;
  points: { from: string; to: string }[];
}
export interface CopyStep extends Of<'copy'> {
  from: string;
  to: string;
  bytes: number;
  virtualBytes: number;
  /** The source must still be stopped. */
  stoppedSource?: GuestRef;
}
/** Copies an image file that is no disk of a guest. */
export interface ImportStep extends Of<'import-image'> {
  image: string;
  to: string;
  bytes: number;
}
export interface OverlayStep extends Of<'overlay'> {
  base: string;
  to: string;
}
/** Takes away what `point` made. */
export interface ReleaseStep extends Of<'release'> {
  paths: string[];
}
export interface DefineStep extends Of<'define'> {
  guest: SimulatedGuest;
  /** What the result says of its identity until it was attested. */
  identity?: IdentityOutcome;
}
export interface StartStep extends Of<'start'> {
  guest: GuestRef;
}
export interface WaitAgentStep extends Of<'wait-agent'> {
  guest: GuestRef;
  timeoutSeconds: number;
  /** Attested when the agent answers. */
  identity?: IdentityOutcome;
}
/** Makes the copied disks immutable and states their digests. */
export interface SealStep extends Of<'seal'> {
  definition: string;
  disks: { target: string; path: string }[];
}
export interface StopStep extends Of<'stop'> {
  guest: GuestRef;
  force: boolean;
  timeoutSeconds: number;
  /** It runs when the plan begins and stops only for the plan: undo starts it again. */
  startAgain?: boolean;
}
/** Other files take the place of a guest's own, which are kept beside until `discard`. */
export interface SwapStep extends Of<'swap'> {
  guest: GuestRef;
  swaps: { live: string; fresh: string; kept: string }[];
}
export interface DiscardStep extends Of<'discard'> {
  guest: GuestRef;
  swaps: SwapStep['swaps'];
}
export interface UndefineStep extends Of<'undefine'> {
  guest: SimulatedGuest;
}
export interface RemoveFileStep extends Of<'remove-file'> {
  path: string;
  /** The guest that is deleted in the same plan may still use it. */
  except?: string;
}

/** Compares what stands for the content of disks. */
export interface CompareStep extends Of<'compare'> {
  against: Verification['against'];
  depth: VerifyDepth;
  disks: { target: string; mine: string; theirs: string }[];
  bytes: number;
}

export type SimulatedStep =
  | PointStep
  | CopyStep
  | ImportStep
  | OverlayStep
  | ReleaseStep
  | DefineStep
  | StartStep
  | WaitAgentStep
  | SealStep
  | StopStep
  | UndefineStep
  | RemoveFileStep
  | CompareStep
  | SwapStep
  | DiscardStep;

export type SimulatedStepKind = SimulatedStep['kind'];
