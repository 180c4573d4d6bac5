/** Plans that detach a linked clone from what its disks stand on. Pure. */
import type { IdSource, OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import {
  estimate,
  file,
  gib,
  info,
  needSource,
  needSpace,
  warn,
  type Draft,
  type DraftStep,
} from './plan-parts.ts';
import { planFlatten } from './plan-flatten.ts';
import { beside, needOwn, refuseSnapshots, swapOf } from './plan-reset.ts';
import type { DiskFacts, LibvirtFacts, OwnFile, Swap } from './types.ts';

type PromoteRequest = Extract<OperationRequest, { kind: 'promote' }>;
interface Linked extends DiskFacts {
  own: OwnFile;
}

/**
 * Stopped: each disk is copied whole beside the old one and takes its place. Running: QEMU copies what is missing into
 * the disk while the guest uses it. Already whole: a plan without steps. A clone with states: see `planFlatten`.
 */
export function planPromote(request: PromoteRequest, facts: LibvirtFacts, ids: IdSource): Draft {
  const { guest, generations } = request;
  if (generations) return planFlatten({ ...request, generations }, facts);
  const own = needOwn(facts);
  const source = needSource(facts);
  if (own.state === 'paused')
    throw new OffshootError('busy', {
      publicMessage: `${guest.name} is paused; it can be detached while it runs or while it is stopped.`,
      remedy: 'Resume or stop it first.',
      retryable: true,
    });
  refuseSnapshots(guest.name, own.snapshots, 'would be lost, as they stand on its base');
  const linked = source.disks.flatMap((disk): Linked[] => {
    const mine = own.disks.find((each) => each.target === disk.target && each.path === disk.path);
    return mine && disk.chain.length > 1 ? [{ ...disk, own: mine }] : [];
  });
  const bytes = linked.reduce((sum, disk) => sum + disk.allocatedBytes, 0);
  needSpace(facts, bytes, false);
  const parts = own.state === 'stopped' ? copied(guest, linked, ids) : pulled(guest, linked, facts);
  const { steps } = parts;
  return {
    summary: `Detach ${guest.name} from what it stands on`,
    strategy: own.state === 'stopped' ? 'convert' : 'pull',
    estimates: estimate(facts, { read: bytes, move: bytes, store: bytes }, { steps: steps.length }),
    notes: [
      linked.length === 0
        ? info('Its disks are whole already.')
        : info(`Its disks take ${gib(bytes)} afterwards and share nothing.`),
      ...(linked.length > 0 && own.state !== 'stopped'
        ? [
            info(
              'It keeps running; at the end it stands still for a moment, so that all is written. Cancelled, it stays a linked clone that works; what was copied so far stays in its disk.',
            ),
          ]
        : []),
      ...(linked.length > 0 && own.state === 'stopped'
        ? [warn('It can’t be started until that is done.')]
        : []),
    ],
    steps,
    creates: parts.creates,
    basis: [guest.uuid, own.state, linked.map((disk) => disk.chain.map((each) => each.path))],
  };
}

function copied(
  guest: PromoteRequest['guest'],
  linked: readonly Linked[],
  ids: IdSource,
): Pick<Draft, 'steps' | 'creates'> {
  if (linked.length === 0) return { steps: [], creates: [] };
  const mark = ids.uuid().slice(0, 8);
  const swaps = linked.map(({ own, chain }): Swap => ({
    ...swapOf(own.path, own.inode, mark, true),
    ...(chain[0] ? { modifiedMs: chain[0].modifiedMs } : {}),
  }));
  const copies = linked.map((disk): DraftStep => ({
    kind: 'copy-disk',
    title: `Copy disk ${disk.target} whole`,
    target: disk.target,
    from: disk.path,
    fromFormat: disk.format,
    to: beside(disk.path, `fresh-${mark}`),
    strategy: 'convert',
    bytes: disk.allocatedBytes,
    virtualBytes: disk.virtualBytes,
    expects: disk.chain.map((each) => ({ path: each.path, modifiedMs: each.modifiedMs, size: each.size })),
    stopped: guest,
  }));
  return {
    steps: [
      ...copies,
      { kind: 'swap-files', title: 'Put it in the place of the old one', guest, swaps },
      { kind: 'discard-kept', standsOnEarlier: true, title: 'Delete what was before', guest, swaps },
    ],
    creates: swaps.flatMap((swap) => [file(swap.fresh ?? ''), file(swap.kept)]),
  };
}

function pulled(
  guest: PromoteRequest['guest'],
  linked: readonly Linked[],
  facts: LibvirtFacts,
): Pick<Draft, 'steps' | 'creates'> {
  if (linked.length === 0) return { steps: [], creates: [] };
  return {
    steps: [
      {
        kind: 'pull-disks',
        title: `Copy what ${linked.length === 1 ? 'its disk shares' : 'its disks share'} while ${guest.name} runs`,
        guest,
        disks: linked.map(({ target, path, format, allocatedBytes, chain }) => ({
          target,
          path,
          format,
          bytes: allocatedBytes,
          onto: { path: chain[1]?.path ?? '', format: chain[1]?.format ?? '' },
        })),
        store: facts.store,
        bytes: linked.reduce((sum, disk) => sum + disk.allocatedBytes, 0),
      },
    ],
    creates: [],
  };
}
