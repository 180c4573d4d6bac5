/** Plans that make or remove a base. Pure. */
import { listPathOf } from '../../disks/transfer/block-list.ts';
import type { IdSource, OperationRequest } from '../../driver.ts';
import { importedDefinition } from './imported.ts';
import { planCopies, plainly } from './plan-copy.ts';
import { MEMORY_FILE, planMemoryPoint, pointNotes, refuseMemory } from './plan-memory.ts';
import {
  basisOf,
  consistencyNotes,
  consistencyOf,
  directory,
  estimate,
  file,
  info,
  needSource,
  needSpace,
  sumOf,
  warn,
  type Draft,
  type DraftStep,
} from './plan-parts.ts';
import { OffshootError } from '../../errors.ts';
import { readDomain } from './domain-read.ts';
import type { LibvirtFacts, SealStep } from './types.ts';

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

function seal(
  facts: LibvirtFacts,
  captureId: string,
  from: string,
  parts: Pick<SealStep, 'definition' | 'disks' | 'bytes' | 'nvramFile' | 'memory'>,
): DraftStep {
  return {
    kind: 'seal-base',
    title: 'Take its fingerprint and seal it',
    captureId,
    from,
    into: `${facts.store}/bases`,
    ...parts,
  };
}

export function planCapture(
  request: Extract<OperationRequest, { kind: 'capture' }>,
  facts: LibvirtFacts,
  ids: IdSource,
): Draft {
  const source = needSource(facts);
  const captureId = ids.uuid();
  const folder = `${facts.store}/bases/.capture-${captureId}`;
  const domain = readDomain(source.definition);
  const memory = request.memory === true ? domain.memoryBytes : undefined;
  if (memory !== undefined) refuseMemory(source, request.guest.name);
  const copies =
    memory === undefined
      ? planCopies(source, plainly(folder), request.guest)
      : planMemoryPoint(source, folder, request.guest, memory);
  needSpace(facts, copies.storeBytes, false);
  const bytes = sumOf(source.disks, 'allocatedBytes') + (memory ?? 0);
  const nvram = source.nvram?.type === 'file' ? `${folder}/nvram.fd` : undefined;
  const steps: DraftStep[] = [
    ...copies.steps,
    ...(nvram !== undefined && source.nvram
      ? [{ kind: 'copy-file' as const, title: 'Copy firmware settings', from: source.nvram.path, to: nvram }]
      : []),
    seal(facts, captureId, folder, {
      definition: source.definition,
      disks: source.disks.map((disk) => ({
        target: disk.target,
        file: baseName(copies.files[disk.target]?.path ?? ''),
        virtualBytes: disk.virtualBytes,
      })),
      bytes,
      ...(nvram === undefined ? {} : { nvramFile: 'nvram.fd' }),
      ...(memory === undefined
        ? {}
        : { memory: { file: MEMORY_FILE, memoryBytes: memory, madeOn: facts.machine } }),
    }),
  ];
  return {
    summary: `Capture ${request.guest.name}${memory === undefined ? '' : ' with its memory'} as ${request.label}`,
    strategy: copies.strategy,
    consistency: memory === undefined ? consistencyOf(source) : 'exact',
    estimates: estimate(
      facts,
      { read: copies.moveBytes + bytes, move: copies.moveBytes, store: copies.storeBytes },
      { steps: steps.length, hashes: bytes },
    ),
    notes: [
      ...(memory === undefined ? consistencyNotes(source) : pointNotes()),
      ...(domain.hasEmulatedTpm ? [info('The TPM’s state is not kept in it.')] : []),
    ],
    steps,
    creates: [
      directory(folder),
      ...Object.values(copies.files).flatMap((each) => [file(each.path), file(listPathOf(each.path))]),
      ...(memory === undefined ? [] : [file(`${folder}/${MEMORY_FILE}`)]),
      ...(nvram === undefined ? [] : [file(nvram)]),
    ],
    basis: memory === undefined ? basisOf(source) : ['memory', facts.machine, basisOf(source)],
  };
}

