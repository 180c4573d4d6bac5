/** What a Linux on a disk is: its distribution, how it starts, and who could give it an identity at its first start. */
import { agents as shipped } from '../../identity/agents.ts';
import type { GuestInside, NetworkStack } from '../../identity/contract.ts';
import { linuxFindings } from './findings.ts';
import type { Paths } from './paths.ts';
import type { AgentTrace } from './types.ts';
import type { Volume } from './volumes.ts';

const OS_RELEASE = ['/etc/os-release', '/usr/lib/os-release'];
const QEMU_GA = [
  '/usr/sbin/qemu-ga',
  '/usr/bin/qemu-ga',
  '/usr/local/sbin/qemu-ga',
  '/usr/local/bin/qemu-ga',
];
const CLOUD_INIT = ['/usr/bin/cloud-init', '/usr/local/bin/cloud-init', '/opt/bin/cloud-init'];
/** Folders whose files are the machine's identity or its state. */
const MATTERS = ['/etc', '/var', '/var/lib', '/root'];
/** Folders whose files clones can leave out. */
const PAST = ['/home', '/var/log'];

export async function isLinux(paths: Paths): Promise<boolean> {
  paths.ahead([...OS_RELEASE, ...QEMU_GA, '/sbin/init', '/etc/cloud/cloud.cfg.d/x', '/var/lib/x', '/root/x']);
  const there = await Promise.all(
    ['/etc', '/usr', '/sbin/init', ...OS_RELEASE].map((path) => paths.find(path)),
  );
  const [etc, usr, ...signs] = there;
  return etc?.kind === 'folder' && usr?.kind === 'folder' && signs.some((sign) => sign !== undefined);
}

/** All but `root`. `volumes`: what else is on the disks, for the table of filesystems. */
export async function lookAtLinux(
  paths: Paths,
  volumes: readonly Volume[],
  agents: readonly AgentTrace[] = shipped,
): Promise<GuestInside> {
  paths.ahead(agents.flatMap(({ detect }) => detect));
  const [release, init, agent, seedReader, network, mounts, traces] = await Promise.all([
    osRelease(paths),
    initOf(paths),
    any(paths, QEMU_GA),
    seedReaderOf(paths),
    networkOf(paths),
    mountPoints(paths),
    Promise.all(agents.map(async (one) => ({ one, at: await detected(paths, one) }))),
  ]);
  const present = traces.filter(({ at }) => at.length > 0);
  const sample =
    release.get('ID') === 'offshoot-sample' && (await paths.find('/etc/init.d/seed')) !== undefined;
  const reader = seedReader ?? (sample ? 'nocloud-subset' : undefined);
  const osName = release.get('PRETTY_NAME') ?? release.get('NAME');
  const found = await linuxFindings(paths, {
    agent,
    seedReader: reader !== undefined,
    traces: present.map(({ one, at }) => ({ name: one.name ?? one.id, paths: at, ...stays(one) })),
  });
  const elsewhere = MATTERS.filter((folder) => mounts.includes(folder));
  const apart = PAST.filter((folder) => mounts.includes(folder));
  const notEditable =
    elsewhere.length === 0
      ? undefined
      : `its ${elsewhere.join(' and ')} ${elsewhere.length === 1 ? 'is a filesystem' : 'are filesystems'} of ${elsewhere.length === 1 ? 'its' : 'their'} own (${volumes.length} were found)`;
  return {
    kind: 'linux',
    ...(osName === undefined ? {} : { osName: osName.slice(0, 200) }),
    init,
    ...(reader === undefined ? {} : { seedReader: reader }),
    agent,
    ...(notEditable === undefined ? {} : { notEditable }),
    ...(apart.length === 0 ? {} : { apart }),
    found,
    agents: present.map(({ one }) => one.id),
    network,
  };
}

/** Of some agents nothing can be taken away from outside: why their ids stay. */
const stays = ({ note, remove = [], empty = [], lines = [] }: AgentTrace): { stays?: string } =>
  note !== undefined && remove.length + empty.length + lines.length === 0 ? { stays: note } : {};

async function any(paths: Paths, candidates: readonly string[]): Promise<boolean> {
  const found = await Promise.all(candidates.map((path) => paths.find(path)));
  return found.some((one) => one?.kind === 'file');
}

