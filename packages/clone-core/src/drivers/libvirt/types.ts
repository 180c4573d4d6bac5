/** Facts and steps of the libvirt driver: plain JSON, stored with the plan. */
import type { BaseDisk, MemoryPoint, Verification, VerifyDepth } from '../../contract.ts';
import type { CleanKind, GuestInside, IdentityOutcome } from '../../identity/contract.ts';
import type { InsideEdit } from '../../identity/edits.ts';
import type { SourceIdentity } from '../../identity/judge.ts';
import type { SeedQuestion } from '../../identity/seed.ts';
import type { Facts, GuestRef, Step } from '../../driver.ts';
import type { ChainFile } from '../../disks/chain.ts';
import type { Checksum, OvaDisk } from '../../disks/ova/archive.ts';
import type { Look } from './moving/protocol.ts';
import type { ImageHead } from './save-image.ts';

export type DomainState = 'stopped' | 'running' | 'paused';

/** A disk of the source that is copied, with the files its content is in (the active one first). */
export interface DiskFacts {
  /** What the guest calls it: `vda`. */
  target: string;
  path: string;
  /** `file` or `block`, as the definition has it. */
  type: 'file' | 'block';
  format: string;
  virtualBytes: number;
  /** Bytes that a full copy has to read: allocated in all files of the chain. */
  allocatedBytes: number;
  chain: ChainFile[];
  /** Its one file and the store are on the same filesystem, which can share blocks. */
  reflinkable: boolean;
}

export interface SourceFacts {
  state: DomainState | 'template';
  /** Inactive definition, as libvirt gives it. */
  definition: string;
  disks: DiskFacts[];
  /** Of a template: what its processor asks for that the host lacks, as a sentence's end. */
  cpuLacking?: string;
  agentAnswers: boolean;
  /** Names of its snapshots, by any tool. */
  snapshots: string[];
  nvram?: { path: string; size: number; modifiedMs: number; type: 'file' | 'directory' | 'block' | 'other' };
  /** Folder of the TPM's state, when the guest has an emulated TPM. */
  tpm?: { statePath: string; exists: boolean };
  /** Of a running guest: why it can't be cloned with its memory, as a sentence's end; undefined: it can. */
  memoryObstacle?: string;
  /** What is inside; undefined: it was not asked. */
  inside?: InsideFacts;
  /** A base whose disks were taken with the memory of a running guest: by themselves they are as after a power cut. */
  warm?: boolean;
  /** Stopped with its memory saved on disk: its own disks are as after a power cut. */
  memorySaved?: boolean;
}

/** What is known of the inside of a source. */
export interface InsideFacts {
  inside: GuestInside;
  /** What its clones must not be. */
  source: SourceIdentity;
}

/** A guest that Offshoot made and is about to change, as far as its own files go. */
export interface OwnFacts {
  state: DomainState;
  /** Inactive definition. */
  definition: string;
  /** Its disks that are files Offshoot made for it. */
  disks: OwnFile[];
  /** Targets of its other disks. */
  otherTargets: string[];
  nvram?: { path: string; inode?: number; owned: boolean };
  /** Names of its snapshots: libvirt's, and those only in the disk files. */
  snapshots: string[];
}
/** A guest that is to be put into a snapshot, or back to one. */
export interface SnapshotFacts {
  state: DomainState;
  memoryBytes: number;
  /** Why libvirt can't take one of this guest. */
  unable?: { why: string; remedy: string };
  taken: { name: string; withMemory: boolean }[];
}
export interface OwnFile {
  target: string;
  path: string;
  format: string;
  inode: number;
  allocatedBytes: number;
}

