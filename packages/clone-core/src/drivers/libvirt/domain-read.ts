/** What a domain definition says, as far as cloning needs it. Format: https://libvirt.org/formatdomain.html */
import type { Element } from '@xmldom/xmldom';
import type { GuestNeeds } from '../../contract.ts';
import { attribute, bytesOf, child, childrenOf, parseXml, textOf } from './xml.ts';

export interface DomainDisk {
  target: string;
  /** `disk`, `cdrom`, `floppy`, `lun`. */
  device: string;
  bus: string;
  /** `file`, `block`, `volume`, `network`, … */
  type: string;
  /** Undefined: an empty drive, or something that is no file of its own (`volume`, a network disk). */
  path?: string;
  /** Of a libvirt storage pool. */
  volume?: { pool: string; name: string };
  format: string;
  readonly: boolean;
  shareable: boolean;
  encrypted: boolean;
  /** Only a part of the file (`<slices>`). */
  sliced: boolean;
  serial?: string;
  wwn?: string;
}

export interface Domain {
  uuid: string;
  name: string;
  type: string;
  vcpus: number;
  memoryBytes: number;
  disks: DomainDisk[];
  nics: { mac: string; type: string; network?: string; targetDevice?: string }[];
  /** `<nvram>` is there; its path when it names one. */
  nvram?: { path?: string };
  hasEmulatedTpm: boolean;
  hasNuma: boolean;
  /** Sentences for the plan's notes: what a clone shares or can't have. */
  warnings: string[];
}

export function readDomain(xml: string): Domain {
  const { root } = parseXml(xml, 'domain');
  const devices = child(root, 'devices');
  const nvram = child(root, 'os', 'nvram');
  const nvramPath = nvram && (attribute(child(nvram, 'source'), 'file') ?? textOf(nvram));
  const domain: Omit<Domain, 'warnings'> = {
    uuid: textOf(child(root, 'uuid')),
    name: textOf(child(root, 'name')),
    type: attribute(root, 'type') ?? '',
    vcpus: Number(attribute(child(root, 'vcpu'), 'current') ?? (textOf(child(root, 'vcpu')) || '1')),
    memoryBytes: bytesOf(child(root, 'memory')),
    disks: childrenOf(devices, 'disk').map(diskOf),
    nics: childrenOf(devices, 'interface').map(nicOf),
    ...(nvram ? { nvram: nvramPath ? { path: nvramPath } : {} } : {}),
    hasEmulatedTpm: childrenOf(devices, 'tpm').some(
      (tpm) => attribute(child(tpm, 'backend'), 'type') === 'emulator',
    ),
    hasNuma: child(root, 'cpu', 'numa') !== undefined,
  };
  return { ...domain, warnings: warningsOf(root, devices, domain) };
}

/** What a guest of this definition takes of a host. */
export function needsOf(xml: string): GuestNeeds {
  const { vcpus, memoryBytes, nics } = readDomain(xml);
  return { vcpus, memoryBytes, networks: [...new Set(nics.flatMap(({ network }) => network ?? []))].sort() };
}

function diskOf(disk: Element): DomainDisk {
  const source = child(disk, 'source');
  const path = attribute(source, 'file') ?? attribute(source, 'dev');
  const [pool, volume] = [attribute(source, 'pool'), attribute(source, 'volume')];
  const [serial, wwn] = [textOf(child(disk, 'serial')), textOf(child(disk, 'wwn'))];
  return {
    target: attribute(child(disk, 'target'), 'dev') ?? '',
    bus: attribute(child(disk, 'target'), 'bus') ?? '',
    device: attribute(disk, 'device') ?? 'disk',
    type: attribute(disk, 'type') ?? 'file',
    ...(path === undefined ? {} : { path }),
    ...(pool === undefined || volume === undefined ? {} : { volume: { pool, name: volume } }),
    format: attribute(child(disk, 'driver'), 'type') ?? 'raw',
    readonly: child(disk, 'readonly') !== undefined,
    shareable: child(disk, 'shareable') !== undefined,
    encrypted: child(disk, 'encryption') !== undefined || child(source, 'encryption') !== undefined,
    sliced: child(source, 'slices') !== undefined,
    ...(serial ? { serial } : {}),
    ...(wwn ? { wwn } : {}),
  };
}

function nicOf(nic: Element): Domain['nics'][number] {
  const type = attribute(nic, 'type') ?? '';
  const network = attribute(child(nic, 'source'), 'network');
  const targetDevice = attribute(child(nic, 'target'), 'dev');
  return {
    mac: (attribute(child(nic, 'mac'), 'address') ?? '').toLowerCase(),
    type,
    ...(network === undefined ? {} : { network }),
    ...(targetDevice === undefined ? {} : { targetDevice }),
  };
}

function warningsOf(root: Element, devices: Element | undefined, domain: Omit<Domain, 'warnings'>): string[] {
  const warnings: string[] = [];
  for (const graphics of childrenOf(devices, 'graphics')) {
    const port = attribute(graphics, 'port');
    const fixed = attribute(graphics, 'autoport') !== 'yes' && port !== undefined && port !== '-1';
    if (fixed)
      warnings.push(
        `Its ${(attribute(graphics, 'type') ?? '').toUpperCase()} port ${port} is fixed: source and clone can’t run at the same time.`,
      );
  }
  const passed =
    childrenOf(devices, 'hostdev').length + domain.nics.filter((nic) => nic.type === 'hostdev').length;
  if (passed > 0)
    warnings.push(
      `${passed === 1 ? 'A host device is' : `${passed} host devices are`} passed through; only one guest can have ${passed === 1 ? 'it' : 'them'} at a time.`,
    );
  const folders = childrenOf(devices, 'filesystem').length;
  if (folders > 0)
    warnings.push(
      `${folders === 1 ? 'A folder' : `${folders} folders`} of the host ${folders === 1 ? 'is' : 'are'} shared into the guest; the clone sees the same.`,
    );
  for (const disk of domain.disks) {
    if (disk.path !== undefined && (disk.device !== 'disk' || disk.readonly)) continue;
    if (disk.shareable && disk.path !== undefined)
      warnings.push(
        `Disk ${disk.target} is marked shareable: the clone uses the same file, it is not copied.`,
      );
    if (disk.serial !== undefined || disk.wwn !== undefined)
      warnings.push(`Disk ${disk.target} keeps its serial number, as software in the guest may look for it.`);
  }
  if (childrenOf(devices, 'tpm').some((tpm) => attribute(child(tpm, 'backend'), 'type') === 'passthrough'))
    warnings.push('The host’s TPM is passed through; only one guest can have it at a time.');
  for (const port of [...childrenOf(devices, 'serial'), ...childrenOf(devices, 'parallel')]) {
    const path = attribute(child(port, 'source'), 'path');
    if (path !== undefined && ['file', 'unix', 'pipe', 'dev'].includes(attribute(port, 'type') ?? ''))
      warnings.push(`A serial port is bound to ${path} on the host, for the clone too.`);
  }
  const cid = child(devices, 'vsock', 'cid');
  if (cid && attribute(cid, 'auto') !== 'yes')
    warnings.push('Its vsock address is fixed: source and clone can’t run at the same time.');
  if (child(root, 'qemu:commandline'))
    warnings.push('It has QEMU arguments of its own, which the clone gets unchanged.');
  if (
    domain.nics.some((nic) => nic.targetDevice !== undefined && !/^(vnet|vif|macvtap)/.test(nic.targetDevice))
  )
    warnings.push('A network interface has a fixed name on the host; the clone’s gets a free one.');
  return warnings;
}
