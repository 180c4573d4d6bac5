/**
 * What web, worker and browser agree on: schemas of requests, the plan as the preview shows it, events, queue names.
 * Imported by the browser: nothing here may reach for Node or a driver.
 */
import { z } from 'zod';
import { identityOptionsSchema, type GuestInside, type IdentityOutcome } from './identity/contract.ts';
import { guestNameSchema, MAX_COUNT } from './names.ts';
import type { PublicError } from './errors.ts';

export {
  expandNames,
  guestNameSchema,
  MAX_COUNT,
  MAX_NAME_LENGTH,
  rangeSize,
  type NameExpansion,
} from './names.ts';
export type { ErrorCode, PublicError } from './errors.ts';

export const hypervisorKinds = ['libvirt', 'simulated'] as const;
export type HypervisorKind = (typeof hypervisorKinds)[number];

/** `memory`: the clone goes on where its running source, or a warm template, is. */
export const cloneModes = ['full', 'linked', 'memory'] as const;
export type CloneMode = (typeof cloneModes)[number];

export const guestStates = ['creating', 'stopped', 'running', 'paused', 'deleting', 'missing'] as const;
export type GuestState = (typeof guestStates)[number];

export const operationKinds = [
  'clone',
  'capture',
  'import',
  'start',
  'stop',
  'delete',
  'remove-base',
  'verify',
  'reset',
  'refresh',
  'restore',
  'snapshot',
  'revert',
  'remove-snapshot',
  'promote',
  'transfer',
  'migrate',
  'export',
] as const;
/**
 * `refresh` brings a full clone up to date with its source; `restore` puts it back to a state kept by a refresh.
 * `capture` freezes a guest's disks into an immutable base (a template version, or the hidden base of linked clones);
 * `import` makes a template version from an image file; `remove-base` deletes a base that has no children;
 * `verify` compares a guest's disks with what it was cloned from;
 * `reset` puts a linked clone back to what it was when it was cloned; `revert` puts a guest back to a `snapshot`;
 * `promote` detaches a linked clone from its base: it becomes a full one;
 * `transfer` brings a base from another host; `migrate` moves a guest to another host; `export` writes disks into
 * files for other hypervisors.
 */
export type OperationKind = (typeof operationKinds)[number];

export const operationStates = [
  'waiting', // depends on another operation (`afterId`) that has not finished
  'queued',
  'running',
  'undoing', // failed or cancelled; undoing what it did
  'finished',
  'failed',
  'cancelled',
  'stale', // facts changed since the preview; nothing was done, the new plan is stored for review
] as const;
export type OperationState = (typeof operationStates)[number];
export const endedStates: readonly OperationState[] = ['finished', 'failed', 'cancelled', 'stale'];
export const isEnded = (state: OperationState): boolean => endedStates.includes(state);

export const lanes = ['interactive', 'bulk'] as const;
/** A queue lane of one host: `interactive` for what takes seconds, `bulk` for what moves gigabytes. */
export type Lane = (typeof lanes)[number];

export const hostIdSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'A host id is lower-case letters, digits and dashes.');
/** BullMQ queue of a host's lane. BullMQ forbids ':' in names. */
export const queueName = (hostId: string, lane: Lane): string => `${hostId}-${lane}`;

// ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────────

export const sourceSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('guest'), id: z.uuid() }),
  z.strictObject({ type: z.literal('template'), versionId: z.uuid() }),
]);
/** A row of the catalog or of the inventory to clone from. */
export type Source = z.infer<typeof sourceSchema>;

/** Name of a host's libvirt network. */
export const networkSchema = z
  .string()
  .min(1)
  .max(64)
  .regex(/^[A-Za-z0-9._-]+$/, 'A network name holds letters, digits, dot, dash and underscore.');

