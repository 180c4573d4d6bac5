/** Plans that end a long chain of states: the present one gets a whole file of its own, the earlier ones stay. Pure. */
import type { Generations } from '../../contract.ts';
import type { OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { chainOf, folderOf } from './generations.ts';
import {
  estimate,
  file,
  gib,
  info,
  needSource,
  needSpace,
  type Draft,
  type DraftStep,
} from './plan-parts.ts';
import { refuseClone, unreadableNotes } from './refresh-refusals.ts';
import { goneAfter, settle, type DiskGeneration } from './settle.ts';
import type { CloneFacts, DiskFacts, LibvirtFacts, SettleAction } from './types.ts';

type PromoteRequest = Extract<OperationRequest, { kind: 'promote' }> & { generations: Generations };

interface Long {
  disk: DiskFacts;
  /** Its own file first. */
  chain: readonly { path: string; format: string }[];
  whole: string;
}

/** How many files a read of a disk of the clone may go through now. */
export const depthOf = (clone: CloneFacts, number: number): number =>
  Math.max(1, ...Object.keys(clone.active).map((target) => chainOf(clone, number, target).length));

/**
 * Copies what the present state stands on into one file beside it, has the clone's own file stand on that, and drops
 * layers that no other state needs. What can be read is the same at every moment. Short already: a plan without steps.
 */
export function planFlatten(request: PromoteRequest, facts: LibvirtFacts): Draft {
  const { guest, generations, owned } = request;
  const source = needSource(facts);
  const { clone } = facts;
  if (!clone)
    throw new OffshootError('internal', { publicMessage: 'The facts of this plan are of another request.' });
  refuseClone(guest.name, 'made whole', clone, generations);
  const { current } = generations;
  const long = source.disks.flatMap((disk): Long[] => {
    const chain = chainOf(clone, current, disk.target);
    // One layer under its own file is as short as it gets.
    if (chain.length <= 2) return [];
    return [{ disk, chain, whole: `${folderOf(disk.path)}/${disk.target}.g${current}.whole.qcow2` }];
  });
  const bytes = long.reduce((sum, { disk }) => sum + belowBytes(disk), 0);
  needSpace(facts, bytes, false);
  const settled = long.map((each) => settleOne(each, clone, generations, new Set(owned)));
  const actions = settled.flat();
  return {
    summary: `Make the present state of ${guest.name} whole`,
    strategy: 'convert',
    estimates: estimate(facts, { read: bytes, move: bytes, store: bytes }, { steps: long.length + 2 }),
    notes: [
      long.length === 0
        ? info('Its disks stand on one file each already.')
        : info(`Its disks take ${gib(bytes)} more and stand on one file each; its earlier states stay.`),
      ...(long.length === 0
        ? []
        : [info('It can’t be started until that is done. Cancelled, it is as it is now.')]),
      ...unreadableNotes(guest.name, clone, 'stays'),
    ],
    steps: long.length === 0 ? [] : stepsOf(guest, long, actions),
    creates: long.map(({ whole }) => file(whole)),
    generations: {
      ...generations,
      list: generations.list.map((each) =>
        each.number === current
          ? {
              ...each,
              disks: each.disks.map((disk) => ({
                ...disk,
                layer: long.find(({ disk: { target } }) => target === disk.target)?.whole ?? disk.layer,
              })),
            }
          : each,
      ),
    },
    removes: actions.map(goneAfter),
    basis: [guest.uuid, clone.state, current, long.map(({ chain }) => chain.map(({ path }) => path))],
  };
}

/** Allocated in what its own file stands on. */
const belowBytes = ({ chain }: DiskFacts): number =>
  chain.slice(1).reduce((sum, each) => sum + each.allocated, 0);

function stepsOf(
  guest: PromoteRequest['guest'],
  long: readonly Long[],
  actions: SettleAction[],
): DraftStep[] {
  return [
    ...long.map(({ disk, chain, whole }): DraftStep => ({
      kind: 'copy-disk',
      title: `Copy what disk ${disk.target} stands on into one file`,
      target: disk.target,
      from: chain[1]?.path ?? '',
      fromFormat: chain[1]?.format ?? 'qcow2',
      to: whole,
      strategy: 'convert',
      bytes: belowBytes(disk),
      virtualBytes: disk.virtualBytes,
      expects: disk.chain.slice(1).map(({ path, modifiedMs, size }) => ({ path, modifiedMs, size })),
      stopped: guest,
    })),
    {
      kind: 'stand-on',
      standsOnEarlier: true,
      title: 'Have its disks stand on that',
      guest,
      disks: long.map(({ chain, whole }) => ({
        own: chain[0]?.path ?? '',
        to: { path: whole, format: 'qcow2' },
        before: { path: chain[1]?.path ?? '', format: chain[1]?.format ?? 'qcow2' },
      })),
    },
    {
      kind: 'settle',
      title: 'Tidy up what nothing stands on',
      actions,
      records: [],
      irreversible: true,
    },
  ];
}

/** What goes once the present state stands on its whole file: all other states read the same at every moment. */
function settleOne(
  { disk, chain, whole }: Long,
  clone: CloneFacts,
  generations: Generations,
  owned: ReadonlySet<string>,
): SettleAction[] {
  // What a state stands on that can't be read is not known: nothing is taken from under it.
  if (clone.unreadable?.length) return [];
  const { target } = disk;
  const mine = (path: string): boolean => owned.has(path) || path === whole;
  const disks: DiskGeneration[] = clone.generations.map(({ number, chains }) => ({
    number,
    own: chains[target]?.[0]?.path ?? '',
    below:
      number === generations.current ? [{ path: whole, format: 'qcow2' }] : (chains[target]?.slice(1) ?? []),
  }));
  const needed = new Set(disks.flatMap(({ below }) => below.map(({ path }) => path)));
  const gone = chain.slice(1).filter(({ path }) => !needed.has(path) && mine(path));
  const retained = new Set(disks.map(({ number }) => number));
  return [
    ...gone.map(({ path }): SettleAction => ({ do: 'remove', path })),
    ...settle(disks, retained, mine).actions,
  ].map((action) => ({ ...action, target }));
}
