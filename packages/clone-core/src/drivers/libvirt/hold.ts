/**
 * A clone that is held back until it is itself: its links are down, a drive with its first settings is in it, and its
 * definition remembers what it waits for. All of it is taken out again by `released`, and the definition is then as its
 * source's.
 */
import type { Element } from '@xmldom/xmldom';
import { OffshootError } from '../../errors.ts';
import type { Awaiting } from './types.ts';
import {
  attribute,
  child,
  childrenOf,
  ensureChild,
  parseXml,
  removeElement,
  serialize,
  textOf,
} from './xml.ts';

/** Of our element in a domain's metadata (https://libvirt.org/formatdomain.html#general-metadata). */
export const METADATA_URI = 'https://offshoot.invalid/identity/1';
const METADATA_KEY = 'offshoot';
/** User aliases must begin with `ua-`; they tell our devices from others. */
const DRIVE_ALIAS = 'ua-offshoot-seed';
const CONTROLLER_ALIAS = 'ua-offshoot-seed-bus';

export interface SeedDrive {
  path: string;
  /** The guest is a Windows: it knows no virtio SCSI without a driver of its own. */
  windows: boolean;
}

/** The definition with the links of `awaiting.links` down, the drive in it, and what it waits for noted. */
export function held(xml: string, awaiting: Awaiting, drive?: SeedDrive): string {
  const { document, root } = parseXml(xml, 'domain');
  const devices = ensureChild(root, 'devices');
  setLinks(devices, awaiting.links, 'down');
  if (drive) addDrive(root, devices, drive);
  const metadata = ensureChild(root, 'metadata');
  ourMetadata(root).forEach(removeElement);
  const element = document.createElementNS(METADATA_URI, `${METADATA_KEY}:identity`);
  element.textContent = JSON.stringify(awaiting);
  metadata.appendChild(element);
  return serialize(document);
}

/** What a definition waits for; undefined: nothing. Throws `source-unreadable` when the note was damaged by another hand. */
export function awaitingIn(xml: string): Awaiting | undefined {
  if (!xml.includes(METADATA_URI)) return undefined;
  const [element] = ourMetadata(parseXml(xml, 'domain').root);
  if (!element) return undefined;
  try {
    // Written by `held` only; a definition belongs to the host's administrators.
    return JSON.parse(textOf(element)) as Awaiting;
  } catch (cause) {
    throw new OffshootError('source-unreadable', {
      publicMessage: 'What Offshoot noted in the guest’s definition about its identity can’t be read.',
      remedy: `Take the element of ${METADATA_URI} out of it (virsh edit), and set its links up there.`,
      cause,
    });
  }
}

/** The definition as it was before `held`. `links: false`: they stay down. */
export function released(xml: string, { links = true } = {}): string {
  if (!xml.includes(METADATA_URI) && !xml.includes(DRIVE_ALIAS)) return xml;
  const awaiting = awaitingIn(xml);
  const { document, root } = parseXml(xml, 'domain');
  const devices = child(root, 'devices');
  if (awaiting && links) setLinks(devices, awaiting.links, 'up');
  ours(devices).forEach(removeElement);
  ourMetadata(root).forEach((element) => {
    const metadata = child(root, 'metadata');
    removeElement(element);
    if (metadata && childrenOf(metadata).length === 0) removeElement(metadata);
  });
  return serialize(document);
}

/** Target of the drive that `held` put in; undefined: there is none. */
export function seedTargetIn(xml: string): string | undefined {
  const drive = ours(child(parseXml(xml, 'domain').root, 'devices')).find((each) => each.tagName === 'disk');
  return attribute(child(drive, 'target'), 'dev');
}

function ourMetadata(root: Element): Element[] {
  return childrenOf(child(root, 'metadata')).filter((each) => each.namespaceURI === METADATA_URI);
}

function ours(devices: Element | undefined): Element[] {
  return childrenOf(devices).filter((each) =>
    [DRIVE_ALIAS, CONTROLLER_ALIAS].includes(attribute(child(each, 'alias'), 'name') ?? ''),
  );
}

