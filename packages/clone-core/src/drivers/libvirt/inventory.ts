/** All guests of the host in one cheap pass: `virsh domstats` for what changes, remembered definitions for the rest. */
import type { ObservedGuest } from '../../driver.ts';
import type { Shell } from '../../shell/shell.ts';
import type { Definitions } from './definitions.ts';
import type { Domain } from './domain-read.ts';
import { layeredDisk } from './generations.ts';
import { snapshotLister } from './inspect-snapshots.ts';
import { memo } from './memo.ts';
import { stateOf, type Virsh } from './virsh.ts';

/** Files looked at together. */
const AT_ONCE = 16;
const LEASES_MS = 5000;

export type Lister = (signal: AbortSignal) => Promise<ObservedGuest[]>;

export function lister(shell: Shell, virsh: Virsh, definitions: Definitions): Lister {
  const never = new AbortController().signal;
  const snapshots = snapshotLister(shell, virsh);
  const leases = memo(LEASES_MS, () => readLeases(virsh, never));
  return async (signal) => {
    const [stats, domains, addresses] = await Promise.all([
      virsh.run(['domstats', '--raw', '--state', '--balloon', '--vcpu', '--block', '--nowait'], { signal }),
      definitions.all(signal),
      leases(),
    ]);
    const guests = [...parseStats(stats)].flatMap(([name, values]) => {
      const domain = [...domains.values()].find((each) => each.name === name);
      return domain ? [observe(domain, values, addresses)] : [];
    });
    const taken = await snapshots(guests, signal);
    for (const guest of guests) guest.snapshots = taken.get(guest.uuid) ?? [];
    await measure(
      shell,
      guests.flatMap((guest) => guest.disks),
    );
    return guests.sort((a, b) => a.name.localeCompare(b.name));
  };
}

type Stats = ReadonlyMap<string, string>;

/** "Domain: 'name'" followed by "  key=value" lines, per guest. */
export function parseStats(text: string): Map<string, Stats> {
  const all = new Map<string, Map<string, string>>();
  let current: Map<string, string> | undefined;
  for (const line of text.split('\n')) {
    const name = /^Domain: '(.*)'$/.exec(line)?.[1];
    if (name !== undefined) {
      current = new Map();
      all.set(name, current);
      continue;
    }
    const at = line.indexOf('=');
    if (at > 0) current?.set(line.slice(0, at).trim(), line.slice(at + 1));
  }
  return all;
}

function observe(domain: Domain, stats: Stats, addresses: ReadonlyMap<string, string>): ObservedGuest {
  const state = stateOf(stats.get('state.state') ?? '');
  const count = Number(stats.get('block.count') ?? 0);
  const capacities = new Map<string, number>();
  const paths = new Map<string, string>();
  for (let index = 0; index < count; index++) {
    const target = stats.get(`block.${index}.name`) ?? '';
    capacities.set(target, Number(stats.get(`block.${index}.capacity`) ?? 0));
    const path = stats.get(`block.${index}.path`);
    if (path !== undefined) paths.set(target, path);
  }
  const macs = domain.nics.map((nic) => nic.mac);
  const address =
    state === 'stopped'
      ? undefined
      : macs.map((mac) => addresses.get(mac)).find((each) => each !== undefined);
  return {
    uuid: domain.uuid,
    name: domain.name,
    state,
    vcpus: state === 'stopped' ? domain.vcpus : Number(stats.get('vcpu.current') ?? domain.vcpus),
    memoryBytes: domain.memoryBytes,
    macs,
    ...(address === undefined ? {} : { address }),
    disks: domain.disks
      .filter((disk) => disk.device === 'disk' && disk.path !== undefined)
      .map((disk) => ({
        target: disk.target,
        path: paths.get(disk.target) ?? disk.path ?? '',
        format: disk.format,
        virtualBytes: capacities.get(disk.target) ?? 0,
        usedBytes: 0,
      })),
  };
}

/** Space really taken, with a clone's own layers below it; a disk that is not there takes none. */
async function measure(shell: Shell, disks: ObservedGuest['disks']): Promise<void> {
  const rest = [...disks];
  const work = async (): Promise<void> => {
    for (let disk = rest.pop(); disk; disk = rest.pop()) disk.usedBytes = await taken(shell, disk.path);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

async function taken(shell: Shell, path: string): Promise<number> {
  const own = (await shell.stat(path))?.allocated ?? 0;
  const [folder, target] = layeredDisk(path) ?? [];
  if (folder === undefined || target === undefined || own === 0) return own;
  let sum = 0;
  for (const name of await shell.list(folder))
    if (name.startsWith(`${target}.g`) || name.startsWith(`${target}.qcow2`))
      sum += (await shell.stat(`${folder}/${name}`))?.allocated ?? 0;
  return sum;
}

/** Addresses by MAC, from the leases of all active networks. */
async function readLeases(virsh: Virsh, signal: AbortSignal): Promise<Map<string, string>> {
  const networks = (await virsh.networks(signal)).filter((network) => network.active);
  const tables = await Promise.all(
    networks.map((network) => virsh.maybe(['net-dhcp-leases', '--network', network.name], { signal })),
  );
  const addresses = new Map<string, string>();
  for (const found of tables.join('\n').matchAll(/([0-9a-f]{2}(?::[0-9a-f]{2}){5})\s+ipv4\s+([0-9.]+)\//gi))
    if (found[1] && found[2]) addresses.set(found[1].toLowerCase(), found[2]);
  return addresses;
}
