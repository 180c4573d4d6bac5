import { formatBytes, count } from '../../lib/format.ts';
import type { LineageEdge, LineageNode } from '../../server/lineage.ts';

/** What a node takes of the store, in few words. */
export function spaceOf(node: LineageNode): string {
  switch (node.kind) {
    case 'guest':
      return node.ownedBytes === null ? '' : `owns ${formatBytes(node.ownedBytes)}`;
    case 'base':
      return `${formatBytes(node.sharedBytes)} shared by ${count(node.standing, 'guest')}`;
    case 'template':
    case 'version':
      return '';
  }
}

/** How it came from what is above it. */
export const edgeWords: Readonly<Record<LineageEdge, string>> = {
  version: 'version',
  'stored as': 'stored as',
  'captured as': 'captured as',
  linked: 'linked',
  full: 'full copy',
  memory: 'with memory',
};

export const kindWords: Readonly<Record<LineageNode['kind'], string>> = {
  template: 'Template',
  version: 'Version',
  base: 'Base',
  guest: 'Guest',
};
