/**
 * The identity of a Linux without cloud-init, as edits of its disk before it starts. Edits are stored with the plan: no secret is
 * in one. What must be secret (SSH host keys, random seeds) is taken away, and made anew inside at the first start.
 */
import { agentEdits, type AgentState } from './agents.ts';
import { cleanEdits } from './clean.ts';
import type { CleanKind, DecidedIdentity, GuestInside, IdentityOptions } from './contract.ts';
import type { InsideEdit } from './edits.ts';
import {
  canRunFirstBoot,
  DONE,
  earlyFiles,
  PENDING,
  firstBootScript,
  firstBootUnit,
  firstBootUnitPath,
  firstBootWants,
  lateFiles,
  SCRIPT,
} from './first-boot.ts';
import { boundEdits, networkEdits } from './offline-network.ts';
import { dhcpState, randomSeeds } from './scripts.ts';

export interface OfflineQuestion {
  decided: DecidedIdentity;
  options: IdentityOptions;
  inside: GuestInside;
  /** The source's MACs, in the order of `decided.macs`: what configuration in the disk is bound to. */
  was: readonly string[];
  resets?: readonly AgentState[];
}

const write = (path: string, content: string, mode = 0o644): InsideEdit => ({
  type: 'write',
  path,
  content,
  mode,
});
const remove = (pattern: string): InsideEdit => ({ type: 'remove', pattern });
const empty = (pattern: string): InsideEdit => ({ type: 'empty', pattern });

/** The whole identity of a guest that nothing inside helps with. */
export function offlineEdits(question: OfflineQuestion): InsideEdit[] {
  const { decided, options, inside } = question;
  return [
    ...cleanEdits(options.clean ?? []),
    write('/etc/hostname', `${decided.hostname}\n`),
    // Old Red Hat; where there is none, none is made.
    {
      type: 'line',
      path: '/etc/sysconfig/network',
      match: '^HOSTNAME=',
      line: `HOSTNAME=${decided.hostname}`,
      add: false,
    },
    hostsLine(decided),
    ...machineId(decided),
    // Nobody would make new ones elsewhere, and without any no SSH server starts.
    ...(canRunFirstBoot(inside.init)
      ? ['/etc/ssh/ssh_host_*_key', '/etc/ssh/ssh_host_*_key.pub', '/etc/dropbear/*_host_key'].map(remove)
      : []),
    ...staleState(),
    ...networkEdits(question),
    ...agentEdits(question.resets ?? [], decided),
    ...firstBoot(options, inside),
    ...(/red hat|centos|fedora|rocky|alma|oracle/i.test(inside.osName ?? '')
      ? [write('/.autorelabel', '')]
      : []),
  ];
}

/**
 * What goes into the disk of a guest with cloud-init besides its seed drive: it has its machine id from the first instruction
 * on, and its boot does not wait for a network that is cut until it is attested.
 */
export function seedEdits(
  question: Pick<OfflineQuestion, 'decided' | 'inside' | 'was'> & {
    cut: boolean;
    clean?: readonly CleanKind[];
  },
): InsideEdit[] {
  return [
    ...cleanEdits(question.clean ?? []),
    ...machineId(question.decided),
    ...staleState(),
    ...boundEdits(question.decided, question.was),
    ...(question.cut && question.inside.init === 'systemd'
      ? [
          write(
            '/etc/systemd/system/systemd-networkd-wait-online.service.d/offshoot.conf',
            '# The first start of this clone does not wait for its network. Gone after it.\n[Service]\nExecStart=\nExecStart=/bin/true\nExecStartPost=-/bin/rm -rf /etc/systemd/system/systemd-networkd-wait-online.service.d/offshoot.conf\n',
          ),
        ]
      : []),
  ];
}

/** What was asked to be set up in a guest, to be done once more at its next start: its system's disk is another now. */
export function setUpEdits(
  options: IdentityOptions,
  inside: Pick<GuestInside, 'init' | 'found'>,
): InsideEdit[] {
  if (earlyFiles(options).length + lateFiles(options).length === 0) return [];
  const edits = firstBoot(options, inside);
  return edits.length === 0 ? [] : [remove(DONE), ...edits];
}

function hostsLine(decided: DecidedIdentity): InsideEdit {
  return {
    type: 'line',
    path: '/etc/hosts',
    match: String.raw`^127\.0\.1\.1\s`,
    line: `127.0.1.1\t${decided.fqdn === undefined ? '' : `${decided.fqdn} `}${decided.hostname}`,
    add: decided.fqdn !== undefined,
  };
}

/** D-Bus has a file of its own only where it is no link: systemd reads it when its own is missing. Gone, it is made from ours. */
function machineId(decided: DecidedIdentity): InsideEdit[] {
  return [write('/etc/machine-id', `${decided.machineId}\n`, 0o444), remove('/var/lib/dbus/machine-id')];
}

function staleState(): InsideEdit[] {
  return [
    ...dhcpState.map(remove),
    ...randomSeeds.map(empty),
    remove('/etc/udev/rules.d/70-persistent-net.rules'),
    remove('/etc/udev/rules.d/75-persistent-net-generator.rules'),
  ];
}

function firstBoot(options: IdentityOptions, inside: Pick<GuestInside, 'init' | 'found'>): InsideEdit[] {
  const work = [...earlyFiles(options), ...lateFiles(options)].map((file) =>
    write(file.path, file.content, file.mode),
  );
  const start = [write(SCRIPT, firstBootScript, 0o755), write(PENDING, '')];
  switch (inside.init ?? 'other') {
    case 'systemd':
      // Always: it makes the host keys.
      return [
        ...start,
        ...work,
        write(firstBootUnitPath, firstBootUnit),
        write(firstBootWants.path, firstBootWants.content),
      ];
    case 'busybox':
      // dropbear makes its keys itself.
      return work.length === 0 && !hasOpenSsh(inside)
        ? []
        : [
            ...start,
            ...work,
            {
              type: 'line',
              path: '/etc/inittab',
              match: 'offshoot/first-boot',
              line: `::wait:/bin/sh ${SCRIPT} early`,
              add: true,
            },
          ];
    case 'openrc':
      // sshd's own start script makes missing host keys there.
      return work.length === 0
        ? []
        : [
            ...start,
            ...work,
            write('/etc/local.d/offshoot.start', `#!/bin/sh\nexec /bin/sh ${SCRIPT} early\n`, 0o755),
          ];
    case 'other':
      return [];
  }
}

const hasOpenSsh = (inside: Pick<GuestInside, 'found'>): boolean =>
  inside.found.some(
    (finding) =>
      finding.what === 'ssh-host-keys' && finding.paths.some((path) => path.startsWith('/etc/ssh/')),
  );
