/** What the inventory is synced from: every guest of the host in a few calls, and the host itself. */
import type { HostFacts } from '../../contract.ts';
import type { ObservedGuest } from '../../driver.ts';
import { OffshootError } from '../../errors.ts';
import { readDomain, type Domain } from './domain-read.ts';
import { stateOf, type Virsh } from './virsh.ts';

/** A definition is read again after this long even if no event told of a change, milliseconds. */
const DEFINITION_AGE_MS = 60_000;
/** Pause before watching again after libvirt went away, milliseconds. */
const WATCH_PAUSE_MS = 1000;

interface Known {
  domain: Domain;
  readAt: number;
}

/** Numbers of one domain out of `virsh domstats`. */
type Stats = Map<string, string>;

/** Reads a host's guests. Keeps definitions between calls, so that a call costs little more than `domstats`. */
export class Inventory {
  private readonly known = new Map<string, Known>();

  constructor(
    private readonly virsh: Virsh,
    private readonly now: () => number = Date.now,
  ) {}

  /** Definitions may have changed: read them again at the next call. */
  forget(): void {
    this.known.clear();
  }

  /** MACs of all guests as last read; for choosing new ones. */
  macs(): string[] {
    return [...this.known.values()].flatMap(({ domain }) => domain.nics.map((nic) => nic.mac));
  }

  async list(signal: AbortSignal): Promise<ObservedGuest[]> {
    const [names, stats, addresses] = await Promise.all([
      this.identities(signal),
      this.statistics(signal),
      this.leases(signal),
    ]);
    await this.readDefinitions([...names.keys()], signal);
    const guests: ObservedGuest[] = [];
    for (const [uuid, name] of names) {
      const domain = this.known.get(uuid)?.domain;
      const own = stats.get(name);
      if (domain === undefined || own === undefined) continue;
      guests.push(await this.observe(domain, name, own, addresses));
    }
    return guests;
  }

  /** UUID → name of all guests. */
  private async identities(signal: AbortSignal): Promise<Map<string, string>> {
    const out = await this.virsh.run(['list', '--all', '--uuid', '--name'], { signal });
    const found = new Map<string, string>();
    for (const line of out.split('\n')) {
      const match = /^\s*([0-9a-f-]{36})\s+(.+?)\s*$/.exec(line);
      if (match?.[1] !== undefined && match[2] !== undefined) found.set(match[1], match[2]);
    }
    for (const uuid of this.known.keys()) if (!found.has(uuid)) this.known.delete(uuid);
    return found;
  }

  private async statistics(signal: AbortSignal): Promise<Map<string, Stats>> {
    const out = await this.virsh.run(['domstats', '--raw', '--state', '--balloon', '--vcpu', '--block'], {
      signal,
      timeoutMs: 30_000,
    });
    const all = new Map<string, Stats>();
    let current: Stats | undefined;
    for (const line of out.split('\n')) {
      const head = /^Domain: '(.*)'$/.exec(line.trim());
      if (head?.[1] !== undefined) {
        current = new Map();
        all.set(head[1], current);
        continue;
      }
      const at = line.indexOf('=');
      if (at > 0) current?.set(line.slice(0, at).trim(), line.slice(at + 1).trim());
    }
    return all;
  }

  private async readDefinitions(uuids: readonly string[], signal: AbortSignal): Promise<void> {
    const oldest = this.now() - DEFINITION_AGE_MS;
    const wanted = uuids.filter((uuid) => (this.known.get(uuid)?.readAt ?? 0) < oldest);
    const out = await this.virsh.batch(
      wanted.map((uuid) => ['dumpxml', '--inactive', uuid]),
      signal,
    );
    for (const xml of out.split(/(?=<domain[\s>])/)) {
      if (!xml.startsWith('<domain')) continue;
      const end = xml.indexOf('</domain>');
      if (end < 0) continue;
      const domain = readDomain(xml.slice(0, end + '</domain>'.length));
      this.known.set(domain.uuid, { domain, readAt: this.now() });
    }
  }

  private async observe(
    domain: Domain,
    name: string,
    stats: Stats,
    addresses: ReadonlyMap<string, string>,
  ): Promise<ObservedGuest> {
    const state = stateOf(stats.get('state.state') ?? '');
    const address =
      state === 'stopped'
        ? undefined
        : domain.nics.map((nic) => addresses.get(nic.mac)).find((found) => found !== undefined);
    const disks = domain.disks.filter((disk) => disk.device === 'disk' && disk.path !== undefined);
    return {
      uuid: domain.uuid,
      name,
      state,
      vcpus: Number(stats.get('vcpu.current') ?? domain.vcpus),
      memoryBytes: stats.has('balloon.maximum')
        ? Number(stats.get('balloon.maximum')) * 1024
        : domain.memoryBytes,
      macs: domain.nics.map((nic) => nic.mac),
      ...(address === undefined ? {} : { address }),
      disks: await Promise.all(disks.map((disk) => this.observeDisk(disk, stats))),
    };
  }