export interface LibvirtFacts extends Facts {
  /** 9000000 is 9.0.0. */
  libvirtVersion: number;
  /** Store and connection of the driver, so that planning needs nothing else. */
  store: string;
  takenMacs: string[];
  accelerator: 'kvm' | 'tcg';
  /** Accelerator and processor, for people and to compare: memory goes on only on the same. */
  machine: string;
  /** For clone and capture; for promote the guest itself, for reset the base. */
  source?: SourceFacts;
  /** For verify: the guest, and what it is compared with. */
  compared?: { mine: SourceFacts; theirs: SourceFacts };
  /** For reset and promote. */
  own?: OwnFacts;
  /** For snapshot, revert and remove-snapshot. */
  snapshots?: SnapshotFacts;
  /** For start, stop, delete; undefined: the host knows no such guest. */
  guest?: {
    uuid: string;
    name: string;
    state: DomainState;
    nvramPath?: string;
    /** It is held back until it is itself. */
    awaiting?: Awaiting;
  };
  /** For import. */
  image?: {
    path: string;
    format: string;
    virtualBytes: number;
    allocatedBytes: number;
    modifiedMs: number;
    /** Of an OVA. */
    disks?: OvaDisk[];
  };
  /** For transfer: whether the base is here already, and whole as far as anyone knows; why none can come. */
  transfer?: { here: boolean; obstacle?: string };
  /** For migrate. */
  move?: MoveFacts;
  /** For import with UEFI: firmware files of the host. */
  firmware?: { code: string; vars: string };
  /** For refresh and restore. */
  clone?: CloneFacts;
  /** For refresh: what the change record of the current generation says, of a running source. */
  record?: RecordFacts;
  /** For refresh, delete: change records at the source that were made for this clone. */
  records?: string[];
  /** The most files that a read of a disk should go through on this host. */
  chainBudget: number;
  /** Linked clone of a guest: previewed before its base exists. */
  previewOnly?: boolean;
}

/** A guest that is to go to another host, and what it would find there. */
export interface MoveFacts {
  source: SourceFacts;
  /** Of a running guest: the definition that another libvirt takes, as it runs. */
  live?: string;
  /** Its files that go with it besides disks: settings of its firmware, the drive with its first settings. */
  extras: { path: string; size: number; modifiedMs: number }[];
  /** State of its emulated TPM: files below its folder. */
  tpm?: { folder: string; owner: string; files: string[] };
  /** Memory saved on disk (virsh managedsave). */
  saved: boolean;
  /** Change records that belong to clones refreshed from it. */
  records: string[];
  /** Why a running one can't go, as a sentence's end. */
  unmovable?: string;
  there: Look;
}

/** A clone with generations, as the host has it. */
export interface CloneFacts {
  state: DomainState;
  definition: string;
  /** By target: the file its definition names, and its size as the guest sees it. */
  active: Record<string, { path: string; format: string; virtualBytes: number; modifiedMs?: number }>;
  /** Names of its snapshots: they would be lost with the file they are in. */
  snapshots: string[];
  /** Of the generations that can be put back: files of each disk, the own one first, as the files themselves say. */
  generations: { number: number; chains: Record<string, { path: string; format: string }[]> }[];
  /** Those whose files are there and can't be read: they can't be put back either. `why` is a sentence. */
  unreadable?: { number: number; why: string }[];
  /** Bytes that the clone wrote itself since the current generation; undefined: can't be told. */
  ownBytes?: number;
  /** Of these, bytes in files that nobody but Offshoot wrote to, to make it itself. */
  editedBytes?: number;
  /** What is inside it now. */
  inside?: InsideFacts;
}

/** Bytes changed by target, or why the record can't be used, as the end of a sentence. */
export type RecordFacts = { sizes: Record<string, number> } | { problem: string };

/** The stopped guest whose disks are read: it must not be started unnoticed. */
export interface Stopped {
  uuid: string;
  name: string;
}

