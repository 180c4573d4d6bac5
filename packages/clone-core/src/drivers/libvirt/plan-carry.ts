/** What a guest keeps inside when its disks are replaced: what makes it itself. Pure. */
import type { PlanNote } from '../../contract.ts';
import type { GuestRef } from '../../driver.ts';
import type { CleanKind } from '../../identity/contract.ts';
import { wordsOf } from '../../identity/words.ts';
import { dhcpState, randomSeeds } from '../../identity/scripts.ts';
import { info, type DraftStep } from './plan-parts.ts';
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
  '/etc/udev/rules.d/70-persistent-net.rules',
  '/var/lib/instance-id',
  '/var/lib/cloud/data/*',
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
  { mayFail = false, clean = [] }: { mayFail?: boolean; clean?: readonly CleanKind[] } = {},
): Carry {
  const root = facts?.inside.root;
  const disk = root && before[root.target];
  const why = whyNotCarried(facts);
  if (why !== undefined || !root || !disk) return { why: why ?? 'the disk of its system is not its own' };
  return {
    steps: [
      {
        kind: 'carry-inside',
        title: 'Carry its identity over',
        guest,
        from: { disk: { target: root.target, ...disk }, root },
        disks: [...after],
        patterns: [...identityFiles],
        ...(clean.length === 0 ? {} : { clean: [...clean] }),
        mayFail,
      },
    ],
    notes: [
      info(
        'Inside, it keeps its own identity: host name, machine id, SSH host keys and network configuration. Everything else becomes what the new disks hold.',
      ),
      ...(clean.length === 0
        ? []
        : [info(`Left out again, as when it was made: its source’s ${wordsOf(clean)}.`)]),
    ],
  };
}
