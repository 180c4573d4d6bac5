/** Plans that write a guest's or a template version's disks into files for other hypervisors. Pure. */
import type { ExportFormat } from '../../contract.ts';
import type { IdSource, OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { readDomain } from './domain-read.ts';
import {
  basisOf,
  directory,
  estimate,
  file,
  gib,
  info,
  needSource,
  needSpace,
  sumOf,
  warn,
  type Draft,
  type DraftStep,
} from './plan-parts.ts';
import type { LibvirtFacts } from './types.ts';

type ExportRequest = Extract<OperationRequest, { kind: 'export' }>;

const words: Readonly<Record<ExportFormat, string>> = {
  qcow2: 'qcow2, for QEMU, Proxmox and OpenStack',
  raw: 'raw, for anything',
  vmdk: 'VMDK (stream-optimized), for VMware',
  vhdx: 'VHDX, for Hyper-V and Azure',
  ova: 'OVA, for VMware and VirtualBox',
};

export function planExport(request: ExportRequest, facts: LibvirtFacts, ids: IdSource): Draft {
  const { label, format } = request;
  const source = needSource(facts);
  const guest = request.source.type === 'guest' ? request.source.guest : undefined;
  if (guest && source.state !== 'stopped')
    throw new OffshootError('unavailable-mode', {
      publicMessage: `${guest.name} is not stopped, and its disks change while they are written.`,
      remedy: 'Stop it, or make a template of it and export that.',
      field: 'guestId',
    });
  const disk = format === 'ova' ? 'vmdk' : format;
  const bytes = sumOf(source.disks, 'allocatedBytes');
  // An OVA stands beside its parts until it is packed.
  needSpace(facts, bytes * (format === 'ova' ? 2 : 1), false);
  const name = label.replaceAll(/[^A-Za-z0-9._-]+/g, '-');
  const folder = `${facts.store}/exports/${name}-${ids.uuid().slice(0, 8)}`;
  const parts = source.disks.map((each) => ({ ...each, to: `${folder}/${name}-${each.target}.${disk}` }));
  const domain = readDomain(source.definition);
  const ova = `${folder}/${name}.ova`;
  const steps: DraftStep[] = [
    ...parts.map((part): DraftStep => ({
      kind: 'export-disk',
      title: `Write disk ${part.target} as ${disk}`,
      target: part.target,
      from: part.path,
      fromFormat: part.format,
      to: part.to,
      format: disk,
      bytes: part.allocatedBytes,
      expects: part.chain.map(({ path, modifiedMs, size }) => ({ path, modifiedMs, size })),
      ...(guest ? { stopped: guest } : {}),
    })),
    {
      kind: 'finish-export',
      title: format === 'ova' ? 'Pack it and take checksums' : 'Take checksums',
      folder,
      files: parts.map(({ to, virtualBytes, allocatedBytes }) => ({
        path: to,
        virtualBytes,
        allocatedBytes,
      })),
      ...(format === 'ova'
        ? {
            ova: {
              path: ova,
              name,
              vcpus: domain.vcpus,
              memoryMiB: Math.ceil(domain.memoryBytes / 1024 ** 2),
              networks: domain.nics.map(({ network }) => network ?? 'network'),
            },
          }
        : {}),
      bytes,
    },
  ];
  const uefi = source.nvram !== undefined || domain.nvram !== undefined;
  return {
    summary: `Export ${label} as ${words[format]}`,
    strategy: 'convert',
    consistency: 'exact',
    estimates: estimate(
      facts,
      { read: bytes * 2, move: bytes, store: bytes },
      { steps: steps.length, hashes: bytes },
    ),
    notes: [
      info(
        `It takes at most ${gib(bytes)} in ${folder} on the host, and stays there until someone removes it.`,
      ),
      ...(uefi
        ? [
            warn(
              'It boots by UEFI; its firmware settings are not part of it: choose UEFI where it is imported.',
            ),
          ]
        : []),
      ...(source.warm
        ? [warn('Its saved memory is not part of it: its disks are as after a power cut.')]
        : []),
      ...(domain.hasEmulatedTpm
        ? [warn('Its TPM is not part of it: what is sealed in that can’t be opened elsewhere.')]
        : []),
    ],
    steps,
    creates: [
      directory(folder),
      ...parts.map(({ to }) => file(to)),
      file(`${folder}/SHA256SUMS`),
      ...(format === 'ova' ? [file(ova), file(`${folder}/${name}.ovf`), file(`${folder}/${name}.mf`)] : []),
    ],
    basis: [basisOf(source), format, label],
  };
}
