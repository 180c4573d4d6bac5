'use client';

import {
  BaseEdge,
  EdgeLabelRenderer,
  getBezierPath,
  Handle,
  MarkerType,
  Position,
  type Edge,
  type EdgeProps,
  type Node,
  type NodeProps,
} from '@xyflow/react';
import Link from 'next/link';
import { useMemo } from 'react';
import { count } from '../../lib/format.ts';
import { fleetMap, HOST_HEIGHT, HOST_WIDTH } from '../../lib/fleet-map.ts';
import type { TransferView } from '../../server/hosts/transfers.ts';
import type { HostView } from '../../server/views/host.ts';
import { Drawn, Picture } from '../display/Picture.tsx';
import { HostStateLabel } from '../display/State.tsx';
import classes from './host.module.css';
import { fillsOf, SmallMeter } from './Meter.tsx';
import { hopWords } from './Transfers.tsx';

const PADDING = 0.1;

interface Props {
  hosts: readonly HostView[];
  /** How many hosts there are. */
  total: number;
  transfers: readonly TransferView[];
}

type HostNode = Node<{ name: string; host: HostView | undefined; busy: boolean }, 'host'>;
type HopEdge = Edge<{ words: string }, 'hop'>;

/** The fleet drawn, with what is on its way. For pointers only: the table and the list beside it say the same. */
export function FleetMap(props: Props) {
  return (
    <Picture className={classes['map'] ?? ''} name="picture" padding={PADDING}>
      <Drawing {...props} />
    </Picture>
  );
}

function Drawing({ hosts, total, transfers }: Props) {
  const map = useMemo(() => fleetMap(hosts, total, transfers), [hosts, total, transfers]);
  // Hosts that come and go change the picture's size; numbers alone don't move it.
  const shape = map.hosts.map(({ id }) => id).join();
  const views = useMemo(() => new Map(hosts.map((host) => [host.id, host])), [hosts]);
  const nodes = useMemo(() => {
    const busy = new Set(map.hops.flatMap(({ source, target }) => [source, target]));
    return map.hosts.map(({ id, name, x, y }): HostNode => ({
      id,
      type: 'host',
      position: { x, y },
      width: HOST_WIDTH,
      height: HOST_HEIGHT,
      sourcePosition: Position.Right,
      targetPosition: Position.Left,
      data: { name, host: views.get(id), busy: busy.has(id) },
    }));
  }, [map, views]);
  const edges = useMemo(
    () =>
      map.hops.map(({ id, source, target, transfer }): HopEdge => ({
        id,
        source,
        target,
        type: 'hop',
        animated: transfer.state === 'running',
        className: transfer.state === 'running' ? 'running' : 'waiting',
        markerEnd: { type: MarkerType.ArrowClosed, width: 16, height: 16, color: 'var(--state-working)' },
        data: { words: hopWords(transfer) },
      })),
    [map],
  );
  return (
    <Drawn
      key={shape}
      className={classes['flow'] ?? ''}
      padding={PADDING}
      nodes={nodes}
      edges={edges}
      nodeTypes={nodeTypes}
      edgeTypes={edgeTypes}
    />
  );
}

function HostBox({ data: { name, host, busy }, id }: NodeProps<HostNode>) {
  const storage = host && fillsOf(host)?.[2];
  return (
    <div className={classes['node']} data-busy={busy || undefined}>
      <Handle type="target" position={Position.Left} isConnectable={false} />
      <div className={classes['name']}>
        <Link className="thing nodrag" href={`/hosts/${id}`} tabIndex={-1}>
          {name}
        </Link>
      </div>
      {host ? (
        <div className={classes['line']}>
          <HostStateLabel state={host.state} />
          <span>{count(host.guests.total, 'guest')}</span>
        </div>
      ) : null}
      {storage ? <SmallMeter fill={storage} /> : null}
      <Handle type="source" position={Position.Right} isConnectable={false} />
    </div>
  );
}

function Hop({ data, markerEnd, ...path }: EdgeProps<HopEdge>) {
  const [line, x, y] = getBezierPath(path);
  return (
    <>
      <BaseEdge path={line} {...(markerEnd === undefined ? {} : { markerEnd })} />
      <EdgeLabelRenderer>
        <div
          className={classes['hop']}
          style={{ transform: `translate(-50%, -50%) translate(${x}px, ${y}px)` }}
        >
          {data?.words}
        </div>
      </EdgeLabelRenderer>
    </>
  );
}

const nodeTypes = { host: HostBox };
const edgeTypes = { hop: Hop };
