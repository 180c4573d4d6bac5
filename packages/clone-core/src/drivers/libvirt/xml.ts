/** The few DOM helpers that reading and rewriting definitions share. */
import { DOMParser, XMLSerializer, type Document, type Element } from '@xmldom/xmldom';
import { OffshootError } from '../../errors.ts';

/**
 * Parses a definition. Throws `source-unreadable` for what is no well-formed `<root>` document, and for any DOCTYPE:
 * definitions have none, and entities are a way to read files that were not meant.
 */
export function parseXml(text: string, root: string): { document: Document; root: Element } {
  const refuse = (why: string): OffshootError =>
    new OffshootError('source-unreadable', {
      publicMessage: `The definition libvirt gave can’t be read: ${why}.`,
      remedy: 'Check it with virsh dumpxml.',
      context: { definition: text.slice(0, 2000) },
    });
  if (/<!(DOCTYPE|ENTITY)/i.test(text)) throw refuse('it has a DOCTYPE');
  let document: Document;
  try {
    document = new DOMParser({
      onError: (_level, message) => {
        throw new Error(message);
      },
    }).parseFromString(text, 'text/xml');
  } catch (cause) {
    throw refuse(cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause));
  }
  const element = document.documentElement;
  if (!element || element.tagName !== root) throw refuse(`it is no <${root}>`);
  return { document, root: element };
}

export const serialize = (document: Document): string => new XMLSerializer().serializeToString(document);

export const serializeElement = (element: Element): string => new XMLSerializer().serializeToString(element);

export function childrenOf(parent: Element | undefined, name?: string): Element[] {
  const found: Element[] = [];
  for (let node = parent?.firstChild ?? null; node; node = node.nextSibling)
    if (isElement(node) && (name === undefined || node.tagName === name)) found.push(node);
  return found;
}

const isElement = (node: { nodeType: number }): node is Element => node.nodeType === 1;

export function child(parent: Element | undefined, ...path: string[]): Element | undefined {
  let at = parent;
  for (const name of path) at = childrenOf(at, name)[0];
  return at;
}

export const textOf = (element: Element | undefined): string => (element?.textContent ?? '').trim();
export const attribute = (element: Element | undefined, name: string): string | undefined =>
  element?.getAttribute(name) ?? undefined;

/** Removes the element with the white space before it, so that no empty line stays. */
export function removeElement(element: Element): void {
  const before = element.previousSibling;
  if (before?.nodeType === 3 && (before.nodeValue ?? '').trim() === '')
    before.parentNode?.removeChild(before);
  element.parentNode?.removeChild(element);
}

/** The named child, made as the first one when there is none. */
export function ensureChild(parent: Element, name: string): Element {
  const existing = child(parent, name);
  if (existing) return existing;
  const document = parent.ownerDocument;
  if (!document)
    throw new OffshootError('internal', { publicMessage: 'An element of a definition has no document.' });
  const made = document.createElement(name);
  parent.insertBefore(made, parent.firstChild);
  return made;
}

const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  KB: 1e3,
  k: 1024,
  KiB: 1024,
  MB: 1e6,
  M: 1024 ** 2,
  MiB: 1024 ** 2,
  GB: 1e9,
  G: 1024 ** 3,
  GiB: 1024 ** 3,
  TB: 1e12,
  T: 1024 ** 4,
  TiB: 1024 ** 4,
};

/** A size with its `unit`; KiB when none is given. */
export const bytesOf = (element: Element | undefined): number =>
  Number(textOf(element) || '0') * (UNITS[attribute(element, 'unit') ?? 'KiB'] ?? 1024);
