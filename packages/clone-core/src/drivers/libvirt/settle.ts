/** Which files of a clone's generations go, and how, so that those that stay read the same at every moment. Pure. */
import type { SettleAction } from './types.ts';

interface File {
  path: string;
  format: string;
}

/** One disk of a generation: its own file, and what that stands on, nearest first. */
export interface DiskGeneration {
  number: number;
  own: string;
  below: readonly File[];
}

export interface Settled {
  actions: SettleAction[];
  /** The layer of each retained generation afterwards, by number. */
  layers: Map<number, string>;
}

/** The path at which there is nothing any more once it is done. */
export const goneAfter = (action: SettleAction): string =>
  action.do === 'remove' ? action.path : action.do === 'fold' ? action.below : action.layer;

/**
 * Drops the generations that are not retained. A layer that none of the retained needs by itself takes in the one layer
 * that stands on it; where two stand on it, it stays. Touches only files that are `mine`.
 */
export function settle(
  generations: readonly DiskGeneration[],
  retained: ReadonlySet<number>,
  mine: (path: string) => boolean,
): Settled {
  const actions: SettleAction[] = [];
  const formats = new Map<string, string>();
  const under = new Map<string, string>();
  const layers = new Map<number, string>();
  const owns = new Map<number, string>();
  for (const { number, own, below } of generations) {
    below.forEach((file, index) => {
      formats.set(file.path, file.format);
      const next = below[index + 1];
      if (next) under.set(file.path, next.path);
    });
    const [layer] = below;
    if (retained.has(number) && layer) {
      layers.set(number, layer.path);
      owns.set(number, own);
    } else if (mine(own)) actions.push({ do: 'remove', path: own });
  }
  const reachable = (): Set<string> => {
    const found = new Set<string>();
    for (const layer of layers.values())
      for (let path: string | undefined = layer; path !== undefined; path = under.get(path)) found.add(path);
    return found;
  };
  const before = reachable();
  for (const path of formats.keys())
    if (!before.has(path) && mine(path)) actions.push({ do: 'remove', path });
  for (;;) {
    const needed = reachable();
    const own = new Set(layers.values());
    const childrenOf = (path: string): string[] => [...needed].filter((each) => under.get(each) === path);
    const below = [...needed].find(
      (path) =>
        !own.has(path) && mine(path) && childrenOf(path).length === 1 && mine(childrenOf(path)[0] ?? ''),
    );
    const layer = below === undefined ? undefined : childrenOf(below)[0];
    if (below === undefined || layer === undefined) return { actions, layers };
    const standing = childrenOf(layer);
    const generationsOn = [...layers].filter(([, path]) => path === layer).map(([number]) => number);
    if (formats.get(below) === formats.get(layer)) {
      actions.push({ do: 'fold', layer, below });
      const next = under.get(below);
      if (next === undefined) under.delete(layer);
      else under.set(layer, next);
      under.delete(below);
      continue;
    }
    actions.push({
      do: 'merge',
      layer,
      below,
      belowFormat: formats.get(below) ?? 'qcow2',
      dependents: [...standing, ...generationsOn.map((number) => owns.get(number) ?? '')],
    });
    for (const each of standing) under.set(each, below);
    for (const number of generationsOn) layers.set(number, below);
    under.delete(layer);
  }
}