export const cloneOptionsSchema = z.strictObject({
  /** Start the clone when it is made. */
  start: z.boolean().default(true),
  /** With `start`: finish only when the guest agent answered, or fail after `agentTimeoutSeconds`. */
  waitForAgent: z.boolean().default(true),
  agentTimeoutSeconds: z.int().min(5).max(3600).default(180),
  vcpus: z.int().min(1).max(256).optional(),
  /** MiB. */
  memoryMiB: z.int().min(64).max(4_194_304).optional(),
  /** Name of the host's libvirt network for every NIC; unset: as the source. */
  network: networkSchema.optional(),
  /** TPM state: `new` gives the clone an empty TPM (secrets sealed in the source's stay there); `copy` copies it (stopped source only). */
  tpm: z.enum(['new', 'copy']).default('new'),
  /** Full clones of what stands still: compare the copy with its source, byte by byte, before it starts. */
  verify: z.boolean().default(false),
  /**
   * Full clones: keep what was cloned apart from what the clone writes, and begin a change record at the source, so that
   * a later refresh moves only what changed.
   */
  refreshable: z.boolean().default(false),
  /** What makes the clone its own machine; left out: what its policy and source give. */
  identity: identityOptionsSchema.prefault({}),
});
export type CloneOptions = z.infer<typeof cloneOptionsSchema>;

export const placementSchema = z.strictObject({
  /** Hosts to choose from; unset: all there are. */
  hostIds: z.array(hostIdSchema).min(1, 'Choose at least one host.').max(500).optional(),
  /** `spread`: evenly, though not over a transfer for a few guests. `pack`: on as few hosts as will do. */
  policy: z.enum(['spread', 'pack']).default('spread'),
  /** `apart`: each on a host of its own. `together`: all on one. */
  rule: z.enum(['any', 'apart', 'together']).default('any'),
});
/** How the hosts of a batch are chosen. */
export type PlacementOptions = z.infer<typeof placementSchema>;

const cloneFields = z.strictObject({
  source: sourceSchema,
  /** Where the clones are made; unset: on the source's host. Of a template only: its base goes there first. */
  hostId: hostIdSchema.optional(),
  /** Of a template: each clone's host is chosen. */
  placement: placementSchema.optional(),
  mode: z.enum(cloneModes),
  names: z
    .array(guestNameSchema)
    .min(1, 'Make at least 1.')
    .max(MAX_COUNT, `At most ${MAX_COUNT} guests in one request.`)
    .refine((names) => new Set(names).size === names.length, 'Two of the names are the same.'),
  options: cloneOptionsSchema.prefault({}),
});
export const cloneRequestSchema = cloneFields.refine(
  ({ hostId, placement, source }) =>
    placement === undefined || (hostId === undefined && source.type === 'template'),
  { message: 'Hosts are chosen for clones of a template, when none is named.', path: ['placement'] },
);
/** What the New clone page asks for: N guests of one source. */
export type CloneRequest = z.infer<typeof cloneRequestSchema>;

export const agreedSharesSchema = z
  .array(
    z.strictObject({
      hostId: hostIdSchema,
      /** Places of its names in the request. */
      seats: z
        .array(
          z
            .int()
            .min(0)
            .max(MAX_COUNT - 1),
        )
        .min(1),
      /** Of the host's own preview. */
      fingerprint: z.string().max(200),
    }),
  )
  .min(1)
  .max(500);
/** Which host gets what, as the preview said and someone agreed to. */
export type AgreedShare = z.infer<typeof agreedSharesSchema>[number];

export const refreshOptionsSchema = z.strictObject({
  /**
   * What becomes of what the clone itself wrote since its last cloning: `refuse` stops when there is any; `discard` leaves
   * it in the state before, which later refreshes remove; `keep` keeps that state until someone deletes it.
   */
  ownChanges: z.enum(['refuse', 'discard', 'keep']).default('refuse'),
  /** How many states before this one can be put back afterwards, besides those kept on purpose. */
  keepPrevious: z.int().min(0).max(5).default(1),
});
export type RefreshOptions = z.infer<typeof refreshOptionsSchema>;

