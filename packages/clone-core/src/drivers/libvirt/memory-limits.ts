/** What of a guest can't be taken along with its memory. */
import type { Element } from '@xmldom/xmldom';
import { attribute, child, childrenOf, parseXml, textOf } from './xml.ts';

/**
 * Why no second guest can go on from this one's memory, as a sentence's end ("it has …"); undefined: nothing is in the
 * way. A device that is not wholly QEMU's has state outside of it, and one that is bound to something of the host
 * can't be had twice: source and clone run at the same time.
 */
export function memoryObstacle(definition: string): string | undefined {
  const { root } = parseXml(definition, 'domain');
  const devices = child(root, 'devices');
  const nics = childrenOf(devices, 'interface').map((nic) => attribute(nic, 'type') ?? '');
  const disks = childrenOf(devices, 'disk').map((disk) => attribute(disk, 'type') ?? '');
  if (childrenOf(devices, 'hostdev').length > 0 || nics.includes('hostdev'))
    return 'it has a device of the host passed through, whose state is not in its memory';
  if (childrenOf(devices, 'tpm').length > 0)
    return 'it has a TPM, whose secrets would be the same in source and clone';
  if (childrenOf(devices, 'filesystem').length > 0)
    return 'it has a folder of the host shared into it, whose state is not in its memory';
  if (nics.some((type) => type === 'vhostuser' || type === 'vdpa'))
    return 'it has a network card that another program of the host runs';
  if (disks.some((type) => type === 'vhostuser' || type === 'vhostvdpa'))
    return 'it has a disk that another program of the host runs';
  if (childrenOf(devices, 'shmem').length > 0) return 'it shares memory with other programs of the host';
  if (child(root, 'launchSecurity')) return 'its memory is encrypted by the processor';
  return boundToHost(devices) ?? unmovableCpu(child(root, 'cpu'));
}

function boundToHost(devices: Element | undefined): string | undefined {
  for (const graphics of childrenOf(devices, 'graphics')) {
    const port = attribute(graphics, 'port');
    if (port !== undefined && port !== '-1' && attribute(graphics, 'autoport') !== 'yes')
      return `its ${(attribute(graphics, 'type') ?? 'display').toUpperCase()} port ${port} is fixed, and both run at the same time`;
  }
  for (const port of ['serial', 'parallel', 'console'].flatMap((name) => childrenOf(devices, name))) {
    const type = attribute(port, 'type') ?? '';
    const path = attribute(child(port, 'source'), 'path');
    if (path !== undefined && ['file', 'unix', 'pipe', 'dev'].includes(type))
      return `a port of it is bound to ${path} on the host, and both run at the same time`;
  }
  const cid = child(devices, 'vsock', 'cid');
  if (cid && attribute(cid, 'auto') !== 'yes')
    return 'its vsock address is fixed, and both run at the same time';
  return undefined;
}

/** QEMU refuses to save these; better said before. */
function unmovableCpu(cpu: Element | undefined): string | undefined {
  const features = childrenOf(cpu, 'feature');
  const fixed = features.find(
    (feature) =>
      attribute(feature, 'name') === 'invtsc' &&
      ['require', 'force'].includes(attribute(feature, 'policy') ?? ''),
  );
  return fixed || attribute(cpu, 'migratable') === 'off' ? 'its processor can’t be saved' : undefined;
}

/** MACs of a definition's network cards, in order, and whether their links are up. */
export function linksOf(definition: string): { mac: string; up: boolean }[] {
  const { root } = parseXml(definition, 'domain');
  return childrenOf(child(root, 'devices'), 'interface').map((nic) => ({
    mac: (attribute(child(nic, 'mac'), 'address') ?? '').toLowerCase(),
    up: attribute(child(nic, 'link'), 'state') !== 'down',
  }));
}

export const nameIn = (definition: string): string =>
  textOf(child(parseXml(definition, 'domain').root, 'name'));