export interface DefineStep extends Step {
  kind: 'define';
  guest: GuestRef;
  xml: string;
  /** Where the definition is for as long as virsh reads it. */
  scratch: string;
  /** Undo: flags that this libvirt knows. */
  undefineTpm: boolean;
  /** What the result says of its identity until it was attested. */
  identity?: IdentityOutcome;
}
export interface CopyDiskStep extends Step {
  kind: 'copy-disk';
  target: string;
  from: string;
  fromFormat: string;
  to: string;
  strategy: 'reflink' | 'convert';
  bytes: number;
  virtualBytes: number;
  /** What the source's files were when planned: [path, modified]. A change means another content. */
  expects: { path: string; modifiedMs: number; size: number }[];
  stopped?: Stopped;
}
export interface BackupStep extends Step {
  kind: 'backup-disks';
  guest: GuestRef;
  disks: { target: string; to: string; virtualBytes: number }[];
  /** All disks of the running guest; those not copied are excluded by name. */
  excluded: string[];
  scratch: string;
  freeze: boolean;
  bytes: number;
  /** Name of the change record that begins at the same point. */
  record?: string;
}
/** One disk's new layer, and where its content is. */
export interface NewLayer {
  target: string;
  onto: string;
  ontoFormat: string;
  to: string;
  virtualBytes: number;
}
export interface FillLayersStep extends Step {
  kind: 'fill-layers';
  guest: GuestRef;
  source: GuestRef;
  /**
   * `record`: a running source's blocks that changed since its change record; `compare-running`: what differs from the
   * running source at one point; `compare-stopped`: what differs from the stopped source's files.
   */
  way: 'record' | 'compare-running' | 'compare-stopped';
  layers: NewLayer[];
  /** Per layer, for `compare-stopped`: the source's files, which must not change meanwhile. */
  from: { path: string; format: string; expects: CopyDiskStep['expects'] }[];
  /** All other disks of the running source. */
  excluded: string[];
  freeze: boolean;
  scratch: string;
  /** Folder for the socket and the scratch files of a running comparison; ours alone. */
  pull: string;
  /** The record that is read. */
  since?: string;
  /** The record that begins at the same point, of a running source. */
  record?: string;
  /** Moved, or read when comparing. */
  bytes: number;
}
export interface BeginRecordStep extends Step {
  kind: 'begin-record';
  source: GuestRef;
  record: string;
  disks: { target: string; path: string; expects: CopyDiskStep['expects'] }[];
  scratch: string;
}
export interface OwnLayersStep extends Step {
  kind: 'own-layers';
  /** `base` shows the same as the new file until the guest writes. */
  disks: { target: string; onto: string; ontoFormat: string; to: string; virtualBytes: number }[];
}
export interface RedefineStep extends Step {
  kind: 'redefine';
  guest: GuestRef;
  xml: string;
  before: string;
  scratch: string;
  /** What it is to be inside from now on; its new definition waits for that. */
  identity?: IdentityOutcome;
  /** What it has now, when that was looked at: new disks may stand on it, and what it writes meanwhile was not asked about. */
  expects?: { path: string; modifiedMs: number }[];
}
/** Gives a stopped guest's own files another file to stand on, which shows the same. */
export interface StandOnStep extends Step {
  kind: 'stand-on';
  guest: GuestRef;
  disks: {
    own: string;
    to: { path: string; format: string };
    before: { path: string; format: string };
  }[];
}
export interface SettleStep extends Step {
  kind: 'settle';
  /** Done in this order; each may find itself done already. */
  actions: SettleAction[];
  source?: GuestRef;
  /** Change records that no generation needs any more. */
  records: string[];
  /** Nobody will come back to what can't be removed now. */
  lastChance?: true;
}
/** Those of one disk (`target`) are done in their order. */
export type SettleAction = { target?: string } & (
  | { do: 'remove'; path: string }
  /** `layer` goes into `below`, which then takes its name: whatever stands on it stands on that. */
  | { do: 'fold'; layer: string; below: string }
  /** As `fold`, where their formats differ: what stood on `layer` then stands on `below`. */
  | { do: 'merge'; layer: string; below: string; belowFormat: string; dependents: string[] }
);
/** A disk that stands still for a while: what its guest writes goes beside it. */
export interface ParkedDisk {
  target: string;
  path: string;
  format: string;
  virtualBytes: number;
  /** What the guest writes meanwhile. */
  beside: string;
}
/** Saves the memory of a running guest and has its disks stand still at the same instant. */
export interface MemoryPointStep extends Step {
  kind: 'memory-point';
  guest: GuestRef;
  disks: ParkedDisk[];
  /** Disks of the running guest that go on as they are. */
  excluded: string[];
  /** The save image. */
  memory: string;
}
/** Puts what the guest wrote beside its disks into them again. */
export interface RejoinStep extends Step {
  kind: 'rejoin-disks';
  guest: GuestRef;
  disks: ParkedDisk[];
}
export interface OverlayStep extends Step {
  kind: 'create-overlays';
  base: string;
  disks: {
    target: string;
    basePath: string;
    baseFormat: string;
    baseBytes: number;
    to: string;
    virtualBytes: number;
  }[];
}
export interface CopyFileStep extends Step {
  kind: 'copy-file';
  from: string;
  to: string;
}
export interface CopyTpmStep extends Step {
  kind: 'copy-tpm';
  from: string;
  to: string;
  stopped: Stopped;
}
export interface SealStep extends Step {
  kind: 'seal-base';
  /** Tells this capture's base from others of the same content. */
  captureId: string;
  /** Folder the disks were copied into. */
  from: string;
  /** `<store>/bases`. */
  into: string;
  definition: string;
  disks: { target: string; file: string; virtualBytes: number }[];
  nvramFile?: string;
  /** The save image, of a capture with memory. */
  memory?: { file: string; memoryBytes: number; madeOn: string };
  bytes: number;
}
/** Takes a base from another host, checks it, and gives it its name. */
export interface FetchBaseStep extends Step {
  kind: 'fetch-base';
  /** Tells this transfer's base from others of the same content. */
  captureId: string;
  digest: string;
  definition: string;
  /** Folder the files arrive in. */
  from: string;
  /** `<store>/bases`. */
  into: string;
  disks: (Omit<BaseDisk, 'path' | 'allocatedBytes'> & { file: string })[];
  nvramFile?: string;
  memory?: Omit<MemoryPoint, 'path'> & { file: string };
  /** In order of preference. */
  sources: { hostId: string; name: string }[];
  /** Files here that may share blocks with it. */
  older: string[];
  /** What is here is known to be damaged: it gives its good blocks and goes. */
  replace: boolean;
  bytesPerSecond?: number;
  bytes: number;
}
/** Makes the clone's disks and has it go on from the saved memory, with its network links down. */
export interface ResumeMemoryStep extends Step {
  kind: 'resume-memory';
  guest: GuestRef;
  base: string;
  disks: OverlayStep['disks'];
  image: { from: string; bytes: number; streamAt: number };
  /** The clone's own image; gone as soon as it runs. */
  to: string;
  head: Omit<ImageHead, 'streamAt'>;
  macs: string[];
}
/** What a clone's definition notes until it is itself: no secret in it. */
export interface Awaiting {
  /** `unasked`, as long as this is noted. */
  outcome: IdentityOutcome;
  deadlineSeconds: number;
  /** MACs of the links to put up. */
  links: string[];
  /** What the clone must not be. */
  source: SourceIdentity;
  /** Ids of agents.ts whose state is reset inside. */
  agents: string[];
  windows?: boolean;
  /** The drive with its first settings. */
  drive?: { path: string; windows: boolean };
  /** The agent makes it itself: it went on from its source's memory, or booted as its source. */
  take?: {
    nics: { was: string; mac: string }[];
    /** Left out of it meanwhile. */
    clean?: CleanKind[];
    /** Users and the like, done inside by the agent: a script, and its standard input. */
    firstBoot?: { script: string; input: string };
  };
  /** Nothing is attested, and it was started with its drive: that has done its work. */
  started?: true;
}
/** Waits for a clone's agent, sees that it is itself inside, and only then connects its network. */
export interface AttestStep extends Step {
  kind: 'attest';
  guest: GuestRef;
  awaiting: Awaiting;
}
/** Writes the drive with a clone's first settings. */
export interface WriteSeedStep extends Step {
  kind: 'write-seed';
  to: string;
  way: 'seed' | 'unattend';
  /** What its files are made of; sealed secrets are opened when they are written. */
  seed: Omit<SeedQuestion, 'randomSeed' | 'administratorPassword'>;
}
/** Takes the drive with its first settings out of a guest that stands still. */
export interface DropSeedStep extends Step {
  kind: 'drop-seed';
  guest: GuestRef;
  path: string;
}
/** Carries what makes a guest itself from its old disk into those that take its place. */
export interface CarryInsideStep extends Step {
  kind: 'carry-inside';
  guest: GuestRef;
  from: { disk: { target: string; path: string; format: string }; root: NonNullable<GuestInside['root']> };
  /** Its new disks. */
  disks: { target: string; path: string; format: string }[];
  patterns: string[];
  /** Of its agents: edits of the new disks before, and what is carried over where it has it. Plans of before had none. */
  agents?: { edits: InsideEdit[]; patterns: string[] };
  /** What the new disks do not keep of their source's past. */
  clean?: CleanKind[];
  /** What was set up in it when it was cloned and is gone with its disk: prepared for its next start, after all else. */
  setUp?: InsideEdit[];
  /** A guest is reset because it is broken: what can't be carried over any more is said, and is no failure. */
  mayFail: boolean;
}
/** Changes files in a disk of a guest that stands still. */
export interface EditInsideStep extends Step {
  kind: 'edit-inside';
  disk: { target: string; path: string; format: string };
  root: NonNullable<GuestInside['root']>;
  edits: InsideEdit[];
}
/** Writes one disk for another hypervisor. */
export interface ExportDiskStep extends Step {
  kind: 'export-disk';
  target: string;
  from: string;
  fromFormat: string;
  to: string;
  format: 'qcow2' | 'raw' | 'vmdk' | 'vhdx';
  bytes: number;
  expects: CopyDiskStep['expects'];
  stopped?: Stopped;
}
/** Packs what was written, when one file is wanted, and lists checksums. */
export interface FinishExportStep extends Step {
  kind: 'finish-export';
  folder: string;
  files: { path: string; virtualBytes: number; allocatedBytes: number }[];
  ova?: { path: string; name: string; vcpus: number; memoryMiB: number; networks: string[] };
  bytes: number;
}
/** Unpacks the disks of an OVA and holds them against its checksums. */
export interface UnpackOvaStep extends Step {
  kind: 'unpack-ova';
  from: string;
  folder: string;
  disks: { file: string; checksum?: Checksum }[];
}
export interface DropUnpackedStep extends Step {
  kind: 'drop-unpacked';
  folder: string;
  files: string[];
}
/** Has another host take in a guest's files, or make room for the disks of a running one. */
export interface ReceiveGuestStep extends Step {
  kind: 'receive-guest';
  target: { hostId: string; name: string };
  guest: GuestRef;
  /** In that host's folder for disks. */
  folder: string;
  prepare: {
    file: string;
    format: 'qcow2' | 'raw';
    virtualBytes: number;
    onto?: { path: string; format: 'qcow2' | 'raw' };
  }[];
  files: {
    from: string;
    file: string;
    onto?: { path: string; format: 'qcow2' | 'raw' };
    /** Left out: made by this plan. */
    expects?: { path: string; modifiedMs: number; size: number };
  }[];
  tpm?: { uuid: string; folder: string; owner: string; files: string[] };
  stopped?: Stopped;
  bytes: number;
}
/** Defines a stopped guest on another host. */
export interface DefineThereStep extends Step {
  kind: 'define-there';
  target: { hostId: string; name: string };
  guest: GuestRef;
  folder: string;
  xml: string;
  stopped: Stopped;
  expects: CopyDiskStep['expects'];
}
/** Moves a running guest with its memory and what its disks hold. */
export interface MigrateLiveStep extends Step {
  kind: 'migrate-live';
  target: { hostId: string; name: string };
  guest: GuestRef;
  xml: string;
  /** Where the definition is for as long as virsh reads it. */
  scratch: string;
  /** `inc`: its disks stand on the same base there, and only what is on top travels. */
  storage: 'all' | 'inc';
  targets: string[];
  bytes: number;
}
export interface StartStep extends Step {
  kind: 'start';
  guest: GuestRef;
  /** The plan made this guest: undo stops it. */
  ours: boolean;
  /** Seconds to wait for the agent; undefined: don't. */
  agentSeconds?: number;
  /** Nothing attests it: that its drive has been read is noted once it was started. */
  notes?: Awaiting;
}
export interface StopStep extends Step {
  kind: 'stop';
  guest: GuestRef;
  force: boolean;
  timeoutSeconds: number;
  /** It runs when the plan begins and stops only for the plan: undo starts it again. */
  startAgain?: boolean;
}
/** A file of a guest whose place another takes. */
export interface Swap {
  live: string;
  /** Takes its place; undefined: nothing does. */
  fresh?: string;
  /** Where the old one stays until the plan is done. */
  kept: string;
  /** Of the old one. */
  inode: number;
  /** When the old one was last written to: with what came since it stays. Left out: it goes whatever it holds. */
  modifiedMs?: number;
}
export interface SwapFilesStep extends Step {
  kind: 'swap-files';
  guest: GuestRef;
  swaps: Swap[];
}
/** Copies what a running guest's disks share with others into them. */
export interface PullDisksStep extends Step {
  kind: 'pull-disks';
  guest: GuestRef;
  disks: {
    target: string;
    path: string;
    format: string;
    bytes: number;
    /** What it stands on until it is whole. */
    onto: { path: string; format: string };
  }[];
  store: string;
}
export interface TakeSnapshotStep extends Step {
  kind: 'take-snapshot';
  guest: GuestRef;
  name: string;
  /** Kept in its description: only a snapshot with it is this plan's. */
  mark: string;
}
export interface RevertStep extends Step {
  kind: 'revert-snapshot';
  guest: GuestRef;
  to: string;
  /** Holds what was before; undo goes back to it. */
  back: string;
}
export interface DropSnapshotStep extends Step {
  kind: 'drop-snapshot';
  guest: GuestRef;
  name: string;
  /** It was of use to this plan only: nobody misses it. */
  ours: boolean;
}
/** The point of no return of a plan that swapped files. */
export interface DiscardKeptStep extends Step {
  kind: 'discard-kept';
  guest: GuestRef;
  swaps: Swap[];
}
export interface RemoveFilesStep extends Step {
  kind: 'remove-files';
  paths: string[];
  /** Emptied folders that may go. */
  folders: string[];
}
export interface UndefineStep extends Step {
  kind: 'undefine';
  guest: GuestRef;
  tpm: boolean;
  /** The NVRAM file is one of those that go. */
  nvram: boolean;
}
export interface RemoveBaseStep extends Step {
  kind: 'remove-base';
  label: string;
  folder: string;
  files: string[];
}