export const importRequestSchema = z.strictObject({
  /** Template to make, or to add a version to. */
  template: guestNameSchema,
  description: z.string().max(500).default(''),
  hostId: hostIdSchema,
  /** Absolute path of the image on the host: qcow2, raw, VMDK, VHDX or OVA. It is read, never changed. */
  imagePath: z.string().startsWith('/').max(4096),
  osName: z.string().max(100).default('Linux'),
  vcpus: z.int().min(1).max(256).default(1),
  memoryMiB: z.int().min(64).max(4_194_304).default(128),
  firmware: z.enum(['bios', 'uefi']).default('bios'),
  network: z
    .string()
    .min(1)
    .max(64)
    .regex(/^[A-Za-z0-9._-]+$/)
    .optional(),
});
export type ImportRequest = z.infer<typeof importRequestSchema>;

export const verifyDepths = ['whole', 'sample'] as const;
/** `whole`: every byte of every disk. `sample`: blocks at random places, see `undetectedShare`. */
export type VerifyDepth = (typeof verifyDepths)[number];

/** At most so many snapshots of one guest: each holds what was overwritten since, inside the disk file. */
export const MAX_SNAPSHOTS = 20;

export const snapshotNameSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$/,
    'A snapshot’s name holds up to 60 letters, digits, dots, dashes and underscores, and begins with a letter or digit.',
  );

export interface GuestSnapshot {
  name: string;
  /** ISO 8601. */
  takenAt: string;
  /** It ran when it was taken; reverting goes on from there. */
  withMemory: boolean;
  memoryBytes?: number;
  /** Taken here; one of another tool is shown and left alone. */
  ours: boolean;
}

export const exportFormats = ['qcow2', 'raw', 'vmdk', 'vhdx', 'ova'] as const;
/** `vmdk`: stream-optimized. `ova`: one file with a description, checksums and VMDKs. */
export type ExportFormat = (typeof exportFormats)[number];

/** A file that an export wrote, on its host. */
export interface ExportedFile {
  path: string;
  bytes: number;
  /** hex */
  sha256: string;
}

// ── the plan, as previewed, saved and performed ─────────────────────────────────────────────────────────────────────

/** Estimates of a plan. Bytes are bytes; seconds are wall seconds on an idle host. */
export interface Estimates {
  readBytes: number;
  moveBytes: number;
  /** Space the result takes on the host's store when done. */
  storeBytes: number;
  seconds: number;
}

/** What a copy of the source is consistent to. `exact`: the source was stopped, so it is a block-by-block copy. */
export type Consistency = 'exact' | 'filesystem' | 'crash';

export interface PlanNote {
  level: 'info' | 'warn';
  /** A sentence for the user. */
  text: string;
}

export interface StepView {
  id: string;
  kind: string;
  /** Short, active: "Copy disk vda". */
  title: string;
  /** Bytes this step moves, if it moves any. */
  bytes?: number;
}

/** The part of a plan that a browser sees; a stored plan has driver-specific fields on its steps besides. */
export interface PlanView {
  /** "Linked clone web-07 of sample v1". */
  summary: string;
  estimates: Estimates;
  consistency?: Consistency;
  /** How the bulk of the bytes gets there: 'overlay', 'reflink', 'convert', 'backup', or none. */
  strategy?: string;
  notes: PlanNote[];
  steps: StepView[];
  /** Changes when any fact that the plan was decided on changes; not with ids, the new name, or free space. */
  fingerprint: string;
}

/** Why a mode can or can't be used for a source on its host; the UI greys out and explains from this. */
export interface ModeChoice {
  mode: CloneMode;
  available: boolean;
  /** Plain words: what it means here, or why it is unavailable. */
  explanation: string;
}

/** Preview of a clone request: what will happen, per guest and in sum. */
export interface ClonePreview {
  modes: ModeChoice[];
  /** Made once before the clones, when a linked clone's source is a guest: its disks become an immutable base. */
  capture?: PlanView;
  /** Goes before the clones when their host does not have the template's base. */
  transfer?: PlanView;
  /** The plan of the first guest; the others differ only in names, UUIDs and MACs. */
  each: PlanView;
  count: number;
  total: Estimates;
  /** What is in the source's disks, where they were looked into. */
  inside?: Pick<GuestInside, 'kind' | 'found'>;
  /** Covers capture and clones; sent back with the click so that a stale plan is noticed. */
  fingerprint: string;
  simulated: boolean;
  /** Where hosts were to be chosen: which gets what, and why. `each` and `transfer` are then those of the first. */
  placement?: PlacementPreview;
}

