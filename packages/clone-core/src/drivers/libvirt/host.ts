/** Facts of the host, read cheaply: what hardly changes is kept. */
import type { HostFacts } from '../../contract.ts';
import { z } from 'zod';
import { probeReflink } from '../../disks/reflink.ts';
import { OffshootError } from '../../errors.ts';
import type { Shell } from '../../shell/shell.ts';
import { memo } from './memo.ts';
import type { Virsh } from './virsh.ts';

const MINUTE = 60_000;
/** Shared reads belong to nobody's operation; every command in them has its own deadline. */
const never = new AbortController().signal;

export interface HostReader {
  /** `networks: 'known'`: as they were when they were last asked for, for what does not depend on them. */
  facts(how?: { networks: 'known' }): Promise<HostFacts>;
  libvirtVersion(): Promise<number>;
  /** Accelerator and processor: "tcg on Intel(R) Xeon(R)". */
  machine(): Promise<string>;
  /** Remembers how fast the last big copy was, bytes per second. */
  measured(rate: number): void;
}

export interface HostOptions {
  store: string;
  accelerator: 'kvm' | 'tcg';
}

export function hostReader(shell: Shell, virsh: Virsh, options: HostOptions): HostReader {
  const { store, accelerator } = options;
  let copyRate: number | undefined;
  const proven = memo(MINUTE, () => readProof(shell, store, accelerator));
  const versions = memo(MINUTE, () => readVersions(virsh));
  const cpus = memo(MINUTE, async () =>
    Number(/CPU\(s\):\s+(\d+)/.exec(await virsh.run(['nodeinfo']))?.[1] ?? 1),
  );
  const machine = memo(60 * MINUTE, async () => {
    const info = (await shell.readText('/proc/cpuinfo')) ?? '';
    return `${accelerator} on ${/^model name\s*:\s*(.+)$/m.exec(info)?.[1] ?? 'an unnamed processor'}`;
  });
  let known: HostFacts['networks'] | undefined;
  const networks = memo(2000, async () => (known = await virsh.networks(never)));
  const reflink = memo(60 * MINUTE, async () => {
    await shell.mkdir(store);
    return probeReflink(shell, store, never);
  });
  const meters = memo(2000, () => readMeters(shell));
  return {
    libvirtVersion: async () => (await versions()).libvirt,
    machine,
    measured: (rate) => {
      copyRate = copyRate === undefined ? rate : copyRate * 0.5 + rate * 0.5;
    },
    async facts(how) {
      const shares = await reflink();
      const [proof, version, count, nets, meter, disk] = await Promise.all([
        proven(),
        versions(),
        cpus(),
        (how && known) ?? networks(),
        meters(),
        shell.filesystem(store),
      ]);
      return {
        hypervisor: version.text,
        accelerator: proof,
        cpus: count,
        ...meter,
        store: {
          path: store,
          filesystem: disk.type,
          reflink: shares,
          totalBytes: disk.totalBytes,
          freeBytes: disk.freeBytes,
        },
        networks: nets,
        ...(copyRate === undefined ? {} : { copyRate: Math.round(copyRate) }),
      };
    },
  };
}

async function readVersions(virsh: Virsh): Promise<{ text: string; libvirt: number }> {
  const out = await virsh.run(['version']);
  const [library, qemu] = [
    /Using library: libvirt (\S+)/.exec(out)?.[1],
    /Running hypervisor: (\S+) (\S+)/.exec(out),
  ];
  if (library === undefined)
    throw new OffshootError('host-unreachable', {
      publicMessage: 'libvirt gives no version of itself.',
      context: { out },
    });
  const [major = 0, minor = 0, patch = 0] = library.split('.').map(Number);
  return {
    text: `${qemu ? `${qemu[1]} ${qemu[2]}, ` : ''}libvirt ${library}`,
    libvirt: major * 1_000_000 + minor * 1000 + patch,
  };
}

/** From proc(5): one-minute load, and memory with what caches would give back. */
async function readMeters(
  shell: Shell,
): Promise<Pick<HostFacts, 'load1' | 'memoryBytes' | 'memoryFreeBytes'>> {
  const [load = '', memory = ''] = await Promise.all([
    shell.readText('/proc/loadavg'),
    shell.readText('/proc/meminfo'),
  ]);
  const kib = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(memory)?.[1] ?? 0) * 1024;
  return {
    load1: Number(load.split(' ')[0] ?? 0),
    memoryBytes: kib('MemTotal'),
    memoryFreeBytes: kib('MemAvailable'),
  };
}

const verdictSchema = z.object({
  verdict: z.object({ name: z.enum(['kvm', 'tcg']), provenAt: z.string(), detail: z.string() }),
});

/** What `proveAccelerator` left in the store, if it is of the accelerator in use. */
async function readProof(
  shell: Shell,
  store: string,
  name: 'kvm' | 'tcg',
): Promise<HostFacts['accelerator']> {
  const text = await shell.readText(`${store}/accelerator.json`);
  const detail = name === 'kvm' ? 'hardware acceleration' : 'software emulation';
  const unproven = { name, provenAt: new Date().toISOString(), detail: `${detail}, as configured` };
  if (text === undefined) return unproven;
  try {
    const { verdict } = verdictSchema.parse(JSON.parse(text));
    return verdict.name === name ? verdict : unproven;
  } catch (thrown) {
    if (thrown instanceof SyntaxError || thrown instanceof z.ZodError) return unproven; // a torn file proves nothing
    throw thrown;
  }
}
