/** Plans that put a linked clone back to what it was when it was cloned. Pure. */
import type { IdSource, OperationRequest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import {
  estimate,
  file,
  gib,
  info,
  needSource,
  needSpace,
  OVERLAY_BYTES,
  warn,
  type Draft,
  type DraftStep,
} from './plan-parts.ts';
import { readDomain } from './domain-read.ts';
import { folderOf } from './generations.ts';
import { awaitingIn } from './hold.ts';
import { holdStep, laterNotes, planInner, startAs } from './plan-again.ts';
import { planCarry } from './plan-carry.ts';
import type { LibvirtFacts, OwnFacts, OwnFile, SourceFacts, Swap } from './types.ts';

type ResetRequest = Extract<OperationRequest, { kind: 'reset' }>;

export function planReset(request: ResetRequest, facts: LibvirtFacts, ids: IdSource): Draft {
  const { guest, base, label } = request;
  const own = needOwn(facts);
  const source = needSource(facts);
  refuseSnapshots(guest.name, own.snapshots, 'would be lost');
  const mark = ids.uuid().slice(0, 8);
  const replaced = source.disks.map((disk) => ({ on: disk, old: ownDisk(own, disk.target, guest.name) }));
  const disks = replaced.map(({ on, old }) => ({
    target: on.target,
    basePath: on.path,
    baseFormat: on.format,
    baseBytes: on.chain[0]?.size ?? 0,
    to: beside(old.path, `fresh-${mark}`),
    virtualBytes: on.virtualBytes,
  }));
  needSpace(facts, OVERLAY_BYTES * disks.length, false);
  const swaps = replaced.map(({ old }): Swap => swapOf(old.path, old.inode, mark, true));
  const carry = planCarry(
    guest,
    source.inside,
    Object.fromEntries(own.disks.map(({ target, path, format }) => [target, { path, format }])),
    disks.map(({ target, to }) => ({ target, path: to, format: 'qcow2' })),
    {
      mayFail: true,
      clean: request.clean ?? [],
      ...(request.identity ? { identity: request.identity } : {}),
      started: awaitingIn(own.definition) === undefined,
    },
  );
  const inner = planInner(
    carry,
    request,
    source,
    {
      mode: 'linked',
      definition: own.definition,
      folder: folderOf(replaced[0]?.old.path ?? ''),
      files: Object.fromEntries(disks.map(({ target, to }) => [target, { path: to, format: 'qcow2' }])),
    },
    ids,
  );
  const firmware = firmwareOf(own, source, mark);
  const ran = own.state !== 'stopped';
  const swapping = [...swaps, ...firmware.swaps];
  const steps: DraftStep[] = [
    ...(ran ? [switchOff(guest)] : []),
    {
      kind: 'create-overlays',
      title:
        disks.length === 1
          ? 'Create a new disk on its base'
          : `Create ${disks.length} new disks on their base`,
      base: base.digest,
      disks,
    },
    ...inner.prepare,
    ...firmware.steps,
    { kind: 'swap-files', title: 'Put it in the place of the old one', guest, swaps: swapping },
    ...holdStep(guest, inner, own.definition, facts.store),
    ...(ran ? startAs(guest, inner, request.waitForAgent ? request.agentTimeoutSeconds : undefined) : []),
    { kind: 'discard-kept', standsOnEarlier: true, title: 'Delete what was before', guest, swaps: swapping },
  ];
  const lost = replaced.reduce((sum, { old }) => sum + old.allocatedBytes, 0);
  return {
    summary: `Reset ${guest.name} to ${label} as it was cloned`,
    strategy: 'overlay',
    estimates: estimate(
      facts,
      { read: 0, move: 0, store: OVERLAY_BYTES * disks.length },
      { steps: steps.length, starts: ran && (request.waitForAgent || inner.attest.length > 0) },
    ),
    notes: [
      warn(`What ${guest.name} wrote since it was cloned (${gib(lost)}) is lost.`),
      ...(ran ? [warn('It is switched off first, and started again when it is reset.')] : []),
      ...notesOf(own),
      ...inner.notes,
      ...(ran ? [] : laterNotes(inner)),
    ],
    steps,
    creates: [
      ...disks.map((disk) => file(disk.to)),
      ...swapping.map((swap) => file(swap.kept)),
      ...firmware.creates,
      ...inner.creates,
    ],
    basis: [
      guest.uuid,
      base.digest,
      own.state,
      own.disks.map((disk) => disk.path),
      own.nvram?.path ?? '',
      ...(inner.outcome ? [inner.outcome.way, inner.outcome.policy] : []),
    ],
  };
}

export function needOwn(facts: LibvirtFacts): OwnFacts {
  if (facts.own) return facts.own;
  throw new OffshootError('internal', { publicMessage: 'The facts of this plan are of another request.' });
}

/** Throws `in-use` naming the guest's snapshots, if it has any. `fate`: "would be lost". */
export function refuseSnapshots(name: string, snapshots: readonly string[], fate: string): void {
  if (snapshots.length === 0) return;
  const [one, shown] = [
    snapshots.length === 1,
    snapshots
      .slice(0, 5)
      .map((each) => `“${each}”`)
      .join(', '),
  ];
  const more = snapshots.length > 5 ? ` and ${snapshots.length - 5} more` : '';
  throw new OffshootError('in-use', {
    publicMessage: `${name} has ${one ? 'a snapshot' : 'snapshots'} that ${fate}: ${shown}${more}.`,
    remedy: `Remove ${one ? 'it' : 'them'} first, or keep the guest as it is.`,
    context: { snapshots },
  });
}

export function ownDisk(own: OwnFacts, target: string, name: string): OwnFile {
  const disk = own.disks.find((each) => each.target === target);
  if (disk) return disk;
  throw new OffshootError('source-changed', {
    publicMessage: `Disk ${target} of ${name} is not the file that Offshoot made for it: another hand changed its disks.`,
    remedy:
      'Look at its definition (virsh domblklist): a snapshot made with another tool must be merged first.',
  });
}

/** "vda.qcow2" → "vda.fresh-1a2b3c4d.qcow2", in the same folder. */
export function beside(path: string, mark: string): string {
  const dot = path.lastIndexOf('.');
  return dot > path.lastIndexOf('/') ? `${path.slice(0, dot)}.${mark}${path.slice(dot)}` : `${path}.${mark}`;
}

export const swapOf = (live: string, inode: number, mark: string, replaced: boolean): Swap => ({
  live,
  ...(replaced ? { fresh: beside(live, `fresh-${mark}`) } : {}),
  kept: beside(live, `before-${mark}`),
  inode,
});

export const switchOff = (guest: ResetRequest['guest']): DraftStep => ({
  kind: 'stop',
  title: `Switch off ${guest.name}`,
  guest,
  force: true,
  timeoutSeconds: 0,
  startAgain: true,
});

/** The base's settings again; with none in the base the firmware makes new ones at the next start, as at the first. */
function firmwareOf(
  { nvram }: OwnFacts,
  source: SourceFacts,
  mark: string,
): { steps: DraftStep[]; swaps: Swap[]; creates: Draft['creates'] } {
  const from = source.nvram?.type === 'file' ? source.nvram.path : undefined;
  if (nvram?.owned !== true || (nvram.inode === undefined && from === undefined))
    return { steps: [], swaps: [], creates: [] };
  const copy = (to: string): DraftStep[] =>
    from === undefined ? [] : [{ kind: 'copy-file', title: 'Copy firmware settings', from, to }];
  if (nvram.inode === undefined) return { steps: copy(nvram.path), swaps: [], creates: [] };
  const swap = swapOf(nvram.path, nvram.inode, mark, from !== undefined);
  const steps = copy(swap.fresh ?? '');
  return { steps, swaps: [swap], creates: swap.fresh === undefined ? [] : [file(swap.fresh)] };
}

function notesOf(own: OwnFacts): Draft['notes'] {
  const [one, targets] = [own.otherTargets.length === 1, own.otherTargets.join(', ')];
  return [
    ...(own.otherTargets.length > 0
      ? [
          info(
            `${one ? `Disk ${targets} was` : `Disks ${targets} were`} added later and ${one ? 'stays' : 'stay'} as ${one ? 'it is' : 'they are'}.`,
          ),
        ]
      : []),
    ...(readDomain(own.definition).hasEmulatedTpm ? [info('Its TPM keeps what it holds.')] : []),
  ];
}
