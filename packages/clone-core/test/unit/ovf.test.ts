/** OVF descriptors, against the order of elements of DMTF DSP0243 1.1.0 and its schemas. */
import { DOMParser, type Element } from '@xmldom/xmldom';
import { expect, it } from 'vitest';
import { OVF, RASD, readOvf, writeOvf } from '../../src/disks/ova/descriptor.ts';

const machine = {
  name: 'web & co',
  osName: 'Debian <12>',
  vcpus: 2,
  memoryMiB: 512,
  networks: ['lab', 'lab', 'dmz'],
  disks: [
    { file: 'web-vda.vmdk', fileBytes: 1000, capacityBytes: 2 ** 30, populatedBytes: 5000 },
    { file: 'web-vdb.vmdk', fileBytes: 2000, capacityBytes: 2 ** 31, populatedBytes: 6000 },
  ],
};

/** Of an element's children, in the order that the schema's sequence has them. */
const ORDERS: Readonly<Record<string, readonly string[]>> = {
  // Envelope: References, then sections (AbstractSection), then the content, then Strings.
  Envelope: ['References', 'DiskSection', 'NetworkSection', 'VirtualSystem'],
  References: ['File', 'File'],
  DiskSection: ['Info', 'Disk', 'Disk'],
  NetworkSection: ['Info', 'Network', 'Network'],
  VirtualSystem: ['Info', 'Name', 'OperatingSystemSection', 'VirtualHardwareSection'],
  OperatingSystemSection: ['Info', 'Description'],
  VirtualHardwareSection: ['Info', 'System', ...Array<string>(8).fill('Item')],
};
/** CIM_ResourceAllocationSettingData 2.22: the sequence of its schema. */
const PROPERTIES = [
  'Address',
  'AddressOnParent',
  'AllocationUnits',
  'AutomaticAllocation',
  'AutomaticDeallocation',
  'Caption',
  'Connection',
  'ConsumerVisibility',
  'Description',
  'ElementName',
  'HostResource',
  'InstanceID',
  'Limit',
  'MappingBehavior',
  'OtherResourceType',
  'Parent',
  'PoolID',
  'Reservation',
  'ResourceSubType',
  'ResourceType',
  'VirtualQuantity',
  'Weight',
];

const elements = (parent: Element): Element[] =>
  [...parent.childNodes].filter((node): node is Element => node.nodeType === 1);
const names = (parent: Element): string[] => elements(parent).map(({ localName }) => localName ?? '');
const root = (): Element => {
  const found = new DOMParser().parseFromString(writeOvf(machine), 'text/xml').documentElement;
  if (!found) throw new Error('no document');
  return found;
};

it('every element is where the schema has it', () => {
  const walk = (element: Element): void => {
    const order = ORDERS[element.localName ?? ''];
    if (order) expect(names(element)).toEqual(order);
    expect([OVF, RASD]).toContain(
      element.namespaceURI?.replace('VirtualSystemSetting', 'ResourceAllocationSetting'),
    );
    elements(element).forEach(walk);
  };
  walk(root());
});

it('an item’s properties are a sequence; what it must have it has, and its parent is there', () => {
  const items = [...root().getElementsByTagNameNS(OVF, 'Item')];
  const ids = items.map((item) => item.getElementsByTagNameNS(RASD, 'InstanceID')[0]?.textContent);
  expect(new Set(ids).size).toBe(items.length);
  for (const item of items) {
    const at = names(item).map((name) => PROPERTIES.indexOf(name));
    expect(at).not.toContain(-1);
    expect(at).toEqual(at.toSorted((a, b) => a - b));
    expect(names(item)).toEqual(expect.arrayContaining(['ElementName', 'InstanceID', 'ResourceType']));
    const parent = item.getElementsByTagNameNS(RASD, 'Parent')[0]?.textContent;
    if (parent !== undefined) expect(ids).toContain(parent);
  }
});

it('what was written is read, and attributes are of the OVF namespace', () => {
  expect(readOvf(writeOvf(machine))).toEqual([
    { file: 'web-vda.vmdk', capacityBytes: 2 ** 30 },
    { file: 'web-vdb.vmdk', capacityBytes: 2 ** 31 },
  ]);
  expect(root().getElementsByTagNameNS(OVF, 'VirtualSystem')[0]?.getAttributeNS(OVF, 'id')).toBe('web & co');
});

it.each([
  ['no XML at all', 'can’t be used'],
  ['<other/>', 'it is no OVF envelope'],
  [`<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><Envelope xmlns="${OVF}"/>`, 'it has a DOCTYPE'],
  [`<Envelope xmlns="${OVF}"/>`, 'it has no disk'],
  [
    `<Envelope xmlns="${OVF}" xmlns:o="${OVF}"><DiskSection><Disk o:diskId="d" o:fileRef="f"/></DiskSection></Envelope>`,
    'its disk d has no file',
  ],
])('%s is refused', (text, why) => {
  expect(() => readOvf(text)).toThrow(why);
});