export function planImport(
  request: Extract<OperationRequest, { kind: 'import' }>,
  facts: LibvirtFacts,
  ids: IdSource,
): Draft {
  const { image } = facts;
  if (!image)
    throw new OffshootError('internal', { publicMessage: 'The facts of this plan are of another request.' });
  needSpace(facts, image.allocatedBytes, false);
  const captureId = ids.uuid();
  const folder = `${facts.store}/bases/.capture-${captureId}`;
  const wanted = request.network;
  const network = facts.host.networks.find((each) => each.name === wanted && each.active)?.name;
  const definition = importedDefinition(request, {
    accelerator: facts.accelerator,
    network,
    uuid: ids.uuid(),
    mac: ids.mac(new Set(facts.takenMacs)),
    firmware: facts.firmware,
    disks: image.disks?.length ?? 1,
  });
  const unpacked = `${facts.store}/bases/.unpack-${captureId}`;
  const disks = disksIn(image, unpacked);
  const packed = image.disks?.map(({ file: name }) => `${unpacked}/${name}`) ?? [];
  const steps: DraftStep[] = [
    ...(image.disks
      ? [
          {
            kind: 'unpack-ova' as const,
            title: 'Unpack it and check its checksums',
            from: image.path,
            folder: unpacked,
            disks: image.disks.map(({ file: name, checksum }) => ({
              file: name,
              ...(checksum ? { checksum } : {}),
            })),
          },
        ]
      : []),
    ...disks.map(({ target, from, format, bytes, virtualBytes }): DraftStep => ({
      kind: 'copy-disk',
      title: `Copy ${image.disks ? `disk ${target}` : `image ${baseName(request.imagePath)}`}`,
      target,
      from,
      fromFormat: format,
      to: `${folder}/${target}.qcow2`,
      strategy: 'convert',
      bytes,
      virtualBytes,
      expects: [],
    })),
    ...(image.disks
      ? [
          {
            kind: 'drop-unpacked' as const,
            title: 'Remove what was unpacked',
            folder: unpacked,
            files: packed,
          },
        ]
      : []),
    seal(facts, captureId, folder, {
      definition,
      disks: disks.map(({ target, virtualBytes }) => ({ target, file: `${target}.qcow2`, virtualBytes })),
      bytes: disks.reduce((sum, { bytes }) => sum + bytes, 0),
    }),
  ];
  const alone = network === undefined;
  const notes = [
    ...(wanted !== undefined && alone
      ? [
          warn(
            `The network ${wanted} is not active on the host: guests of this template get a network of their own behind the host’s address.`,
          ),
        ]
      : []),
    ...(wanted === undefined
      ? [
          info(
            'Guests of this template get a network of their own behind the host’s address; others can’t reach them.',
          ),
        ]
      : []),
    ...(image.disks?.some(({ checksum }) => !checksum)
      ? [warn('The OVA has no checksums: whether it came whole can’t be told.')]
      : []),
    ...(image.disks
      ? [info('Processors, memory and devices are those given here, not those of the OVA.')]
      : []),
    ...(facts.accelerator === 'tcg' ? [info('Guests run in software emulation on this host: slowly.')] : []),
  ];
  return {
    summary: `Import ${baseName(request.imagePath)} as ${request.label}`,
    strategy: 'convert',
    consistency: 'exact',
    estimates: estimate(
      facts,
      { read: image.allocatedBytes * 2, move: image.allocatedBytes, store: image.allocatedBytes },
      { steps: steps.length, hashes: image.allocatedBytes },
    ),
    notes,
    steps,
    creates: [
      directory(folder),
      ...disks
        .flatMap(({ target }) => [`${folder}/${target}.qcow2`].flatMap((path) => [path, listPathOf(path)]))
        .map(file),
      ...(image.disks ? [directory(unpacked), ...packed.map(file)] : []),
    ],
    basis: [
      image,
      request.vcpus,
      request.memoryMiB,
      request.firmware,
      request.network,
      alone,
      facts.accelerator,
    ],
  };
}

interface ImageDisk {
  target: string;
  from: string;
  format: string;
  bytes: number;
  virtualBytes: number;
}

/** The image itself, or the disks of an OVA as they will be unpacked. */
function disksIn(image: NonNullable<LibvirtFacts['image']>, unpacked: string): ImageDisk[] {
  const { path, format, allocatedBytes, virtualBytes, disks } = image;
  return (
    disks?.map((disk, index) => ({
      target: `vd${String.fromCodePoint(97 + index)}`,
      from: `${unpacked}/${disk.file}`,
      format: 'vmdk',
      bytes: disk.bytes,
      virtualBytes: disk.capacityBytes,
    })) ?? [{ target: 'vda', from: path, format, bytes: allocatedBytes, virtualBytes }]
  );
}

export function planRemoveBase(
  request: Extract<OperationRequest, { kind: 'remove-base' }>,
  facts: LibvirtFacts,
): Draft {
  const { base, label } = request;
  const [first] = base.disks;
  const folder = first
    ? first.path.slice(0, first.path.lastIndexOf('/'))
    : `${facts.store}/bases/${base.digest.slice(0, 12)}`;
  const files = [
    ...base.disks.map((disk) => disk.path),
    ...(base.nvramPath === undefined ? [] : [base.nvramPath]),
    ...(base.memory === undefined ? [] : [base.memory.path]),
    ...base.disks.map((disk) => listPathOf(disk.path)),
    `${folder}/base.json`,
  ];
  if (!files.every((path) => path.startsWith(`${facts.store}/bases/`) && !path.includes('/../'))) {
    throw new OffshootError('not-allowed', {
      publicMessage: `The files of ${label} are not in this host’s store, so they are left alone.`,
      remedy: 'Remove them by hand if they are no longer needed.',
      context: { files },
    });
  }
  return {
    summary: `Remove the base of ${label}`,
    estimates: estimate(facts, { read: 0, move: 0, store: 0 }, { steps: 1 }),
    notes: [],
    steps: [
      {
        kind: 'remove-base',
        irreversible: true,
        title: `Delete ${base.disks.length === 1 ? 'its disk' : `its ${base.disks.length} disks`}${base.memory ? ' and its saved memory' : ''}`,
        label,
        folder,
        files,
      },
    ],
    creates: [],
    basis: base.digest,
  };
}
