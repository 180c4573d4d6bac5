/** What a guest keeps inside when its disks are replaced: what makes it itself. Pure. */
import type { PlanNote } from '../../contract.ts';
import type { GuestRef } from '../../driver.ts';
import type { CleanKind } from '../../identity/contract.ts';
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
  '/etc/udev/rules.d/70-persistent-net.rules',
  '/var/lib/instance-id',
  '/var/lib/cloud/data/*',
  ...dhcpState,
  ...randomSeeds,
] as const;

/** The step and what the preview says; where it can't be done, only that. */
export function planCarry(
  guest: GuestRef,
  facts: InsideFacts | undefined,
  before: Readonly<Record<string, { path: string; format: string }>>,
  after: readonly { target: string; path: string; format: string }[],
  { mayFail = false, clean = [] }: { mayFail?: boolean; clean?: readonly CleanKind[] } = {},
): { steps: DraftStep[]; notes: PlanNote[] } {
  const inside = facts?.inside;
  const root = inside?.root;
  const disk = root && before[root.target];
  if (inside?.kind !== 'linux' || !root || !disk || inside.notEditable !== undefined) {
    const why =
      inside?.notEditable ??
      inside?.why ??
      (inside?.kind === 'windows' ? 'it is a Windows' : 'what is in its disks is not known');
    return {
      steps: [],
      notes: [
        warn(
          `Inside, it becomes what the new disks hold: host name, machine id and SSH host keys too, because ${why}.`,
        ),
      ],
    };
  }
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