  private async observeDisk(
    disk: Domain['disks'][number],
    stats: Stats,
  ): Promise<ObservedGuest['disks'][number]> {
    const path = disk.path ?? '';
    const index = [...stats]
      .find(([key, value]) => /^block\.\d+\.name$/.test(key) && value === disk.target)?.[0]
      .split('.')[1];
    const of = (field: string): number => Number(stats.get(`block.${index}.${field}`) ?? 0);
    const file = await this.virsh.shell.stat(path);
    return {
      target: disk.target,
      path,
      format: disk.format,
      virtualBytes: of('capacity'),
      usedBytes: file?.type === 'file' ? file.allocated : of('allocation'),
    };
  }

  /** MAC → IPv4 address, of the leases of all active networks. */
  private async leases(signal: AbortSignal): Promise<Map<string, string>> {
    const active = (await this.virsh.networks(signal)).filter((network) => network.active);
    const found = new Map<string, string>();
    for (const { name } of active) {
      const out = await this.virsh.run(['net-dhcp-leases', '--network', name], { signal });
      for (const match of out.matchAll(/((?:[0-9a-f]{2}:){5}[0-9a-f]{2})\s+ipv4\s+([0-9.]+)\//g)) {
        if (match[1] !== undefined && match[2] !== undefined) found.set(match[1], match[2]);
      }
    }
    return found;
  }
}

export interface HostSettings {
  store: string;
  accelerator: HostFacts['accelerator'];
  /** Whether the store's filesystem shares blocks between files; probed once. */
  reflink(): Promise<boolean>;
}

/** Versions, size, load, store and networks of the host. */
export async function readHost(
  virsh: Virsh,
  settings: HostSettings,
  signal: AbortSignal,
): Promise<HostFacts> {
  const { shell } = virsh;
  const [version, node, memory, load, networks, store, reflink] = await Promise.all([
    virsh.run(['version'], { signal }),
    virsh.run(['nodeinfo'], { signal }),
    virsh.run(['nodememstats'], { signal }),
    shell.run(['cat', '/proc/loadavg'], { signal }),
    virsh.networks(signal),
    shell.filesystem(settings.store),
    settings.reflink(),
  ]);
  const kib = (text: string, label: RegExp): number => Number(label.exec(text)?.[1] ?? 0) * 1024;
  const free =
    kib(memory, /^free\s*:\s*(\d+)/m) +
    kib(memory, /^buffers\s*:\s*(\d+)/m) +
    kib(memory, /^cached\s*:\s*(\d+)/m);
  return {
    hypervisor: `QEMU ${/hypervisor: QEMU (\S+)/.exec(version)?.[1] ?? '?'}, libvirt ${/library: libvirt (\S+)/.exec(version)?.[1] ?? '?'}`,
    accelerator: settings.accelerator,
    cpus: Number(/^CPU\(s\):\s*(\d+)/m.exec(node)?.[1] ?? 1),
    load1: Number(load.stdout.split(' ')[0]),
    // nodeinfo counts what was there at boot; memory plugged in later is only in the statistics.
    memoryBytes: Math.max(kib(node, /^Memory size:\s*(\d+)/m), kib(memory, /^total\s*:\s*(\d+)/m)),
    memoryFreeBytes: free,
    store: {
      path: settings.store,
      filesystem: store.type,
      reflink,
      totalBytes: store.totalBytes,
      freeBytes: store.freeBytes,
    },
    networks,
  };
}

/** Calls back after every event of any guest, until the signal aborts. Comes back when libvirt was away, and says so by calling back. */
export async function watchHost(virsh: Virsh, onChange: () => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      for await (const line of virsh.shell.lines(
        ['virsh', '-q', '-c', virsh.uri, 'event', '--all', '--loop'],
        { signal },
      )) {
        if (line.startsWith('event ')) onChange();
      }
    } catch (thrown) {
      // libvirt away is told by the next `list`; anything else would be ours.
      if (!(thrown instanceof OffshootError)) throw thrown;
    }
    if (signal.aborted) return;
    await pause(WATCH_PAUSE_MS, signal);
    onChange();
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}
