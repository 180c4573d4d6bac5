/**
 * OVF descriptors, written and read. Order and names of elements: DMTF DSP0243 1.1.0 (Open Virtualization Format) and its
 * schemas; within an Item the properties of CIM_ResourceAllocationSettingData in alphabetical order.
 */
import { DOMImplementation, DOMParser, XMLSerializer, type Document, type Element } from '@xmldom/xmldom';
import { OffshootError } from '../../errors.ts';

export const OVF = 'http://schemas.dmtf.org/ovf/envelope/1';
export const RASD = 'http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData';
export const VSSD = 'http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData';
const STREAM_OPTIMIZED = 'http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized';
/** CIM_OperatingSystem.OsType: 101 is "Linux 64-Bit". */
const LINUX_64 = '101';
/** CIM_ResourceAllocationSettingData.ResourceType. */
const TYPES = { processor: 3, memory: 4, scsi: 6, ethernet: 10, disk: 17 } as const;

export interface OvfMachine {
  name: string;
  osName: string;
  vcpus: number;
  memoryMiB: number;
  /** Networks of its cards, one each. */
  networks: string[];
  disks: { file: string; fileBytes: number; capacityBytes: number; populatedBytes: number }[];
}

/** The descriptor of one machine whose disks are stream-optimized VMDKs beside it. */
export function writeOvf(machine: OvfMachine): string {
  const document = new DOMImplementation().createDocument(OVF, 'Envelope');
  const root = document.documentElement;
  if (!root) throw new OffshootError('internal', { publicMessage: 'No document was made.' });
  root.setAttribute('xmlns:ovf', OVF);
  root.setAttribute('xmlns:rasd', RASD);
  root.setAttribute('xmlns:vssd', VSSD);
  const add = adder(document);
  const references = add(root, 'References');
  machine.disks.forEach(({ file, fileBytes }, index) =>
    add(references, 'File', {
      'ovf:id': `file${index + 1}`,
      'ovf:href': file,
      'ovf:size': String(fileBytes),
    }),
  );
  const disks = add(root, 'DiskSection');
  add(disks, 'Info', {}, 'Its disks');
  machine.disks.forEach(({ capacityBytes, populatedBytes }, index) =>
    add(disks, 'Disk', {
      'ovf:diskId': `disk${index + 1}`,
      'ovf:fileRef': `file${index + 1}`,
      'ovf:capacity': String(capacityBytes),
      'ovf:capacityAllocationUnits': 'byte',
      'ovf:format': STREAM_OPTIMIZED,
      'ovf:populatedSize': String(populatedBytes),
    }),
  );
  const networks = [...new Set(machine.networks)];
  const section = add(root, 'NetworkSection');
  add(section, 'Info', {}, 'Its networks');
  for (const network of networks) add(section, 'Network', { 'ovf:name': network });
  const system = add(root, 'VirtualSystem', { 'ovf:id': machine.name });
  add(system, 'Info', {}, 'A virtual machine');
  add(system, 'Name', {}, machine.name);
  const os = add(system, 'OperatingSystemSection', { 'ovf:id': LINUX_64 });
  add(os, 'Info', {}, 'The operating system inside');
  add(os, 'Description', {}, machine.osName);
  addHardware(add, system, machine);
  return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(document)}\n`;
}

type Add = (
  parent: Element,
  name: string,
  attributes?: Readonly<Record<string, string>>,
  text?: string,
) => Element;

const adder =
  (document: Document): Add =>
  (parent, name, attributes = {}, text) => {
    const [prefix] = name.split(':');
    const space = prefix === 'rasd' ? RASD : prefix === 'vssd' ? VSSD : OVF;
    const element = document.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttributeNS(OVF, key, value);
    if (text !== undefined) element.textContent = text;
    parent.appendChild(element);
    return element;
  };

function addHardware(add: Add, system: Element, machine: OvfMachine): void {
  const hardware = add(system, 'VirtualHardwareSection');
  add(hardware, 'Info', {}, 'What it needs');
  const settings = add(hardware, 'System');
  add(settings, 'vssd:ElementName', {}, 'Virtual Hardware Family');
  add(settings, 'vssd:InstanceID', {}, '0');
  add(settings, 'vssd:VirtualSystemIdentifier', {}, machine.name);
  add(settings, 'vssd:VirtualSystemType', {}, 'vmx-13');
  let id = 0;
  /** Properties come in alphabetical order: the schema is a sequence. */
  const item = (properties: Readonly<Record<string, string | number>>): void => {
    const element = add(hardware, 'Item');
    const all = Object.entries({ ...properties, InstanceID: (id += 1) });
    for (const [name, value] of all.toSorted(([a], [b]) => (a < b ? -1 : 1)))
      add(element, `rasd:${name}`, {}, String(value));
  };
  const { vcpus, memoryMiB } = machine;
  item({
    AllocationUnits: 'hertz * 10^6',
    ElementName: `${vcpus} virtual CPU(s)`,
    ResourceType: TYPES.processor,
    VirtualQuantity: vcpus,
  });
  item({
    AllocationUnits: 'byte * 2^20',
    ElementName: `${memoryMiB} MB of memory`,
    ResourceType: TYPES.memory,
    VirtualQuantity: memoryMiB,
  });
  item({
    Address: 0,
    ElementName: 'SCSI controller 0',
    ResourceSubType: 'lsilogic',
    ResourceType: TYPES.scsi,
  });
  const controller = id;
  machine.disks.forEach((_disk, index) =>
    item({
      AddressOnParent: index,
      ElementName: `Hard disk ${index + 1}`,
      HostResource: `ovf:/disk/disk${index + 1}`,
      Parent: controller,
      ResourceType: TYPES.disk,
    }),
  );
  machine.networks.forEach((network, index) =>
    item({
      AddressOnParent: 7 + index,
      AutomaticAllocation: 'true',
      Connection: network,
      ElementName: `Network adapter ${index + 1}`,
      ResourceSubType: 'E1000',
      ResourceType: TYPES.ethernet,
    }),
  );
}

export interface OvfDisk {
  file: string;
  capacityBytes: number;
}

const refuse = (why: string): OffshootError =>
  new OffshootError('source-unreadable', {
    publicMessage: `The OVA’s description can’t be used: ${why}.`,
    remedy: 'Export it again where it comes from.',
    field: 'imagePath',
  });

const UNITS: Readonly<Record<string, number>> = {
  byte: 1,
  'byte * 2^10': 2 ** 10,
  'byte * 2^20': 2 ** 20,
  'byte * 2^30': 2 ** 30,
};

/** Disks of a descriptor in its order. Throws `source-unreadable` (field `imagePath`) for what is none or has no disk. */
export function readOvf(text: string): OvfDisk[] {
  if (/<!(DOCTYPE|ENTITY)/i.test(text)) throw refuse('it has a DOCTYPE');
  let root: Element | null;
  try {
    root = new DOMParser({
      onError: (_level, message) => {
        throw new Error(message);
      },
    }).parseFromString(text, 'text/xml').documentElement;
  } catch (cause) {
    throw refuse(cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause));
  }
  if (root?.localName !== 'Envelope') throw refuse('it is no OVF envelope');
  const files = new Map(
    [...root.getElementsByTagNameNS(OVF, 'File')].map((file) => [of(file, 'id'), of(file, 'href')]),
  );
  const disks = [...root.getElementsByTagNameNS(OVF, 'Disk')].map((disk): OvfDisk => {
    const file = files.get(of(disk, 'fileRef'));
    if (file === undefined || file === '') throw refuse(`its disk ${of(disk, 'diskId')} has no file`);
    if (!/vmdk/i.test(of(disk, 'format'))) throw refuse(`its disk ${of(disk, 'diskId')} is no VMDK`);
    const unit = UNITS[of(disk, 'capacityAllocationUnits').replaceAll(/\s+/g, ' ').trim() || 'byte'] ?? 1;
    return { file, capacityBytes: Number(of(disk, 'capacity')) * unit };
  });
  if (disks.length === 0) throw refuse('it has no disk');
  return disks;
}

const of = (element: Element, name: string): string =>
  element.getAttributeNS(OVF, name) ?? element.getAttribute(name) ?? '';