function setLinks(devices: Element | undefined, macs: readonly string[], state: 'up' | 'down'): void {
  for (const nic of childrenOf(devices, 'interface')) {
    if (!macs.includes((attribute(child(nic, 'mac'), 'address') ?? '').toLowerCase())) continue;
    const link = child(nic, 'link');
    if (state === 'down') (link ?? append(nic, 'link')).setAttribute('state', 'down');
    else if (link) removeElement(link); // up is what no word means
  }
}

function append(parent: Element, name: string, attributes: Readonly<Record<string, string>> = {}): Element {
  const { ownerDocument } = parent;
  if (!ownerDocument)
    throw new OffshootError('internal', { publicMessage: 'An element of a definition has no document.' });
  const made = ownerDocument.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.appendChild(made);
  return made;
}

function addDrive(root: Element, devices: Element, { path, windows }: SeedDrive): void {
  const machine = attribute(child(root, 'os', 'type'), 'machine') ?? '';
  const boot = childrenOf(devices, 'disk').find((disk) => (attribute(disk, 'device') ?? 'disk') === 'disk');
  const bus = busFor(attribute(child(boot, 'target'), 'bus') ?? 'virtio', machine, windows);
  const target = freeTarget(devices, bus === 'ide' ? 'hd' : 'sd');
  const controller = bus === 'scsi' ? addController(devices, machine) : undefined;
  const disk = append(devices, 'disk', { type: 'file', device: 'cdrom' });
  append(disk, 'driver', { name: 'qemu', type: 'raw' });
  append(disk, 'source', { file: path });
  append(disk, 'target', { dev: target, bus });
  append(disk, 'readonly');
  append(disk, 'alias', { name: DRIVE_ALIAS });
  if (controller !== undefined)
    append(disk, 'address', { type: 'drive', controller, bus: '0', target: '0', unit: '0' });
}

/** A bus that the guest has a driver for: it boots from that kind, or has it built in. */
function busFor(boot: string, machine: string, windows: boolean): 'scsi' | 'sata' | 'ide' {
  const builtIn = machine.includes('q35') ? 'sata' : 'ide';
  if (boot === 'sata' || boot === 'ide') return boot;
  // Kernels made for virtual machines (Debian's cloud kernel) have no AHCI, but every driver for virtio.
  return windows ? builtIn : 'scsi';
}

function freeTarget(devices: Element, prefix: string): string {
  const taken = new Set(childrenOf(devices, 'disk').map((disk) => attribute(child(disk, 'target'), 'dev')));
  const free = Array.from({ length: 26 }, (_, n) => `${prefix}${String.fromCodePoint(97 + n)}`);
  const found = free.find((each) => !taken.has(each));
  if (found !== undefined) return found;
  throw new OffshootError('unsupported-disk', {
    publicMessage: 'The guest has so many disks that no drive for its first settings fits in.',
    remedy: 'Detach a disk from the source.',
    field: 'source',
  });
}

/**
 * A controller of its own, whatever others the guest has: it may have no driver for those. Resolves to its index. On the root bus where that is PCI, so that libvirt adds no port for it that would stay in the definition: a PCIe
 * machine takes devices there (docs/pcie.txt of QEMU).
 */
function addController(devices: Element, machine: string): string {
  const others = childrenOf(devices, 'controller').filter((each) => attribute(each, 'type') === 'scsi');
  const index = String(Math.max(-1, ...others.map((each) => Number(attribute(each, 'index')))) + 1);
  const controller = append(devices, 'controller', { type: 'scsi', index, model: 'virtio-scsi' });
  append(controller, 'alias', { name: CONTROLLER_ALIAS });
  if (!machine.includes('q35')) return index;
  const taken = new Set(
    [...devices.getElementsByTagName('address')]
      .filter((address) => attribute(address, 'type') === 'pci' && Number(attribute(address, 'bus')) === 0)
      .map((address) => Number(attribute(address, 'slot'))),
  );
  const slot = Array.from({ length: 12 }, (_, index) => 0x1a - index).find((each) => !taken.has(each));
  if (slot === undefined) return index;
  append(controller, 'address', {
    type: 'pci',
    domain: '0x0000',
    bus: '0x00',
    slot: `0x${slot.toString(16).padStart(2, '0')}`,
    function: '0x0',
  });
  return index;
}
