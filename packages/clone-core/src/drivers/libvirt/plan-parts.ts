/** What the plans of this driver are put together from. Pure. */
import { createHash } from 'node:crypto';
import type { Consistency, Estimates, Generations, PlanNote } from '../../contract.ts';
import type { Creation, OperationRequest, Plan } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { capabilities } from './capabilities.ts';
import { released } from './hold.ts';
import type { DiskFacts, LibvirtFacts, LibvirtStep, SourceFacts } from './types.ts';

export type DraftStep = LibvirtStep extends infer S ? (S extends LibvirtStep ? Omit<S, 'id'> : never) : never;

export interface Draft {
  summary: string;
  strategy?: string;
  consistency?: Consistency;
  estimates: Estimates;
  notes: PlanNote[];
  steps: DraftStep[];
  creates: Creation[];
  guest?: NonNullable<Plan['guest']>;
  baseDigest?: string;
  generations?: Generations;
  removes?: string[];
  moves?: NonNullable<Plan['moves']>;
  follow?: 'promote';
  /** What the plan was decided on. */
  basis: unknown;
}

/** Bytes per second of a copy until one was measured on the store: a plain SSD. */
const ASSUMED_RATE = 400e6;
/** A new qcow2 overlay before anything is written to it, bytes. */
export const OVERLAY_BYTES = 196_624;
/** libvirt that knows `undefine --tpm`: 8.9. */
export const UNDEFINE_TPM = 8_009_000;
const BOOT_SECONDS = { kvm: 8, tcg: 15 } as const;

export function finishDraft(kind: OperationRequest['kind'], draft: Draft): Plan<LibvirtStep> {
  const { basis, steps, ...rest } = draft;
  return {
    version: 1,
    driver: 'libvirt',
    kind,
    ...rest,
    fingerprint: createHash('sha256')
      .update(JSON.stringify([kind, basis]))
      .digest('hex'),
    steps: steps.map((step, index): LibvirtStep => ({ ...step, id: `${index + 1}-${step.kind}` })),
  };
}

export function estimate(
  facts: LibvirtFacts,
  bytes: { read: number; move: number; store: number },
  more: { steps: number; starts?: boolean; hashes?: number },
): Estimates {
  const rate = facts.host.copyRate ?? ASSUMED_RATE;
  const boot = more.starts ? BOOT_SECONDS[facts.accelerator] : 0;
  const seconds = bytes.move / rate + (more.hashes ?? 0) / 400e6 + more.steps * 0.08 + boot;
  return {
    readBytes: bytes.read,
    moveBytes: bytes.move,
    storeBytes: bytes.store,
    seconds: Math.round(seconds * 10) / 10,
  };
}

export const sumOf = (disks: readonly DiskFacts[], key: 'allocatedBytes' | 'virtualBytes'): number =>
  disks.reduce((sum, disk) => sum + disk[key], 0);

export function gib(bytes: number): string {
  if (bytes >= 1024 ** 3) return `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
  if (bytes >= 1024 ** 2) return `${Math.round(bytes / 1024 ** 2)} MiB`;
  return bytes === 0 ? '0 B' : `${Math.ceil(bytes / 1024)} KiB`;
}

/** Throws `no-space` when the store can't take that many more bytes. */
export function needSpace(facts: LibvirtFacts, bytes: number, linkedHelps: boolean): void {
  const { freeBytes, path } = facts.host.store;
  if (bytes < freeBytes) return;
  throw new OffshootError('no-space', {
    publicMessage: `It needs ${gib(bytes)} on the host’s store, ${gib(freeBytes)} are free there.`,
    remedy: linkedHelps
      ? 'Delete guests you no longer need, or make a linked clone, which takes almost nothing.'
      : 'Delete guests you no longer need.',
    field: 'mode',
    context: { store: path, bytes, freeBytes },
  });
}

export function needSource(facts: LibvirtFacts): SourceFacts {
  // What holds a source back is no part of its clones.
  if (facts.source) return { ...facts.source, definition: released(facts.source.definition) };
  throw new OffshootError('internal', { publicMessage: 'The facts of this plan are of another request.' });
}

/** A definition's digest stands for it; of a running source the files' sizes and times mean nothing. */
export const basisOf = (source: SourceFacts): unknown => [
  createHash('sha256').update(source.definition).digest('hex'),
  source.state,
  source.agentAnswers,
  source.disks.map((disk) => [
    disk.target,
    disk.format,
    disk.virtualBytes,
    disk.reflinkable,
    disk.chain.map((file) =>
      source.state === 'stopped' ? [file.path, file.size, file.modifiedMs] : [file.path],
    ),
  ]),
  source.nvram?.path ?? '',
  capabilities,
];

export const consistencyOf = (source: SourceFacts): Consistency =>
  source.state === 'stopped' || source.state === 'template'
    ? 'exact'
    : source.agentAnswers
      ? 'filesystem'
      : 'crash';

/** What the user should know of how consistent the copy will be. */
export function consistencyNotes(source: SourceFacts): PlanNote[] {
  if (source.memorySaved === true)
    return [
      {
        level: 'warn',
        text: 'The memory of the source is saved on disk (virsh managedsave) and is not copied: the copy is as after a power cut.',
      },
    ];
  if (source.state === 'paused')
    return [
      {
        level: 'warn',
        text: 'The source is paused: its filesystems can’t be frozen, so the copy is as after a power cut.',
      },
    ];
  if (source.state !== 'running') return [];
  return source.agentAnswers
    ? [
        {
          level: 'info',
          text: 'The source keeps running; its agent freezes the filesystems for a moment, so the copy is clean.',
        },
      ]
    : [
        {
          level: 'warn',
          text: 'The source keeps running and has no agent that answers: the copy is as after a power cut.',
        },
      ];
}

export const warn = (text: string): PlanNote => ({ level: 'warn', text });
export const info = (text: string): PlanNote => ({ level: 'info', text });
export const file = (name: string): Creation => ({ type: 'file', name });
export const directory = (name: string): Creation => ({ type: 'directory', name });