async function detected(paths: Paths, { detect }: AgentTrace): Promise<string[]> {
  const found = await Promise.all(detect.map((pattern) => paths.glob(pattern)));
  return found.flat().map(({ path }) => path);
}

async function osRelease(paths: Paths): Promise<ReadonlyMap<string, string>> {
  const texts = await Promise.all(OS_RELEASE.map((path) => paths.read(path)));
  const text = texts.find((one) => one !== undefined) ?? '';
  return new Map(
    text.split('\n').flatMap((line) => {
      const [, name, value = ''] = /^([A-Z_]+)=(.*)$/.exec(line) ?? [];
      return name === undefined ? [] : [[name, value.replace(/^(["'])(.*)\1$/, '$2')]];
    }),
  );
}

async function initOf(paths: Paths): Promise<NonNullable<GuestInside['init']>> {
  const [init, openrc] = await Promise.all([paths.find('/sbin/init'), paths.find('/sbin/openrc')]);
  const program = init?.path.slice(init.path.lastIndexOf('/') + 1);
  if (program === 'systemd') return 'systemd';
  if (openrc) return 'openrc';
  return program === 'busybox' ? 'busybox' : 'other';
}

/** cloud-init, unless it is switched off or told to read other sources only. */
async function seedReaderOf(paths: Paths): Promise<'cloud-init' | undefined> {
  const [installed, off, main, more] = await Promise.all([
    any(paths, CLOUD_INIT),
    paths.find('/etc/cloud/cloud-init.disabled'),
    paths.read('/etc/cloud/cloud.cfg'),
    paths.glob('/etc/cloud/cloud.cfg.d/*.cfg'),
  ]);
  if (!installed || off) return undefined;
  const files = more.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const texts = [main ?? '', ...(await Promise.all(files.map(({ path }) => paths.read(path))))];
  // The last one wins. A list in one line is what all distributions write.
  const lists = texts.flatMap((text) => [...(text ?? '').matchAll(/^datasource_list:\s*\[(.*)\]/gm)]);
  const sources = lists.at(-1)?.[1];
  return sources === undefined || /\bNoCloud\b/.test(sources) ? 'cloud-init' : undefined;
}

const STACKS: readonly (readonly [NetworkStack, readonly string[]])[] = [
  ['netplan', ['/etc/netplan/*.yaml']],
  ['networkmanager', ['/usr/sbin/NetworkManager']],
  ['ifcfg', ['/etc/sysconfig/network-scripts/ifcfg-*']],
  ['wicked', ['/usr/sbin/wickedd']],
  [
    'networkd',
    [
      '/etc/systemd/system/multi-user.target.wants/systemd-networkd.service',
      '/etc/systemd/system/dbus-org.freedesktop.network1.service',
    ],
  ],
];

async function networkOf(paths: Paths): Promise<NetworkStack[]> {
  const [interfaces, udhcpc, ...found] = await Promise.all([
    paths.read('/etc/network/interfaces'),
    paths.find('/etc/udhcpc.script'),
    ...STACKS.map(async ([, patterns]) =>
      (await Promise.all(patterns.map((pattern) => paths.glob(pattern))))
        .flat()
        .some(({ name }) => name !== 'ifcfg-lo'),
    ),
  ]);
  const stacks = STACKS.flatMap(([stack], index) => (found[index] === true ? [stack] : []));
  if (/^\s*(iface|source|auto)\s/m.test(interfaces ?? '') && !stacks.includes('netplan'))
    stacks.push('ifupdown');
  if (udhcpc && stacks.length === 0) stacks.push('busybox');
  return stacks;
}

/** Folders that are on another filesystem than `/`. */
async function mountPoints(paths: Paths): Promise<string[]> {
  const table = (await paths.read('/etc/fstab')) ?? '';
  return table.split('\n').flatMap((line) => {
    const [device = '', point, type, options = ''] = line.trim().split(/\s+/);
    const own = !device.startsWith('#') && type !== 'tmpfs' && !/(^|,)(bind|noauto)(,|$)/.test(options);
    return own && point !== undefined ? [point.replace(/(.)\/$/, '$1')] : [];
  });
}
