/** The lineage as the pages draw it: a forest, folded where there are many alike. Pure. */
import type { LineageNode } from '../server/lineage.ts';

/** So many children of one parent are shown at once; of more, one fewer, and how many more there are. */
export const SHOWN_SIBLINGS = 8;

export interface Branch {
  node: LineageNode;
  /** By name; bases and versions before guests. */
  children: Branch[];
}

/** What is shown under a parent: its branches, and how many of them are folded away. */
export interface Shown {
  branches: Branch[];
  more: number;
}

const order: Readonly<Record<LineageNode['kind'], number>> = { template: 0, version: 1, base: 2, guest: 3 };
const byName = new Intl.Collator('en', { numeric: true }).compare;

/** Trees of what hangs together. A parent that is not among the nodes, or a circle, makes a root. */
export function forestOf(nodes: readonly LineageNode[]): Branch[] {
  const branches = new Map(nodes.map((node): [string, Branch] => [node.id, { node, children: [] }]));
  const roots: Branch[] = [];
  for (const branch of branches.values()) {
    const parent = branch.node.parent === null ? undefined : branches.get(branch.node.parent);
    if (parent && !isAbove(branch, parent, branches)) parent.children.push(branch);
    else roots.push(branch);
  }
  const compare = (a: Branch, b: Branch): number =>
    order[a.node.kind] - order[b.node.kind] || byName(a.node.name, b.node.name);
  for (const branch of branches.values()) branch.children.sort(compare);
  return roots.sort(compare);
}

/** Whether `branch` is `at` or one of what `at` came from. */
function isAbove(branch: Branch, at: Branch, branches: ReadonlyMap<string, Branch>): boolean {
  const seen = new Set<Branch>();
  for (let next: Branch | undefined = at; next && !seen.has(next);) {
    if (next === branch) return true;
    seen.add(next);
    next = next.node.parent === null ? undefined : branches.get(next.node.parent);
  }
  return false;
}

/** What to show under a parent (null: of the roots). `unfolded`: parents whose children are all wanted. */
export function shownUnder(
  parent: string | null,
  children: readonly Branch[],
  unfolded: ReadonlySet<string>,
  focus?: string,
): Shown {
  const key = parent ?? '';
  if (children.length <= SHOWN_SIBLINGS || unfolded.has(key)) return { branches: [...children], more: 0 };
  const first = children.slice(0, SHOWN_SIBLINGS - 1);
  // What the page is about is never folded away.
  const focused = children.slice(SHOWN_SIBLINGS - 1).find((branch) => holds(branch, focus));
  const branches = focused ? [...first, focused] : first;
  return { branches, more: children.length - branches.length };
}

const holds = (branch: Branch, id: string | undefined): boolean =>
  id !== undefined && (branch.node.id === id || branch.children.some((child) => holds(child, id)));

/** Where a click on the node leads; null: it has no page. */
export function hrefOf(node: LineageNode): string | null {
  switch (node.kind) {
    case 'guest':
      return `/guests/${node.guestId}`;
    case 'template':
    case 'version':
      return `/templates/${node.templateId}`;
    case 'base':
      return null;
  }
}

export interface Sums {
  guests: number;
  ownedBytes: number;
  bases: number;
  sharedBytes: number;
}

/** Real space: each base counts once, however many stand on it. */
export function sumsOf(nodes: readonly LineageNode[]): Sums {
  const sums: Sums = { guests: 0, ownedBytes: 0, bases: 0, sharedBytes: 0 };
  for (const node of nodes) {
    if (node.kind === 'guest') {
      sums.guests++;
      sums.ownedBytes += node.ownedBytes ?? 0;
    } else if (node.kind === 'base') {
      sums.bases++;
      sums.sharedBytes += node.sharedBytes;
    }
  }
  return sums;
}
