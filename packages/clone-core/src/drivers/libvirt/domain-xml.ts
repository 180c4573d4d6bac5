/** Rewrites a domain definition for a clone, in the DOM: what is not named here stays as it is. */
import type { Element } from '@xmldom/xmldom';
import { OffshootError } from '../../errors.ts';
import {
  attribute,
  bytesOf,
  child,
  childrenOf,
  ensureChild,
  parseXml,
  removeElement,
  serialize,
  textOf,
} from './xml.ts';

export interface Rewrite {
  name: string;
  uuid: string;
  /** New generation id, used when the definition has one. */
  genid: string;
  /** One per NIC, in order. */
  macs: readonly string[];
  /** By target; disks not named keep their source. */
  disks: Readonly<Record<string, { path: string; format: string }>>;
  nvramPath?: string;
  vcpus?: number;
  memoryMiB?: number;
  network?: string;
}

/** The definition of the clone. Throws `invalid-input` when CPUs or memory can't be changed in this definition. */
export function rewriteDomain(xml: string, rewrite: Rewrite): string {
  const { document, root } = parseXml(xml, 'domain');
  const devices = child(root, 'devices');
  const sourceUuid = textOf(child(root, 'uuid'));
  root.removeAttribute('id');
  ensureChild(root, 'uuid').textContent = rewrite.uuid;
  ensureChild(root, 'name').textContent = rewrite.name;
  const genid = child(root, 'genid');
  if (genid) genid.textContent = rewrite.genid;
  for (const sysinfo of childrenOf(root, 'sysinfo'))
    for (const entry of childrenOf(child(sysinfo, 'system'), 'entry'))
      if (attribute(entry, 'name') === 'uuid') entry.textContent = rewrite.uuid;
  for (const disk of childrenOf(devices, 'disk')) rewriteDisk(disk, rewrite);
  childrenOf(devices, 'interface').forEach((nic, index) =>
    rewriteNic(nic, rewrite.macs[index], rewrite.network),
  );
  childrenOf(devices, 'channel').forEach(freeChannel);
  childrenOf(root, 'seclabel').forEach((label) => freeLabel(label, sourceUuid));
  rewriteNvram(root, rewrite.nvramPath);
  if (rewrite.vcpus !== undefined) rewriteCpus(root, rewrite.vcpus);
  if (rewrite.memoryMiB !== undefined) rewriteMemory(root, rewrite.memoryMiB);
  return serialize(document);
}

/** The same definition with other files under some of its disks, by target. */
export function redirectDisks(xml: string, disks: Rewrite['disks']): string {
  const { document, root } = parseXml(xml, 'domain');
  for (const disk of childrenOf(child(root, 'devices'), 'disk')) rewriteDisk(disk, { disks });
  return serialize(document);
}

function rewriteDisk(disk: Element, rewrite: Pick<Rewrite, 'disks'>): void {
  const to = rewrite.disks[attribute(child(disk, 'target'), 'dev') ?? ''];
  if (!to) return;
  const source = ensureChild(disk, 'source');
  disk.setAttribute('type', 'file');
  source.removeAttribute('dev');
  source.removeAttribute('index');
  source.setAttribute('file', to.path);
  childrenOf(source, 'seclabel').forEach(removeElement);
  childrenOf(disk, 'backingStore').forEach(removeElement);
  childrenOf(disk, 'mirror').forEach(removeElement);
  const driver = ensureChild(disk, 'driver');
  if (!driver.hasAttribute('name')) driver.setAttribute('name', 'qemu');
  driver.setAttribute('type', to.format);
}

