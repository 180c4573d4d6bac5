'use client';

import { ActionIcon, useComputedColorScheme } from '@mantine/core';
import { useReducedMotion } from '@mantine/hooks';
import { IconFocusCentered, IconMinus, IconPlus } from '@tabler/icons-react';
import {
  Handle,
  Position,
  ReactFlow,
  ReactFlowProvider,
  useNodesInitialized,
  useReactFlow,
  useStoreApi,
  type Edge,
  type Node,
  type NodeProps,
} from '@xyflow/react';
import '@xyflow/react/dist/base.css';
import Link from 'next/link';
import { useEffect, useMemo } from 'react';
import { layoutOf, MORE_HEIGHT, NODE_HEIGHT, NODE_WIDTH, type Placed } from '../../lib/layout.ts';
import { hrefOf, type Branch } from '../../lib/lineage.ts';
import type { LineageNode } from '../../server/lineage.ts';
import { GuestStateLabel } from '../display/State.tsx';
import { edgeWords, kindWords, spaceOf } from './facts.tsx';
import classes from './lineage.module.css';

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
    <ReactFlowProvider>
      <div className={`panel ${classes['canvas'] ?? ''}`}>
        <Tools />
        <div aria-hidden style={{ height: '100%' }}>
          <Drawing {...props} />
        </div>
      </div>
    </ReactFlowProvider>
  );
}

function Drawing({ roots, unfolded, focus, active, onUnfold }: Props) {
  const scheme = useComputedColorScheme('light', { getInitialValueInEffect: true });
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
    <ReactFlow
      className={classes['edges'] ?? ''}
      colorMode={scheme}
      nodes={nodes}
      edges={edges}
      nodeTypes={nodeTypes}
      fitView
      fitViewOptions={{ padding: 0.08, maxZoom: 1 }}
      minZoom={0.1}
      maxZoom={1.5}
      onlyRenderVisibleElements
      nodesDraggable={false}
      nodesConnectable={false}
      nodesFocusable={false}
      edgesFocusable={false}
      elementsSelectable={false}
      disableKeyboardA11y
      zoomOnScroll={false}
      zoomOnDoubleClick={false}
      preventScrolling={false}
      proOptions={{ hideAttribution: true }}
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

function Tools() {
  const flow = useReactFlow();
  return (
    <div className={classes['tools']}>
      <ActionIcon variant="default" size="md" aria-label="Zoom in" onClick={() => void flow.zoomIn()}>
        <IconPlus size={15} />
      </ActionIcon>
      <ActionIcon variant="default" size="md" aria-label="Zoom out" onClick={() => void flow.zoomOut()}>
        <IconMinus size={15} />
      </ActionIcon>
      <ActionIcon
        variant="default"
        size="md"
        aria-label="Fit the drawing"
        onClick={() => void flow.fitView({ padding: 0.08, maxZoom: 1 })}
      >
        <IconFocusCentered size={15} />
      </ActionIcon>
    </div>
  );
}
