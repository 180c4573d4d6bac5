/** Whether a guest of another host could live here. Reads only. */
import { OffshootError } from '../../../errors.ts';
import { stderrOf } from '../../../disks/stderr.ts';
import { readDomain } from '../domain-read.ts';
import type { Reader } from '../inspect.ts';
import { readManifest } from '../steps/manifest.ts';
import { attribute, child, childrenOf, parseXml } from '../xml.ts';
import { XMLSerializer } from '@xmldom/xmldom';
import type { Ask, Look } from './protocol.ts';

export async function lookAround(reader: Reader, question: Ask<'look'>, signal: AbortSignal): Promise<Look> {
  const { shell, virsh, host, store } = reader;
  const { guest, definition, base } = question;
  const [facts, machine, domains, processor, missing, manifest] = await Promise.all([
    host.facts(),
    host.machine(),
    reader.definitions.all(signal, true),
    processorProblem(reader, definition, signal),
    missingHere(reader, definition),
    base === undefined ? undefined : readManifest(shell, `${store}/bases/${base.slice(0, 12)}`),
  ]);
  const taken = domains.has(guest.uuid)
    ? 'uuid'
    : [...domains.values()].some(({ name }) => name === guest.name)
      ? 'name'
      : undefined;
  return {
    store,
    freeBytes: facts.store.freeBytes,
    networks: facts.networks,
    machine,
    accelerator: reader.accelerator,
    system: virsh.uri.endsWith('/system'),
    missing,
    ...(taken === undefined ? {} : { taken }),
    ...(processor === undefined ? {} : { processor }),
    ...(manifest === undefined || manifest.digest !== base
      ? {}
      : { base: manifest.disks.map(({ target, path, format }) => ({ target, path, format })) }),
  };
}

/** Asks libvirt: it knows what its QEMU can be. The end of a sentence; undefined: nothing is in the way. */
async function processorProblem(
  { virsh, shell, store, accelerator }: Reader,
  definition: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { root } = parseXml(definition, 'domain');
  const type = attribute(root, 'type') ?? 'qemu';
  if (type === 'kvm' && accelerator !== 'kvm')
    return 'it needs hardware acceleration (KVM), which does not work there';
  const os = child(root, 'os', 'type');
  const machine = attribute(os, 'machine');
  const kind = ['--virttype', type, ...(machine === undefined ? [] : ['--machine', machine])];
  const said = await refusalOf(() => virsh.run(['domcapabilities', ...kind], { signal }));
  if (said !== undefined) return `its machine type ${machine ?? type} is not known there (${said})`;
  const cpu = child(root, 'cpu');
  if (!cpu || attribute(cpu, 'mode') !== 'custom') return undefined;
  const path = `${store}/.cpu-${process.pid}-${Math.random().toString(36).slice(2)}.xml`;
  await shell.mkdir(store);
  const problem = await refusalOf(() =>
    virsh.withFile(path, new XMLSerializer().serializeToString(cpu), () =>
      virsh.run(['hypervisor-cpu-compare', ...kind, '--error', path], { signal }),
    ),
  );
  return problem === undefined ? undefined : `its processor can’t be had there: ${problem}`;
}

/** The last of what libvirt says against it, without its own preamble. Other failures are thrown. */
async function refusalOf(ask: () => Promise<string>): Promise<string | undefined> {
  try {
    await ask();
    return undefined;
  } catch (thrown) {
    if (!(thrown instanceof OffshootError) || thrown.code !== 'command-failed') throw thrown;
    const last = stderrOf(thrown).trim().split('\n').at(-1) ?? '';
    return last
      .replace(/^error:\s*/, '')
      .replace(/^the CPU is incompatible with host CPU:\s*|^invalid argument:\s*/i, '')
      .replace(/^\p{Lu}(?=\p{Ll})/u, (letter) => letter.toLowerCase());
  }
}

/** Files of the host that are used where they are, and bridges. */
async function missingHere({ shell }: Reader, definition: string): Promise<string[]> {
  const { root } = parseXml(definition, 'domain');
  const devices = child(root, 'devices');
  const loader = child(root, 'os', 'loader')?.textContent?.trim();
  const emulator = child(devices, 'emulator')?.textContent?.trim();
  const media = readDomain(definition).disks.flatMap(({ device, path, readonly, shareable }) =>
    path !== undefined && (device !== 'disk' || readonly || shareable) ? [path] : [],
  );
  const bridges = childrenOf(devices, 'interface').flatMap((nic) => {
    const bridge =
      attribute(nic, 'type') === 'bridge' ? attribute(child(nic, 'source'), 'bridge') : undefined;
    return bridge === undefined ? [] : [bridge];
  });
  const wanted = [
    ...[loader, emulator, ...media].flatMap((path) => (path ? [{ path, say: path }] : [])),
    ...bridges.map((bridge) => ({ path: `/sys/class/net/${bridge}`, say: `the bridge ${bridge}` })),
  ];
  const found = await Promise.all(
    wanted.map(async ({ path, say }) => ((await shell.stat(path)) ? undefined : say)),
  );
  return [...new Set(found.filter((each) => each !== undefined))];
}
