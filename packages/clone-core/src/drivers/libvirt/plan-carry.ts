/** What a guest keeps inside when its disks are replaced: what makes it itself. Pure. */
import type { PlanNote } from '../../contract.ts';
import type { GivenIdentity, GuestRef } from '../../driver.ts';
import { agents, carriedState, type CarriedState } from '../../identity/agents.ts';
import type { CleanKind } from '../../identity/contract.ts';
import { firstBootUnitPath, firstBootWants, FOLDER } from '../../identity/first-boot.ts';
import { setUpEdits } from '../../identity/offline.ts';
import { DATASOURCES } from '../../identity/seed.ts';
import { setUpAtFirstStart } from '../../identity/ways-effects.ts';
import { wordsOf } from '../../identity/words.ts';
import { dhcpState, randomSeeds } from '../../identity/scripts.ts';
import { info, warn, type DraftStep } from './plan-parts.ts';
import type { InsideFacts } from './types.ts';

/** Patterns as of InsideEdit. What is there and not in the guest's own is removed: it is its source's. */
export const identityFiles = [
  '/etc/hostname',
  '/etc/hosts',
  '/etc/machine-id',
  '/var/lib/dbus/machine-id',
  '/etc/ssh/ssh_host_*_key',
  '/etc/ssh/ssh_host_*_key.pub',
  '/etc/dropbear/*_host_key',
  '/etc/network/interfaces',
  '/etc/network/interfaces.d/*',
  '/etc/netplan/*.yaml',
  '/etc/systemd/network/*',
  '/etc/NetworkManager/system-connections/*',
  '/etc/sysconfig/network-scripts/ifcfg-*',
  '/etc/sysconfig/network/ifcfg-*',
  '/etc/sysconfig/network',
  '/etc/udev/rules.d/70-persistent-net.rules',
  '/var/lib/instance-id',
  '/var/lib/cloud/data/*',
  // Without it an image that pins its data source makes new SSH host keys at the next boot.
  DATASOURCES,
  // What its first start still has to do, and an address that a script of ours sets at every start.
  `${FOLDER}/*`,
  `${FOLDER}/users/*/*`,
  firstBootUnitPath,
  firstBootWants.path,
  '/etc/systemd/system/systemd-networkd-wait-online.service.d/offshoot.conf',
  '/etc/local.d/offshoot.start',
  ...dhcpState,
  ...randomSeeds,
] as const;

export type Carry = { steps: DraftStep[]; notes: PlanNote[]; why?: never } | { why: string };

/** Why nothing can be carried over into disks of this kind, as the end of a sentence. */
export function whyNotCarried(facts: InsideFacts | undefined): string | undefined {
  const inside = facts?.inside;
  if (inside?.kind === 'linux' && inside.root && inside.notEditable === undefined) return undefined;
  return (
    inside?.notEditable ??
    inside?.why ??
    (inside?.kind === 'windows' ? 'it is a Windows' : 'what is in its disks is not known')
  );
}

/** The step and what the preview says; where it can't be done, why. */
export function planCarry(
  guest: GuestRef,
  facts: InsideFacts | undefined,
  before: Readonly<Record<string, { path: string; format: string }>>,
  after: readonly { target: string; path: string; format: string }[],
  {
    mayFail = false,
    clean = [],
    identity,
    started = true,
  }: {
    mayFail?: boolean;
    clean?: readonly CleanKind[];
    identity?: GivenIdentity;
    /** Its first start is over: what was to be set up then is not on its way any more. */
    started?: boolean;
  } = {},
): Carry {
  const root = facts?.inside.root;
  const disk = root && before[root.target];
  const why = whyNotCarried(facts);
  if (why !== undefined || !root || !disk) return { why: why ?? 'the disk of its system is not its own' };
  const ofAgents = stateOfAgents(identity);
  const setUp = started && identity && !identity.forgotten ? setUpEdits(identity.options, facts.inside) : [];
  return {
    steps: [
      {
        kind: 'carry-inside',
        title: 'Carry its identity over',
        guest,
        from: { disk: { target: root.target, ...disk }, root },
        disks: [...after],
        patterns: [
          ...identityFiles,
          // A busybox init is told there what to start.
          ...(facts?.inside.init === 'busybox' ? ['/etc/inittab'] : []),
          ...ofAgents.patterns,
        ],
        agents: { edits: ofAgents.edits, patterns: ofAgents.emptied },
        ...(clean.length === 0 ? {} : { clean: [...clean] }),
        ...(setUp.length === 0 ? {} : { setUp }),
        mayFail,
      },
    ],
    notes: [
      info(
        'Inside, it keeps its own identity: host name, machine id, SSH host keys, network configuration and the ids of its agents. Everything else becomes what the new disks hold.',
      ),
      ...(clean.length === 0
        ? []
        : [info(`Left out again, as when it was made: its source’s ${wordsOf(clean)}.`)]),
      ...(started && identity ? setUpNotes(identity, setUp.length > 0) : []),
    ],
  };
}

/** Users, settings and first-boot work were in the disk that goes. */
function setUpNotes({ options, forgotten }: GivenIdentity, again: boolean): PlanNote[] {
  if (forgotten)
    return [
      warn(
        'What else was asked for when it was cloned (users, packages, scripts) is not known any more and is not set up again.',
      ),
    ];
  const work = wordsOf(setUpAtFirstStart(options));
  return [
    ...(work === ''
      ? []
      : again
        ? [info(`Set up again at its next start, as when it was cloned: ${work}.`)]
        : [
            warn(
              `Not set up again: ${work}, because it is not known here how this system starts programs. What its new disks hold of that is its source’s.`,
            ),
          ]),
    ...(options.userData === undefined
      ? []
      : [warn('Its cloud-init user data is not run again: what that set up is not there.')]),
  ];
}

/** Those whose reset was asked for; where that is not known, all: the source's must not be in two machines. */
function stateOfAgents(identity: GivenIdentity | undefined): CarriedState {
  const wanted = identity?.options.agents ?? 'found';
  const theirs = agents.filter(({ id }) => wanted === 'found' || wanted.includes(id));
  return carriedState(theirs, identity?.decided);
}
