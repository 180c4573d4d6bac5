/** Plans of memory points and of the clones that go on from them. Pure. */
import type { MemoryPoint, PlanNote } from '../../contract.ts';
import type { GuestRef, IdSource } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { readDomain } from './domain-read.ts';
import { rewriteDomain, type Rewrite } from './domain-xml.ts';
import { linksOf } from './memory-limits.ts';
import { planIdentity } from './plan-identity.ts';
import { newMacs, overlayDisks, placeNotes, refuse, wishOf, type CloneRequest } from './plan-clone.ts';
import { plainly, planCopies, type CopyPlan } from './plan-copy.ts';
import {
  basisOf,
  directory,
  estimate,
  file,
  gib,
  info,
  needSource,
  needSpace,
  OVERLAY_BYTES,
  sumOf,
  UNDEFINE_TPM,
  warn,
  type Draft,
  type DraftStep,
} from './plan-parts.ts';
import { parseResume } from './save-image.ts';
import type { LibvirtFacts, SourceFacts } from './types.ts';

/** Name of the save image in its base's folder, and of a clone's own in its. */
export const MEMORY_FILE = 'memory.sav';
/** Throws `unavailable-mode` when this guest's memory can't be taken. */
export function refuseMemory(source: SourceFacts, name: string): void {
  const why =
    source.state === 'running'
      ? source.memoryObstacle
      : `it is ${source.state}, and only a running guest has memory to take`;
  if (why === undefined) return;
  throw new OffshootError('unavailable-mode', {
    publicMessage: `${name} can’t be cloned with its memory: ${why}.`,
    remedy: 'Make a linked or a full clone, which boots.',
    field: 'mode',
  });
}

/**
 * Saves memory and has the disks stand still at that instant, copies them, and lets the guest have them back. Its
 * definition names other files in between, so whatever stops this half-way, its undo brings the disks back first.
 */
export function planMemoryPoint(
  source: SourceFacts,
  folder: string,
  guest: GuestRef,
  memoryBytes: number,
): CopyPlan {
  const disks = source.disks.map((disk) => ({
    target: disk.target,
    path: disk.path,
    format: disk.format,
    virtualBytes: disk.virtualBytes,
    beside: `${folder}/${disk.target}.beside`,
  }));
  const copied = new Set(disks.map((disk) => disk.target));
  const excluded = readDomain(source.definition)
    .disks.map((disk) => disk.target)
    .filter((target) => !copied.has(target));
  // Nothing writes to them meanwhile, though it did after the plan was made.
  const copies = planCopies({ ...source, state: 'template' }, plainly(folder), undefined);
  const words = disks.length === 1 ? 'disk' : 'disks';
  return {
    ...copies,
    steps: [
      {
        kind: 'memory-point',
        title: `Save the memory of ${guest.name}, and hold its ${words} at that instant`,
        guest,
        disks,
        excluded,
        memory: `${folder}/${MEMORY_FILE}`,
        bytes: memoryBytes,
      },
      ...copies.steps.map((step) => (step.kind === 'copy-disk' ? { ...step, expects: [] } : step)),
      {
        kind: 'rejoin-disks',
        title: `Give ${guest.name} its ${words} back, with what it wrote meanwhile`,
        guest,
        disks,
      },
    ],
    strategy: `memory + ${copies.strategy}`,
    moveBytes: copies.moveBytes + memoryBytes,
    storeBytes: copies.storeBytes + memoryBytes,
  };
}

export function pointNotes(): PlanNote[] {
  return [
    info(
      'The source keeps running while its memory is saved and stands still for a moment at the end, less than half a second as a rule.',
    ),
    info(
      'What it writes while its disks are copied goes into files of Offshoot’s and then into its own disks, also when this fails or is cancelled.',
    ),
  ];
}

