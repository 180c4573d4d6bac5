/** What the clones of a Linux would share or lack: paths and counts, never a content. */
import { authorizedKeyFiles, historyFiles, secretFiles } from '../../identity/clean.ts';
import type { InsideFinding } from '../../identity/contract.ts';
import { dhcpState, randomSeeds } from '../../identity/scripts.ts';
import type { Found, Paths } from './paths.ts';

const MAX_PATHS = 20;
const MAC_FILES = [
  '/etc/netplan/*.yaml',
  '/etc/sysconfig/network-scripts/ifcfg-*',
  '/etc/sysconfig/network/ifcfg-*',
  '/etc/NetworkManager/system-connections/*',
  '/etc/network/interfaces',
  '/etc/network/interfaces.d/*',
  '/etc/systemd/network/*',
];
const FOLDERS = [
  '/etc/ssh/x',
  '/etc/dropbear/x',
  '/etc/udev/rules.d/x',
  '/var/lib/cloud/instances/x',
  '/var/lib/dbus/x',
  '/var/log/x',
];
const MAC = /\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b/i;

export interface Circumstances {
  agent: boolean;
  seedReader: boolean;
  /** Agents that are there, and where. */
  /** `stays`: why what it is known by can't be reset, a sentence. */
  traces: readonly { name: string; paths: readonly string[]; stays?: string }[];
}

/** In the order they are shown. */
export async function linuxFindings(paths: Paths, circumstances: Circumstances): Promise<InsideFinding[]> {
  paths.ahead([
    ...dhcpState,
    ...randomSeeds,
    ...MAC_FILES,
    ...[...historyFiles, ...authorizedKeyFiles, ...secretFiles].filter((one) => !one.startsWith('/home/*')),
    ...FOLDERS,
  ]);
  const filled = (...patterns: string[]): Promise<Found[]> => files(paths, patterns, true);
  const [ids, keys, leases, nics, bound, seeds, cloud, logs, histories, authorized, secrets] =
    await Promise.all([
      machineIds(paths),
      filled('/etc/ssh/ssh_host_*_key', '/etc/dropbear/*_host_key'),
      filled(...dhcpState),
      files(paths, ['/etc/udev/rules.d/*persistent-net.rules'], false),
      macBound(paths),
      filled(...randomSeeds),
      files(
        paths,
        [
          '/var/lib/cloud/instance',
          '/var/lib/cloud/instances/*',
          '/var/lib/cloud/data/*',
          '/var/lib/instance-id',
        ],
        false,
      ),
      logFiles(paths),
      filled(...historyFiles),
      filled(...authorizedKeyFiles),
      filled(...secretFiles),
    ]);
  const privateOnes = secrets.filter(({ name }) => !name.endsWith('.pub'));
  const report: (InsideFinding | undefined)[] = [
    finding(
      'machine-id',
      'warn',
      ids,
      'Its machine id is in it: clones that keep it ask for the same address and count as one machine.',
    ),
    finding(
      'ssh-host-keys',
      'warn',
      keys,
      `${count(keys, 'SSH host key is', 'SSH host keys are')} in it: every clone that keeps them can pose as any other.`,
    ),
    finding(
      'dhcp-leases',
      'info',
      leases,
      'It remembers addresses it was given: a clone would ask for them again.',
    ),
    finding(
      'persistent-nic-names',
      'warn',
      nics,
      'Names of network cards are tied to their MACs: in a clone the first card is not eth0.',
    ),
    finding(
      'mac-bound-network',
      'warn',
      bound,
      'Its network configuration names a MAC: a clone has another one, and stays without network where that is not changed.',
      bound.every(({ name }) => name.includes('cloud-init')),
    ),
    finding(
      'random-seed',
      'warn',
      seeds,
      'A seed of its random numbers is in it: clones would begin with the same one.',
    ),
    finding(
      'cloud-init-state',
      'info',
      cloud,
      'cloud-init remembers a first start: it begins anew in a clone whose instance id is new.',
    ),
    finding('logs', 'info', logs, `${count(logs, 'log file is', 'log files are')} in it.`),
    finding(
      'shell-history',
      'warn',
      histories,
      'Commands that were typed are in it, perhaps with passwords among them.',
    ),
    finding(
      'authorized-keys',
      'warn',
      authorized,
      'Whoever has one of these keys can log in to every clone.',
    ),
    finding(
      'secrets',
      'warn',
      privateOnes,
      'Private keys or credentials are in home folders: every clone has them.',
    ),
    ...circumstances.traces.map(({ name, paths: at, stays }): InsideFinding => ({
      what: 'agent-state',
      level: 'warn',
      text:
        stays === undefined
          ? `${name} is in it: its server takes clones that keep its state for one machine.`
          : `${name} is in it. ${stays}`,
      paths: at.slice(0, MAX_PATHS),
      cleanable: stays === undefined,
    })),
    circumstances.agent
      ? undefined
      : lack('no-agent', 'No QEMU guest agent is in it: a clone can’t attest its identity.'),
    circumstances.seedReader
      ? undefined
      : lack(
          'no-seed-reader',
          'No cloud-init is in it: users and scripts are put into the disk, or not at all.',
        ),
  ];
  return report.filter((one) => one !== undefined);
}

function finding(
  what: InsideFinding['what'],
  level: InsideFinding['level'],
  found: readonly Found[],
  text: string,
  cleanable = true,
): InsideFinding | undefined {
  if (found.length === 0) return undefined;
  const bytes = found.reduce((sum, { kind, size }) => sum + (kind === 'file' ? size : 0), 0);
  return {
    what,
    level,
    text,
    paths: found.slice(0, MAX_PATHS).map(({ path }) => path),
    ...(bytes > 0 ? { bytes } : {}),
    cleanable,
  };
}

const lack = (what: InsideFinding['what'], text: string): InsideFinding => ({
  what,
  level: 'info',
  text,
  paths: [],
  cleanable: false,
});

const count = (all: readonly unknown[], one: string, more: string): string =>
  `${all.length} ${all.length === 1 ? one : more}`;

async function files(paths: Paths, patterns: readonly string[], filled: boolean): Promise<Found[]> {
  const found = (await Promise.all(patterns.map((pattern) => paths.glob(pattern)))).flat();
  const own = filled ? found.filter(({ kind, size }) => kind === 'file' && size > 0) : found;
  return [...new Map(own.map((one) => [one.path, one])).values()];
}

async function machineIds(paths: Paths): Promise<Found[]> {
  const all = await files(paths, ['/etc/machine-id', '/var/lib/dbus/machine-id'], true);
  const real = await Promise.all(
    all.map(async (one) => /^[0-9a-f]{32}\s*$/.test(await paths.text(one.path))),
  );
  return all.filter((_, index) => real[index]);
}

async function macBound(paths: Paths): Promise<Found[]> {
  const all = (await files(paths, MAC_FILES, true)).filter(({ size }) => size < 65_536).slice(0, 200);
  const bound = await Promise.all(
    all.map(async ({ path }) =>
      (await paths.text(path))
        .split('\n')
        .some((line) => !/^\s*[#;]/.test(line) && MAC.test(line) && !line.includes('00:00:00:00:00:00')),
    ),
  );
  return all.filter((_, index) => bound[index]);
}

/** The biggest ones first. */
async function logFiles(paths: Paths): Promise<Found[]> {
  const folder = await paths.find('/var/log');
  if (folder?.kind !== 'folder') return [];
  const below = await paths.below(folder.path);
  return below.filter(({ kind, size }) => kind === 'file' && size > 0).toSorted((a, b) => b.size - a.size);
}
