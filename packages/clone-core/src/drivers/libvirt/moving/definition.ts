/** The definition of a guest on the host it goes to: the same, with its files where they are there. */
import type { Element } from '@xmldom/xmldom';
import { METADATA_URI } from '../hold.ts';
import { attribute, child, childrenOf, parseXml, removeElement, serialize } from '../xml.ts';

/**
 * Every attribute and text that is one of the paths becomes the path it goes to, also in what Offshoot noted in the
 * definition. What libvirt found out about disks on the old host goes.
 */
export function movedDefinition(xml: string, paths: ReadonlyMap<string, string>, network?: string): string {
  const { document, root } = parseXml(xml, 'domain');
  root.removeAttribute('id');
  const devices = child(root, 'devices');
  for (const disk of childrenOf(devices, 'disk')) {
    childrenOf(disk, 'backingStore').forEach(removeElement);
    childrenOf(disk, 'mirror').forEach(removeElement);
    child(disk, 'source')?.removeAttribute('index');
  }
  if (network !== undefined)
    for (const nic of childrenOf(devices, 'interface')) {
      const source = child(nic, 'source');
      if (attribute(nic, 'type') !== 'network' || !source) continue;
      for (const name of ['portid', 'bridge', 'portgroup']) source.removeAttribute(name);
      source.setAttribute('network', network);
    }
  replaceIn(root, paths);
  return serialize(document);
}

function replaceIn(element: Element, paths: ReadonlyMap<string, string>): void {
  for (const { name, value } of element.attributes) {
    const to = paths.get(value);
    if (to !== undefined) element.setAttribute(name, to);
  }
  const text = element.textContent?.trim() ?? '';
  const to = paths.get(text);
  if (to !== undefined && childrenOf(element).length === 0) element.textContent = to;
  else if (element.namespaceURI === METADATA_URI) element.textContent = inNote(text, paths);
  for (const below of childrenOf(element)) replaceIn(below, paths);
}

/** A note is JSON: paths in it stand between quotes. */
function inNote(text: string, paths: ReadonlyMap<string, string>): string {
  let note = text;
  for (const [from, to] of paths) note = note.replaceAll(JSON.stringify(from), JSON.stringify(to));
  return note;
}
