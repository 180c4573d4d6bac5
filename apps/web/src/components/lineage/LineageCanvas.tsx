'use client';

import { useReducedMotion } from '@mantine/hooks';
import {
  Handle,
  Position,
  useNodesInitialized,
  useReactFlow,
  useStoreApi,
  type Edge,
  type Node,
  type NodeProps,
} from '@xyflow/react';
import Link from 'next/link';
import { useEffect, useMemo } from 'react';
import { layoutOf, MORE_HEIGHT, NODE_HEIGHT, NODE_WIDTH, type Placed } from '../../lib/layout.ts';
import { hrefOf, type Branch } from '../../lib/lineage.ts';
import type { LineageNode } from '../../server/lineage.ts';
import { Drawn, Picture } from '../display/Picture.tsx';
import { GuestStateLabel } from '../display/State.tsx';
import { edgeWords, kindWords, spaceOf } from './facts.tsx';
import classes from './lineage.module.css';

const PADDING = 0.08;

interface Props {
  roots: readonly Branch[];
  unfolded: ReadonlySet<string>;
  focus: string | undefined;
  /** The node that the tree beside points at. */
  active: string | undefined;
  onUnfold: (parent: string) => void;
}

type ItemNode = Node<{ node: LineageNode; active: boolean }, 'item'>;
type MoreNode = Node<{ more: number; onUnfold: () => void }, 'more'>;

/** The lineage drawn. For pointers only: whatever it shows, the tree beside it says. */
export function LineageCanvas(props: Props) {
  return (
    <Picture className={classes['canvas'] ?? ''} name="drawing" padding={PADDING}>
      <Drawing {...props} />
    </Picture>
  );
}

function Drawing({ roots, unfolded, focus, active, onUnfold }: Props) {
  const reduced = useReducedMotion();
  const flow = useReactFlow();
  const store = useStoreApi();
  const ready = useNodesInitialized();
  const layout = useMemo(() => layoutOf(roots, unfolded, focus), [roots, unfolded, focus]);
  const nodes = useMemo(
    () => layout.nodes.map((placed) => drawn(placed, active, onUnfold)),
    [layout, active, onUnfold],
  );
  const edges = useMemo<Edge[]>(
    () =>
      layout.edges.map(({ id, source, target, label }) => ({
        id,
        source,
        target,
        ...(label === '' || label === 'version' ? {} : { label: edgeWords[label] }),
      })),
    [layout],
  );
  const at = layout.nodes.find((node) => node.id === active);
  useEffect(() => {
    if (!ready || !at) return;
    const { width, height } = store.getState();
    const { x, y, zoom } = flow.getViewport();
    const [left, top] = [at.x * zoom + x, at.y * zoom + y];
    const seen =
      left >= 0 && top >= 0 && left + NODE_WIDTH * zoom <= width && top + NODE_HEIGHT * zoom <= height;
    // What is in sight already does not move.
    if (seen) return;
    void flow.setCenter(at.x + NODE_WIDTH / 2, at.y + NODE_HEIGHT / 2, { zoom, duration: reduced ? 0 : 250 });
  }, [ready, at, flow, store, reduced]);
  return (
    <Drawn
      className={classes['edges'] ?? ''}
      padding={PADDING}
      nodes={nodes}
      edges={edges}
      nodeTypes={nodeTypes}
      onlyRenderVisibleElements
    />
  );
}

function drawn(
  placed: Placed,
  active: string | undefined,
  onUnfold: (parent: string) => void,
): ItemNode | MoreNode {
  const { id, x, y } = placed;
  const common = {
    id,
    position: { x, y },
    width: NODE_WIDTH,
    sourcePosition: Position.Right,
    targetPosition: Position.Left,
  };
  return placed.type === 'item'
    ? { ...common, type: 'item', height: NODE_HEIGHT, data: { node: placed.node, active: id === active } }
    : {
        ...common,
        type: 'more',
        height: MORE_HEIGHT,
        data: { more: placed.more, onUnfold: () => onUnfold(placed.parent) },
      };
}

function Item({ data: { node, active } }: NodeProps<ItemNode>) {
  const href = hrefOf(node);
  return (
    <div className={classes['node']} data-kind={node.kind} data-active={active || undefined}>
      <Handle type="target" position={Position.Left} isConnectable={false} />
      <div className={classes['name']}>
        {href === null ? (
          node.name
        ) : (
          <Link className="thing nodrag" href={href} tabIndex={-1}>
            {node.name}
          </Link>
        )}
      </div>
      <div className={classes['line']}>
        {node.kind === 'guest' ? (
          <>
            <GuestStateLabel state={node.state} />
            <span>{spaceOf(node)}</span>
          </>
        ) : node.kind === 'base' ? (
          <span>{spaceOf(node)}</span>
        ) : (
          <span>{kindWords[node.kind]}</span>
        )}
      </div>
      <Handle type="source" position={Position.Right} isConnectable={false} />
    </div>
  );
}

function More({ data: { more, onUnfold } }: NodeProps<MoreNode>) {
  return (
    <>
      <Handle type="target" position={Position.Left} isConnectable={false} />
      <button type="button" className={classes['more']} onClick={onUnfold} tabIndex={-1}>
        {more} more
      </button>
    </>
  );
}

const nodeTypes = { item: Item, more: More };