export interface PlacementPreview {
  shares: {
    hostId: string;
    name: string;
    /** Places of its names in the request. */
    seats: number[];
    /** "already holds the base; 41 GiB free; 3 of 8 cores in use" */
    why: string;
    fingerprint: string;
    /** Bytes and seconds that bringing the base there takes, when it has to be. */
    transfer?: { bytes: number; seconds: number };
    total: Estimates;
    notes: PlanNote[];
  }[];
  /** Hosts that get none. `refused`: they can't; otherwise others suit better. */
  others: { hostId: string; name: string; refused: boolean; why: string }[];
}

// ── differential clones ─────────────────────────────────────────────────────────────────────────────────────────────

/** One disk of a generation. Paths are absolute, on the clone's host. */
export interface GenerationDisk {
  target: string;
  /** Never written to by the guest: the source's content at the point. */
  layer: string;
  /** On the layer: what the clone wrote since. */
  own: string;
  /** The source's file at the point; another file has another history. */
  sourcePath: string;
}

/** One cloning of a refreshable clone: a state it can be put back to. */
export interface Generation {
  /** Counts up from 1 (0: made before it was refreshable); never used twice. */
  number: number;
  /** ISO 8601: the point of the source. Empty: not known. */
  at: string;
  consistency?: Consistency;
  /** The source's change record that begins at this point (a libvirt checkpoint). */
  record?: string;
  /** Why there is none, as the end of a sentence: "the source was stopped". */
  noRecord?: string;
  movedBytes?: number;
  /** Kept on purpose: no refresh removes it. */
  kept: boolean;
  /** By own file: when Offshoot last wrote to it (its identity), ms. One with another time was written to by the guest since. */
  edited?: Record<string, number>;
  disks: GenerationDisk[];
}

/** The generations of a clone, oldest first. */
export interface Generations {
  /** Number of the one its definition names now. */
  current: number;
  /** Number of the next one. */
  next: number;
  list: Generation[];
}

/** What pages ask before the click: the plan of a change to a guest, of a template made of it, or of files to take along. */
export const guestQuestionSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('refresh'), guestId: z.uuid(), options: refreshOptionsSchema }),
  z.strictObject({ kind: z.literal('restore'), guestId: z.uuid(), to: z.int().min(0) }),
  z.strictObject({ kind: z.literal('reset'), guestId: z.uuid(), waitForAgent: z.boolean() }),
  z.strictObject({ kind: z.literal('promote'), guestId: z.uuid() }),
  /** `network`: of that host, for all its network cards; left out: those it has. */
  z.strictObject({
    kind: z.literal('migrate'),
    guestId: z.uuid(),
    hostId: hostIdSchema,
    network: networkSchema.optional(),
  }),
  z.strictObject({ kind: z.literal('snapshot'), guestId: z.uuid(), name: snapshotNameSchema }),
  z.strictObject({ kind: z.literal('revert'), guestId: z.uuid(), name: snapshotNameSchema }),
  z.strictObject({ kind: z.literal('remove-snapshot'), guestId: z.uuid(), name: snapshotNameSchema }),
  z.strictObject({ kind: z.literal('export'), guestId: z.uuid(), format: z.enum(exportFormats) }),
  z.strictObject({ kind: z.literal('export-version'), versionId: z.uuid(), format: z.enum(exportFormats) }),
  /** `memory`: with what runs in it. */
  z.strictObject({
    kind: z.literal('capture'),
    guestId: z.uuid(),
    template: guestNameSchema,
    memory: z.boolean(),
  }),
]);
export type GuestQuestion = z.infer<typeof guestQuestionSchema>;

/** Its answer: what would happen. */
export interface GuestPreview {
  plan: PlanView;
  simulated: boolean;
}