/** A clone that goes on from a memory point; of a guest its preview, before the point is taken. */
export function planMemoryClone(request: CloneRequest, facts: LibvirtFacts, ids: IdSource): Draft {
  const { name, options } = request;
  const source = needSource(facts);
  refuse(request, facts, source);
  refuseOptions(request);
  const point = request.source.type === 'base' ? request.source.base.memory : undefined;
  if (request.source.type === 'guest') refuseMemory(source, request.source.guest.name);
  else refusePoint(point, request.source.label, facts);
  const domain = readDomain(source.definition);
  const uuid = ids.uuid();
  const genid = ids.uuid();
  const macs = newMacs(domain.nics.length, facts, ids);
  const mark = `${name}-${uuid.slice(0, 8)}`;
  const folder = `${facts.store}/disks/${mark}`;
  const image = `${folder}/${MEMORY_FILE}`;
  const { base, disks } = overlayDisks(request, facts, source, folder);
  const storeBytes = OVERLAY_BYTES * disks.length;
  needSpace(facts, storeBytes + (point?.bytes ?? domain.memoryBytes), false);
  const nvramPath = domain.nvram ? `${facts.store}/nvram/${mark}_VARS.fd` : undefined;
  const rewrite: Rewrite = {
    name,
    uuid,
    genid,
    macs,
    disks: Object.fromEntries(disks.map((disk) => [disk.target, { path: disk.to, format: 'qcow2' }])),
    ...(nvramPath === undefined ? {} : { nvramPath }),
    ...(options.network === undefined ? {} : { network: options.network }),
  };
  const guest = { uuid, name };
  const identity = planIdentity(
    wishOf(request),
    source,
    { guest, macs, folder, files: rewrite.disks },
    ids,
    linksOf(point ? parseResume(point.resume).definition : source.definition),
  );
  const steps: DraftStep[] = [
    {
      kind: 'define',
      title: `Define ${name}`,
      guest,
      xml: identity.hold(rewriteDomain(source.definition, rewrite)),
      identity: identity.awaiting.outcome,
      scratch: `${facts.store}/.define-${uuid}.xml`,
      undefineTpm: facts.libvirtVersion >= UNDEFINE_TPM,
    },
    ...(nvramPath !== undefined && source.nvram?.type === 'file'
      ? [
          {
            kind: 'copy-file' as const,
            title: 'Copy firmware settings',
            from: source.nvram.path,
            to: nvramPath,
          },
        ]
      : []),
    {
      kind: 'resume-memory',
      title: 'Go on from the saved memory, without network',
      guest,
      base,
      disks,
      to: image,
      macs,
      ...imageOf(point, rewrite),
    },
    ...identity.attest,
  ];
  const label = request.source.type === 'guest' ? request.source.guest.name : request.source.label;
  const plain = estimate(
    facts,
    { read: point?.bytes ?? domain.memoryBytes, move: point?.bytes ?? domain.memoryBytes, store: storeBytes },
    { steps: steps.length },
  );
  return {
    summary: `Clone ${name} of ${label}, with its memory`,
    strategy: 'memory',
    consistency: 'exact',
    estimates: { ...plain, seconds: Math.round((plain.seconds + 0.7) * 10) / 10 },
    notes: [
      ...memoryNotes(point, domain.memoryBytes),
      ...identity.notes,
      ...placeNotes(options, facts, domain),
    ],
    steps,
    creates: [
      directory(folder),
      ...disks.map((disk) => file(disk.to)),
      file(image),
      ...(nvramPath === undefined ? [] : [file(nvramPath)]),
      { type: 'guest', name },
    ],
    // It goes once the clone runs.
    removes: [image],
    guest: {
      name,
      uuid,
      macs,
      memoryBytes: domain.memoryBytes,
      vcpus: domain.vcpus,
      virtualBytes: sumOf(source.disks, 'virtualBytes'),
    },
    ...(request.source.type === 'base' ? { baseDigest: request.source.base.digest } : {}),
    basis: ['memory', options, facts.machine, point?.digest ?? '', basisOf(source)],
  };
}

/** The clone's own head for the point's stream; of a preview, what can't be performed. */
function imageOf(
  point: MemoryPoint | undefined,
  rewrite: Rewrite,
): Pick<Extract<DraftStep, { kind: 'resume-memory' }>, 'image' | 'head'> {
  if (!point)
    return {
      image: { from: '', bytes: -1, streamAt: 0 },
      head: { version: 0, wasRunning: 0, compressed: 0, definition: '', cookie: '' },
    };
  const { streamAt, ...head } = parseResume(point.resume);
  return {
    image: { from: point.path, bytes: point.bytes, streamAt },
    head: { ...head, definition: rewriteDomain(head.definition, rewrite) },
  };
}

/** What runs can't be given other memory or CPUs, and does not wait to be started. */
function refuseOptions({ options }: CloneRequest): void {
  const refuseOption = (field: string, publicMessage: string, remedy: string): never => {
    throw new OffshootError('invalid-input', { publicMessage, remedy, field: `options.${field}` });
  };
  if (options.memoryMiB !== undefined)
    refuseOption(
      'memoryMiB',
      'A clone with memory has as much of it as its source.',
      'Leave the memory as the source’s, or make a linked clone.',
    );
  if (options.vcpus !== undefined)
    refuseOption(
      'vcpus',
      'A clone with memory has as many processors as its source.',
      'Leave the processors as the source’s, or make a linked clone.',
    );
  if (!options.start)
    refuseOption(
      'start',
      'A clone with memory runs from the beginning.',
      'Let it start, or make a linked clone.',
    );
}

function refusePoint(point: MemoryPoint | undefined, label: string, facts: LibvirtFacts): void {
  const refusal = (publicMessage: string, remedy: string): OffshootError =>
    new OffshootError('unavailable-mode', { publicMessage, remedy, field: 'mode' });
  if (!point)
    throw refusal(
      `${label} holds disks only, no memory to go on from.`,
      'Make a template of a running guest, with what runs in it.',
    );
  if (point.madeOn !== facts.machine)
    throw refusal(
      `The memory of ${label} was saved under ${point.madeOn}; this host is ${facts.machine} now, where it may not go on.`,
      'Take it again on this host, or make a linked clone.',
    );
}

function memoryNotes(point: MemoryPoint | undefined, memoryBytes: number): PlanNote[] {
  return [
    info(
      `It goes on where the source ${point ? 'was' : 'is'}, with ${gib(memoryBytes)} of memory of its own: programs keep running, logged-in users stay logged in.`,
    ),
    warn(
      'Programs that run keep what they know: open connections break, passwords and keys in memory stay the source’s, and so do their own ids.',
    ),
    info('An address that was set by hand inside is taken off; by DHCP it gets one of its own.'),
  ];
}
