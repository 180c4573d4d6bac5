'use client';

import { ActionIcon, useComputedColorScheme } from '@mantine/core';
import { IconFocusCentered, IconMinus, IconPlus } from '@tabler/icons-react';
import {
  ReactFlow,
  ReactFlowProvider,
  useReactFlow,
  type Edge,
  type Node,
  type ReactFlowProps,
} from '@xyflow/react';
import '@xyflow/react/dist/base.css';
import type { ReactNode } from 'react';
import classes from './picture.module.css';

/** A frame with a drawing that is for pointers only: something beside it has to say the same in words. `name`: what the buttons call it. */
export function Picture({
  className,
  name,
  padding,
  children,
}: {
  className: string;
  name: string;
  /** Left free around it, as a part of its size. */
  padding: number;
  children: ReactNode;
}) {
  return (
    <ReactFlowProvider>
      <div className={`panel ${classes['frame'] ?? ''} ${className}`}>
        <Tools name={name} padding={padding} />
        <div aria-hidden style={{ height: '100%' }}>
          {children}
        </div>
      </div>
    </ReactFlowProvider>
  );
}

/** The drawing in a `Picture`: it can be moved and zoomed, and nothing in it be changed. */
export function Drawn<N extends Node, E extends Edge>({
  className,
  padding,
  ...rest
}: Omit<ReactFlowProps<N, E>, 'fitViewOptions'> & { className: string; padding: number }) {
  const scheme = useComputedColorScheme('light', { getInitialValueInEffect: true });
  return (
    <ReactFlow<N, E>
      className={`${classes['flow'] ?? ''} ${className}`}
      colorMode={scheme}
      fitView
      fitViewOptions={{ padding, maxZoom: 1 }}
      minZoom={0.1}
      maxZoom={1.5}
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
      {...rest}
    />
  );
}

function Tools({ name, padding }: { name: string; padding: number }) {
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
        aria-label={`Fit the ${name}`}
        onClick={() => void flow.fitView({ padding, maxZoom: 1 })}
      >
        <IconFocusCentered size={15} />
      </ActionIcon>
    </div>
  );
}
