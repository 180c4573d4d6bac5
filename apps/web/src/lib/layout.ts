/** Places of the lineage's nodes on the canvas. Pure. */
import { Graph, layout } from '@dagrejs/dagre';
import type { LineageEdge, LineageNode } from '../server/lineage.ts';
import { shownUnder, type Branch } from './lineage.ts';

export const NODE_WIDTH = 214;
export const NODE_HEIGHT = 62;
export const MORE_HEIGHT = 34;

export type Placed = { id: string; x: number; y: number } & (
  | { type: 'item'; node: LineageNode }
  | { type: 'more'; parent: string; more: number }
);

export interface Layout {
  nodes: Placed[];
  edges: { id: string; source: string; target: string; label: LineageEdge | '' }[];
}

type Found = { type: 'item'; node: LineageNode } | { type: 'more'; parent: string; more: number };

/** From left to right; folded as `shownUnder` folds. */
export function layoutOf(roots: readonly Branch[], unfolded: ReadonlySet<string>, focus?: string): Layout {
  const found = new Map<string, Found>();
  const edges: Layout['edges'] = [];
  const add = (parent: string | null, children: readonly Branch[]): void => {
    const { branches, more } = shownUnder(parent, children, unfolded, focus);
    for (const branch of branches) {
      const { id, edge } = branch.node;
      found.set(id, { type: 'item', node: branch.node });
      if (parent !== null)
        edges.push({ id: `${parent}>${id}`, source: parent, target: id, label: edge ?? '' });
      add(id, branch.children);
    }
    if (more === 0) return;
    const id = `more:${parent ?? ''}`;
    found.set(id, { type: 'more', parent: parent ?? '', more });
    if (parent !== null) edges.push({ id: `${parent}>${id}`, source: parent, target: id, label: '' });
  };
  add(null, roots);

  const graph = new Graph()
    .setGraph({ rankdir: 'LR', nodesep: 14, ranksep: 76 })
    .setDefaultEdgeLabel(() => ({}));
  for (const [id, { type }] of found)
    graph.setNode(id, { width: NODE_WIDTH, height: type === 'item' ? NODE_HEIGHT : MORE_HEIGHT });
  for (const { source, target } of edges) graph.setEdge(source, target);
  // A forest has no crossings to undo: the canvas keeps the order of the tree beside it.
  layout(graph, { disableOptimalOrderHeuristic: true });
  const nodes = [...found].map(([id, what]): Placed => {
    const at = graph.node(id);
    return { id, x: at.x - at.width / 2, y: at.y - at.height / 2, ...what };
  });
  return { nodes, edges };
}