/** A disk of one side, with what its files were when planned; of a copy that the same plan makes nothing is known. */
export interface ComparedDisk {
  path: string;
  format: string;
  expects: { path: string; modifiedMs: number; size: number }[];
}
export interface CompareStep extends Step {
  kind: 'compare-disks';
  against: Verification['against'];
  depth: VerifyDepth;
  disks: { target: string; mine: ComparedDisk; theirs: ComparedDisk }[];
  /** Guests that must stand still while their disks are read. */
  stopped: Stopped[];
  /** Files of the base with the digests they were sealed with. */
  sealed: { path: string; digest: string }[];
  /** Path that the sockets' names begin with. */
  sockets: string;
  /** A copy made by the same plan: a difference is a failure. */
  mustEqual: boolean;
  bytes: number;
}

export type LibvirtStep =
  | DefineStep
  | CopyDiskStep
  | BackupStep
  | MemoryPointStep
  | RejoinStep
  | ResumeMemoryStep
  | AttestStep
  | WriteSeedStep
  | DropSeedStep
  | EditInsideStep
  | CarryInsideStep
  | OverlayStep
  | CopyFileStep
  | CopyTpmStep
  | SealStep
  | FetchBaseStep
  | ExportDiskStep
  | FinishExportStep
  | UnpackOvaStep
  | DropUnpackedStep
  | ReceiveGuestStep
  | DefineThereStep
  | MigrateLiveStep
  | StartStep
  | StopStep
  | RemoveFilesStep
  | UndefineStep
  | RemoveBaseStep
  | CompareStep
  | SwapFilesStep
  | DiscardKeptStep
  | FillLayersStep
  | BeginRecordStep
  | OwnLayersStep
  | RedefineStep
  | SettleStep
  | StandOnStep
  | PullDisksStep
  | TakeSnapshotStep
  | RevertStep
  | DropSnapshotStep;

export type { BaseDisk };
