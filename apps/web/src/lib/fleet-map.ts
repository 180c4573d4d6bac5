/** Places of hosts on the picture of the fleet. Pure. */
import { Graph, layout } from '@dagrejs/dagre';
import type { HostRef, TransferView } from '../server/hosts/transfers.ts';

export const HOST_WIDTH = 208;
export const HOST_HEIGHT = 74;
/** More hosts than these are not drawn all: then only those that something is on its way to or from. */
export const MOST_DRAWN = 40;

const GAP_X = 34;
const GAP_Y = 26;
/** Wide enough for the numbers on an arrow. */
const HOP_GAP = 210;

export interface FleetMap {
  hosts: (HostRef & { x: number; y: number })[];
  hops: { id: string; source: string; target: string; transfer: TransferView }[];
}

/**
 * Hosts that give or get something stand from left to right as the bytes go; the others in rows below. `total`: how many
 * hosts there are, of which `hosts` are known.
 */
export function fleetMap(
  hosts: readonly HostRef[],
  total: number,
  transfers: readonly TransferView[],
): FleetMap {
  const hops = transfers.flatMap((transfer) =>
    transfer.from === null
      ? []
      : [{ id: transfer.operationId, source: transfer.from.id, target: transfer.to.id, transfer }],
  );
  const moving = new Map<string, HostRef>();
  for (const { transfer } of hops)
    for (const host of [transfer.from, transfer.to]) if (host) moving.set(host.id, host);
  const graph = new Graph()
    .setGraph({ rankdir: 'LR', nodesep: GAP_Y, ranksep: HOP_GAP })
    .setDefaultEdgeLabel(() => ({}));
  for (const id of moving.keys()) graph.setNode(id, { width: HOST_WIDTH, height: HOST_HEIGHT });
  for (const { source, target } of hops) graph.setEdge(source, target);
  layout(graph);
  const placed: FleetMap['hosts'] = [...moving.values()].map(({ id, name }) => {
    const at = graph.node(id);
    return { id, name, x: at.x - HOST_WIDTH / 2, y: at.y - HOST_HEIGHT / 2 };
  });
  const still = total > MOST_DRAWN ? [] : hosts.filter(({ id }) => !moving.has(id));
  const top = placed.reduce((low, { y }) => Math.max(low, y + HOST_HEIGHT + GAP_Y * 1.5), 0);
  const columns = Math.max(1, Math.min(6, Math.ceil(Math.sqrt(still.length * 1.6))));
  for (const [index, { id, name }] of still.entries())
    placed.push({
      id,
      name,
      x: (index % columns) * (HOST_WIDTH + GAP_X),
      y: top + Math.floor(index / columns) * (HOST_HEIGHT + GAP_Y),
    });
  return { hosts: placed, hops };
}
