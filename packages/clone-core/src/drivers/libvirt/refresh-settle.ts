/** Which generations stay after a refresh. Pure. */
import type { Generation, Generations } from '../../contract.ts';
import type { OperationRequest } from '../../driver.ts';
import { activeOf } from './generations.ts';
import { goneAfter, settle, type DiskGeneration } from './settle.ts';
import type { CloneFacts, SettleAction } from './types.ts';

type Refresh = Extract<OperationRequest, { kind: 'refresh' }>;

/** The list afterwards, what has to happen to the files for it, and how many files a read then goes through at most. */
export function settleAll(
  { options, owned, generations }: Refresh,
  clone: CloneFacts,
  after: Generations,
): { generations: Generations; actions: SettleAction[]; removes: string[]; depth: number } {
  const earlier = after.list.filter((each) => each.number !== after.current && !each.kept);
  // The one it has now comes first: after a restore it is not the one with the highest number.
  const now = generations?.current ?? 0;
  const rank = ({ number }: Generation): number => (number === now ? Infinity : number);
  const previous = earlier.toSorted((a, b) => rank(b) - rank(a)).slice(0, options.keepPrevious);
  const retained = new Set(
    [...previous, ...after.list.filter((each) => each.kept || each.number === after.current)].map(
      (each) => each.number,
    ),
  );
  const files = new Set([
    ...owned,
    ...after.list.flatMap(({ disks }) => disks.flatMap((disk) => [disk.layer, disk.own])),
  ]);
  const actions: SettleAction[] = [];
  const layers = new Map<string, Map<number, string>>();
  const below: string[][] = [];
  const before = new Map(clone.generations.map((each) => [each.number, each.chains]));
  for (const { target } of after.list.at(-1)?.disks ?? []) {
    const disks: DiskGeneration[] = after.list.map((generation) => {
      const own = generation.disks.find((disk) => disk.target === target);
      const chain = before.get(generation.number)?.[target];
      const beneath = chain?.slice(1) ?? [];
      return { number: generation.number, own: own?.own ?? '', below: chain ? beneath : [] };
    });
    const made = linkUp(disks, after, target, clone);
    const settled = settle(made, retained, (path) => files.has(path));
    actions.push(...settled.actions.map((action) => ({ ...action, target })));
    layers.set(target, settled.layers);
    below.push(made.find(({ number }) => number === after.current)?.below.map(({ path }) => path) ?? []);
  }
  const list = after.list
    .filter((each) => retained.has(each.number))
    .map((each): Generation => ({
      ...each,
      disks: each.disks.map((disk) => ({
        ...disk,
        layer: layers.get(disk.target)?.get(each.number) ?? disk.layer,
      })),
    }));
  const removes = actions.map(goneAfter);
  const gone = new Set(removes);
  const depth = 1 + Math.max(0, ...below.map((paths) => paths.filter((path) => !gone.has(path)).length));
  return { generations: { ...after, list }, actions, removes, depth };
}

/** Adds what will be there: the new layer on the current one, and a flat clone's file as a layer. */
function linkUp(
  disks: readonly DiskGeneration[],
  after: Generations,
  target: string,
  clone: CloneFacts,
): DiskGeneration[] {
  const active = activeOf(clone, target);
  const flatFile = { path: active.path, format: active.format };
  const known = disks.map((disk) =>
    disk.number === 0 && disk.below.length === 0 ? { ...disk, below: [flatFile] } : disk,
  );
  const now = known.find((disk) => disk.own === active.path) ?? known.find((disk) => disk.number === 0);
  const made = after.list
    .find((each) => each.number === after.current)
    ?.disks.find((disk) => disk.target === target);
  return known.map((disk) =>
    disk.number === after.current
      ? { ...disk, below: [{ path: made?.layer ?? '', format: 'qcow2' }, ...(now?.below ?? [])] }
      : disk,
  );
}
