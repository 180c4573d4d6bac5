/** Steps that copy the disks of a source, for clones and for captures. Pure. */
import { copyStrategy } from '../../disks/strategy.ts';
import type { GuestRef } from '../../driver.ts';
import { readDomain } from './domain-read.ts';
import { sumOf, type DraftStep } from './plan-parts.ts';
import type { SourceFacts } from './types.ts';

export interface CopyPlan {
  steps: DraftStep[];
  strategy: string;
  /** By target. */
  files: Record<string, { path: string; format: string }>;
  moveBytes: number;
  storeBytes: number;
}

/** What the copies become: the clone's disks, or the layers under them. */
export interface CopyInto {
  folder: string;
  /** File name of a disk's copy. */
  name: (target: string, format: string) => string;
  /** The change record that begins with them, of a running source. */
  record?: string;
}
export const plainly = (folder: string): CopyInto => ({
  folder,
  name: (target, format) => `${target}.${format}`,
});

/** Copies of all disks into the folder. `guest`: whose disks they are; undefined for a base, which never changes. */
export function planCopies(source: SourceFacts, into: CopyInto, guest: GuestRef | undefined): CopyPlan {
  const bytes = sumOf(source.disks, 'allocatedBytes');
  if (guest && source.state !== 'stopped' && source.state !== 'template')
    return backup(source, into, guest, bytes);
  const files: CopyPlan['files'] = {};
  const used = new Set<string>();
  let moveBytes = 0;
  const steps = source.disks.map((disk): DraftStep => {
    const strategy = copyStrategy(disk);
    const format = strategy === 'reflink' ? disk.format : 'qcow2';
    const path = `${into.folder}/${into.name(disk.target, format)}`;
    files[disk.target] = { path, format };
    used.add(strategy);
    if (strategy === 'convert') moveBytes += disk.allocatedBytes;
    return {
      kind: 'copy-disk',
      title: `Copy disk ${disk.target}`,
      target: disk.target,
      from: disk.path,
      fromFormat: disk.format,
      to: path,
      strategy,
      bytes: disk.allocatedBytes,
      virtualBytes: disk.virtualBytes,
      expects: disk.chain.map((each) => ({ path: each.path, modifiedMs: each.modifiedMs, size: each.size })),
      ...(guest ? { stopped: guest } : {}),
    };
  });
  return { steps, files, strategy: [...used].sort().join(' + ') || 'none', moveBytes, storeBytes: moveBytes };
}

/** Of a running guest all disks are copied as they are at one point in time. */
function backup(source: SourceFacts, into: CopyInto, guest: GuestRef, bytes: number): CopyPlan {
  const disks = source.disks.map((disk) => ({
    target: disk.target,
    to: `${into.folder}/${into.name(disk.target, 'qcow2')}`,
    virtualBytes: disk.virtualBytes,
  }));
  const copied = new Set(disks.map((disk) => disk.target));
  const excluded = readDomain(source.definition)
    .disks.map((disk) => disk.target)
    .filter((target) => !copied.has(target));
  const step: DraftStep = {
    kind: 'backup-disks',
    title:
      disks.length === 1
        ? `Copy disk ${disks[0]?.target ?? ''} while ${guest.name} runs`
        : `Copy ${disks.length} disks while ${guest.name} runs`,
    guest,
    disks,
    excluded,
    scratch: `${into.folder}/backup.xml`,
    freeze: source.state === 'running' && source.agentAnswers,
    bytes,
    ...(into.record === undefined ? {} : { record: into.record }),
  };
  return {
    steps: disks.length === 0 ? [] : [step],
    strategy: 'backup',
    files: Object.fromEntries(disks.map((disk) => [disk.target, { path: disk.to, format: 'qcow2' }])),
    moveBytes: bytes,
    storeBytes: bytes,
  };
}