// ── state and events ────────────────────────────────────────────────────────────────────────────────────────────────

export type StepState = 'pending' | 'running' | 'done' | 'failed' | 'undoing' | 'undone' | 'undo-failed';

/** Progress of a running step. Bytes never go back within a step; rate is bytes per second, smoothed. */
export interface StepProgress {
  doneBytes?: number;
  totalBytes?: number;
  rate?: number;
  /** Seconds. */
  secondsLeft?: number;
  /** What it waits for: "waiting for the guest agent (12 s)". */
  note?: string;
}

/** Stored per step in the operation's row. Times are ISO 8601. */
export interface StepStatus {
  state: StepState;
  startedAt?: string;
  endedAt?: string;
  progress?: StepProgress;
  /** Plain words: "filesystem-consistent", or what went wrong. */
  note?: string;
}

/** What a finished operation says of itself. */
export interface OperationResult {
  consistency?: Consistency;
  /** "filesystem-consistent: the agent froze 1 filesystem for 41 ms" */
  consistencyNote?: string;
  movedBytes?: number;
  storedBytes?: number;
  strategy?: string;
  /** Milliseconds from start of the guest to the agent's first answer. */
  agentMs?: number;
  /** Milliseconds that a running source stood still, at most. */
  pauseMs?: number;
  address?: string;
  /** For snapshot: what was taken. */
  snapshot?: GuestSnapshot;
  /** For capture/import: where the base is and what it is. */
  base?: CapturedBase;
  /** Files of the guest that were to go and could not be removed. */
  left?: string[];
  /** Disk files that an identity was written into, and their times then, ms. */
  edited?: Record<string, number>;
  /** ISO 8601: the point of the source that a refreshable clone holds now. */
  pointAt?: string;
  transfer?: TransferOutcome;
  /** For export: where it is. `SHA256SUMS` beside the files says their checksums too. */
  exported?: { folder: string; files: ExportedFile[] };
  /** For verify, and for clones that were asked to verify themselves. */
  verified?: Verification;
  /** For clones, and whatever applies an identity again: what it was made to be, and what was found. No secret in it. */
  identity?: IdentityOutcome;
}

/** How a base came from other hosts. */
export interface TransferOutcome {
  /** Content that came over the network, bytes; before compression. */
  receivedBytes: number;
  /** Content that was here already. */
  reusedBytes: number;
  /** Names of the hosts that sent any of it. */
  from: string[];
  /** How often the connection broke and it went on. */
  interruptions: number;
  /** Ids of hosts whose copy turned out to be damaged. */
  damaged: string[];
}

/** Bytes that a comparison counts differences in; what qcow2 allocates at once. */
export const COMPARED_BLOCK_BYTES = 65_536;

/** One disk, compared with the disk of the same name. All bytes are those that a guest sees, not the file's. */
export interface VerifiedDisk {
  target: string;
  equal: boolean;
  sizeBytes: number;
  /** Set when the other disk has another size; what one has beyond the other counts as different. */
  otherSizeBytes?: number;
  /** sha256 over all that the guest sees on this disk, hex: what `sha256sum /dev/vda` says inside. `whole` only. */
  digest?: string;
  /** `sample`: how many blocks of 64 KiB were compared, of how many that are not known to be zeroes on both sides. */
  sampled?: { blocks: number; of: number };
  differingBlocks: number;
  differingBytes: number;
  /** Offset of the first byte found to differ. */
  firstDifference?: number;
}

/** What a comparison of a guest with what it was cloned from found. */
export interface Verification {
  /** When it was done, ISO 8601. */
  at: string;
  against: { type: 'guest' | 'base'; label: string };
  depth: VerifyDepth;
  equal: boolean;
  disks: VerifiedDisk[];
  /** `sample`: with 95 % probability, less than this share (0…1) of the blocks with data differs unseen. */
  undetectedShare?: number;
  /** Against a base, `whole`: whether its files still have the digests that they were sealed with. */
  baseIntact?: boolean;
}