function rewriteNic(nic: Element, mac: string | undefined, network: string | undefined): void {
  if (mac !== undefined) ensureChild(nic, 'mac').setAttribute('address', mac);
  childrenOf(nic, 'target')
    .filter((target) => target.hasAttribute('dev'))
    .forEach((target) => {
      target.removeAttribute('dev');
      if (target.attributes.length === 0) removeElement(target);
    });
  child(nic, 'virtualport', 'parameters')?.removeAttribute('interfaceid');
  const source = child(nic, 'source');
  source?.removeAttribute('portid');
  if (network === undefined || attribute(nic, 'type') !== 'network' || !source) return;
  if (attribute(source, 'network') !== network) {
    source.removeAttribute('portgroup');
    source.removeAttribute('bridge');
  }
  source.setAttribute('network', network);
}

/** A socket that libvirt listens on for one guest: without a path libvirt makes one of the clone's own. */
function freeChannel(channel: Element): void {
  const source = child(channel, 'source');
  if (attribute(channel, 'type') === 'unix' && source && attribute(source, 'mode') !== 'connect')
    removeElement(source);
}

function freeLabel(label: Element, sourceUuid: string): void {
  const names = (element: Element): boolean => sourceUuid !== '' && textOf(element).includes(sourceUuid);
  const children = [...childrenOf(label, 'label'), ...childrenOf(label, 'imagelabel')];
  if (attribute(label, 'type') === 'dynamic') children.forEach(removeElement);
  else if (children.some(names)) removeElement(label);
}

function rewriteNvram(root: Element, path: string | undefined): void {
  const nvram = child(root, 'os', 'nvram');
  if (!nvram || path === undefined) return;
  const source = child(nvram, 'source');
  if (source) source.setAttribute('file', path);
  else nvram.textContent = path;
}

function refuseNuma(root: Element, what: string, field: string): void {
  if (!child(root, 'cpu', 'numa')) return;
  throw new OffshootError('invalid-input', {
    publicMessage: `The source has NUMA cells, which fix its ${what}.`,
    remedy: `Leave its ${what} as they are, and change them in the clone’s definition.`,
    field: `options.${field}`,
  });
}

function rewriteCpus(root: Element, vcpus: number): void {
  const vcpu = ensureChild(root, 'vcpu');
  if (Number(textOf(vcpu)) === vcpus && !vcpu.hasAttribute('current')) return;
  refuseNuma(root, 'CPUs', 'vcpus');
  vcpu.textContent = String(vcpus);
  vcpu.removeAttribute('current');
  childrenOf(root, 'vcpus').forEach(removeElement);
  for (const pin of [
    ...childrenOf(child(root, 'cputune'), 'vcpupin'),
    ...childrenOf(child(root, 'cputune'), 'vcpusched'),
  ])
    if (highest(attribute(pin, 'vcpu') ?? attribute(pin, 'vcpus') ?? '0') >= vcpus) removeElement(pin);
  const topology = child(root, 'cpu', 'topology');
  if (!topology) return;
  const perSocket = ['dies', 'cores', 'threads'].reduce(
    (product, name) => product * Number(attribute(topology, name) ?? 1),
    1,
  );
  if (vcpus % perSocket === 0) {
    topology.setAttribute('sockets', String(vcpus / perSocket));
    return;
  }
  for (const name of ['dies', 'threads']) if (topology.hasAttribute(name)) topology.setAttribute(name, '1');
  topology.setAttribute('sockets', '1');
  topology.setAttribute('cores', String(vcpus));
}

const highest = (list: string): number =>
  Math.max(
    ...list
      .split(/[^0-9]+/)
      .filter((part) => part !== '')
      .map(Number),
    0,
  );

function rewriteMemory(root: Element, memoryMiB: number): void {
  const bytes = memoryMiB * 1024 ** 2;
  const [memory, current, max] = [
    ensureChild(root, 'memory'),
    child(root, 'currentMemory'),
    child(root, 'maxMemory'),
  ];
  if (bytesOf(memory) !== bytes) refuseNuma(root, 'memory', 'memoryMiB');
  for (const element of [
    memory,
    ...(current ? [current] : []),
    ...(max && bytesOf(max) < bytes ? [max] : []),
  ]) {
    element.setAttribute('unit', 'KiB');
    element.textContent = String(memoryMiB * 1024);
  }
}
