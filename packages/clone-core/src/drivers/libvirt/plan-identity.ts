/** How a clone gets an identity of its own, and what its network waits for. Pure. */
import type { CloneMode, PlanNote } from '../../contract.ts';
import type { Creation, GuestRef, IdSource } from '../../driver.ts';
import type { DecidedIdentity, GuestInside, IdentityOptions } from '../../identity/contract.ts';
import { decideIdentity } from '../../identity/decide.ts';
import { firstBootByAgent } from '../../identity/first-boot.ts';
import { offlineEdits, seedEdits } from '../../identity/offline.ts';
import { validateIdentity } from '../../identity/validate.ts';
import { chooseWay, type WayChoice } from '../../identity/ways.ts';
import { held } from './hold.ts';
import { linksOf } from './memory-limits.ts';
import { file, type DraftStep } from './plan-parts.ts';
import type { Awaiting, SourceFacts } from './types.ts';

export interface IdentityWish {
  mode: CloneMode;
  name: string;
  /** Which guest of its request, from 0. */
  index: number;
  options: IdentityOptions;
  /** As when it was cloned; left out: decided now. */
  decided?: DecidedIdentity;
}

export interface PlannedIdentity {
  awaiting: Awaiting;
  /** The clone's definition, held back as far as it has to be. */
  hold: (xml: string) => string;
  /** Once its disks and its definition are there, before it starts. */
  prepare: DraftStep[];
  /** After it was started; none: nothing waits. */
  attest: DraftStep[];
  notes: PlanNote[];
  creates: Creation[];
}

export interface IdentityPlace {
  guest: GuestRef;
  /** Of its own network cards, in order. */
  macs: readonly string[];
  /** Folder of its files. */
  folder: string;
  /** Its disks, by target. */
  files: Readonly<Record<string, { path: string; format: string }>>;
}

/** Name of the drive's file, beside its disks. */
const DRIVE_FILE = 'first-settings.iso';

export function planIdentity(
  wish: IdentityWish,
  source: SourceFacts,
  place: IdentityPlace,
  ids: IdSource,
  /** Its network cards as the source has them; of a clone with memory, as they were then. */
  nics: readonly { mac: string; up: boolean }[] = linksOf(source.definition),
): PlannedIdentity {
  const { mode, name, index, options } = wish;
  validateIdentity(options, [name]);
  const { inside, source: known } = source.inside ?? { source: {} };
  const windows = inside?.kind === 'windows';
  const decided = wish.decided
    ? { ...wish.decided, macs: [...place.macs] }
    : decideIdentity({ name, index, options, macs: place.macs, ids, windows });
  const choice = chooseWay({
    options,
    mode,
    source: source.state,
    ...(inside ? { inside } : {}),
    agentAnswers: source.agentAnswers,
    can: { drive: true, edit: true, agent: true },
    // What is started later is attested then: its definition remembers it.
    start: true,
    nics: place.macs.length,
  });
  const { way, policy, changed, kept, resets } = choice;
  const cut = policy !== 'off';
  const firstBoot = firstBootByAgent(options);
  const drive =
    way === 'seed' || way === 'unattend' ? { path: `${place.folder}/${DRIVE_FILE}`, windows } : undefined;
  const awaiting: Awaiting = {
    outcome: { way, policy, decided, changed, kept, verdict: 'unasked', problems: [] },
    deadlineSeconds: options.deadlineSeconds,
    links: nics.flatMap(({ up }, nic) => {
      const mac = place.macs[nic];
      return up && cut && mac !== undefined ? [mac] : [];
    }),
    source: known,
    agents: resets.map(({ id }) => id),
    ...(windows ? { windows } : {}),
    ...(drive ? { drive } : {}),
    ...(way === 'agent'
      ? {
          take: {
            nics: nics.map(({ mac }, nic) => ({ was: mac, mac: place.macs[nic] ?? mac })),
            ...(options.clean?.length ? { clean: options.clean } : {}),
            ...(firstBoot ? { firstBoot } : {}),
          },
        }
      : {}),
  };
  return {
    awaiting,
    hold: (xml) => (cut || drive || awaiting.take ? held(xml, awaiting, drive) : xml),
    prepare: [
      ...edits(choice, awaiting, options, inside, nics, place),
      ...(drive ? [writing(choice, awaiting, drive, options, inside)] : []),
    ],
    attest: cut || awaiting.take ? [attestStepOf(place.guest, awaiting)] : [],
    notes: choice.notes,
    creates: drive ? [file(drive.path)] : [],
  };
}

export const attestStepOf = (guest: GuestRef, awaiting: Awaiting): DraftStep => ({
  kind: 'attest',
  title: awaiting.take
    ? 'Give it its own identity, then its network'
    : 'See that it is itself, then connect its network',
  guest,
  awaiting,
});

/** What is changed in its disk before it starts. */
function edits(
  choice: WayChoice,
  { outcome: { decided } }: Awaiting,
  options: IdentityOptions,
  inside: GuestInside | undefined,
  nics: readonly { mac: string }[],
  { files }: IdentityPlace,
): DraftStep[] {
  const { way, editsToo, resets, policy } = choice;
  const root = inside?.root;
  const disk = root && files[root.target];
  if (!inside || !disk || (way !== 'offline' && !editsToo)) return [];
  const was = nics.map(({ mac }) => mac);
  return [
    {
      kind: 'edit-inside',
      title: 'Give it its own identity, in its disk',
      disk: { target: root.target, ...disk },
      root,
      edits:
        way === 'offline'
          ? offlineEdits({ decided, options, inside, was, resets })
          : seedEdits({
              decided,
              inside,
              was,
              cut: policy !== 'off',
              clean: cleansInside(choice, inside) ? [] : (options.clean ?? []),
            }),
    },
  ];
}

/** cloud-init has all filesystems; from outside only that of `/` is edited. */
const cleansInside = ({ editsToo }: WayChoice, inside: GuestInside | undefined): boolean =>
  !editsToo || inside?.apart !== undefined;

function writing(
  choice: WayChoice,
  { outcome: { decided } }: Awaiting,
  drive: { path: string },
  options: IdentityOptions,
  inside: GuestInside | undefined,
): DraftStep {
  const { way, policy, resets } = choice;
  const { seedReader, init, network } = inside ?? {};
  return {
    kind: 'write-seed',
    title: 'Write its first settings',
    to: drive.path,
    way: way === 'unattend' ? 'unattend' : 'seed',
    seed: {
      decided,
      options,
      policy,
      resets,
      ...(cleansInside(choice, inside) && options.clean?.length ? { clean: options.clean } : {}),
      inside: {
        ...(seedReader === undefined ? {} : { seedReader }),
        ...(init === undefined ? {} : { init }),
        ...(network === undefined ? {} : { network }),
      },
    },
  };
}