/** How far one disk has drifted from the base it stands on. */
export interface DriftDisk {
  target: string;
  virtualBytes: number;
  /** Bytes of the disk that the base does not provide any more: written or discarded since. */
  changedBytes: number;
  /** The disk from its first byte to its last in equal cells: percent of each that changed, 0 to 100, rounded up. */
  cells: number[];
}

/** How far a guest has drifted from its base, read just now. */
export interface Drift {
  /** ISO 8601. */
  at: string;
  /** The guest runs: what it wrote in the last seconds may be missing. */
  running: boolean;
  disks: DriftDisk[];
}

export interface CapturedBase {
  /** sha256 over the digests of its disks, hex. */
  digest: string;
  /** Domain definition to clone from, as the driver wrote it. */
  definition: string;
  disks: BaseDisk[];
  /** Path of the kept NVRAM file, for UEFI. */
  nvramPath?: string;
  /** What ran in the guest when its disks were taken; without it a clone boots. */
  memory?: MemoryPoint;
  /** What was found by looking into the disks when they were taken; unset: nobody looked. */
  inside?: GuestInside;
  /** What a clone of it takes of a host, unless it is asked for otherwise. */
  needs?: GuestNeeds;
}

export interface GuestNeeds {
  vcpus: number;
  memoryBytes: number;
  /** Names of the host's networks that its network cards are on. */
  networks: string[];
}

/** RAM and devices of a running guest, of the same instant as the disks of its base. */
export interface MemoryPoint {
  path: string;
  /** sha256 of the file, hex. */
  digest: string;
  /** Size of the file. */
  bytes: number;
  /** The guest's memory: what every clone needs. */
  memoryBytes: number;
  takenAt: string;
  /** Accelerator and processor it was taken on: it goes on only on the same. */
  madeOn: string;
  /** What the driver needs to go on from it, as the driver wrote it. */
  resume: string;
}

export interface BaseDisk {
  target: string;
  path: string;
  format: string;
  /** sha256 of the file, hex. */
  digest: string;
  /** sha256 of the sha256s of its 64 KiB blocks, hex; unset: made before there were any, or by a worker that gives nothing to others. */
  blocks?: string;
  virtualBytes: number;
  allocatedBytes: number;
}

/** Plain words after a failure or cancel. */
export interface UndoReport {
  undone: string[];
  /** What could not be undone and is still there; empty normally. */
  leftBehind: string[];
}

export type OperationEventData =
  | { type: 'state'; state: OperationState; error?: PublicError; result?: OperationResult; undo?: UndoReport }
  | { type: 'plan'; plan: PlanView }
  | { type: 'step'; index: number; status: StepStatus }
  | { type: 'progress'; index: number; progress: StepProgress }
  | { type: 'log'; index: number; line: string };

export type HostEventData =
  | { type: 'host' } // the host's row changed: heartbeat state, capacity
  | { type: 'inventory'; guestIds: string[] }; // these guests' rows changed (or went away)

/** An event as streamed to the browser. `id` is the log's bigserial as a decimal string: the SSE cursor. */
export interface StreamEvent {
  id: string;
  at: string;
  operationId: string | null;
  hostId: string | null;
  guestId: string | null;
  data: OperationEventData | HostEventData;
}

// ── hosts ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What a worker reports of a host. Bytes are bytes. */
export interface HostFacts {
  hypervisor: string; // "QEMU 7.2.22, libvirt 9.0.0"
  /** Proven by booting a guest with a deadline, never by a device node. */
  accelerator: { name: 'kvm' | 'tcg' | 'simulated'; provenAt: string; detail: string };
  cpus: number;
  load1: number;
  memoryBytes: number;
  memoryFreeBytes: number;
  store: { path: string; filesystem: string; reflink: boolean; totalBytes: number; freeBytes: number };
  /** `subnets`: those that libvirt itself has an address in, as 192.168.122.1/24; none of a mere bridge. */
  networks: { name: string; active: boolean; subnets?: string[] }[];
  /** Measured on this store: bytes per second of the copy strategy in use. Unset until one was measured. */
  copyRate?: number;
}
