/** A corner of this machine's real libvirt for tests: its own store, its own guests, gone afterwards. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { CapturedBase, GuestRef } from '../../src/driver.ts';
import { libvirtDriver } from '../../src/drivers/libvirt/driver.ts';
import { localShell } from '../../src/shell/local.ts';
import type { Shell } from '../../src/shell/shell.ts';
import { baseOf } from '../conformance/cases/base.ts';
import { until } from '../conformance/until.ts';
import { finish, planOf } from '../conformance/workbench.ts';

const exec = promisify(execFile);
const repository = resolve(import.meta.dirname, '../../../..');

export async function command(program: string, ...words: string[]): Promise<string> {
  const { stdout } = await exec(program, words, {
    maxBuffer: 64 * 1024 ** 2,
    env: { ...process.env, LC_ALL: 'C' },
  });
  return stdout.trim();
}
export const virsh = (...words: string[]): Promise<string> => command('virsh', '-q', ...words);

/** As `command`, or undefined when it fails: for asking whether something is there. */
export async function attempt(program: string, ...words: string[]): Promise<string | undefined> {
  try {
    return await command(program, ...words);
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'number') return undefined;
    throw thrown;
  }
}

/** A bootable image with a guest agent: OFFSHOOT_SAMPLE_IMAGE, or the project's own, built once. */
export async function sampleImage(): Promise<string> {
  const given = process.env['OFFSHOOT_SAMPLE_IMAGE'];
  if (given !== undefined && given !== '') return given;
  const builder = join(repository, 'tools/src/sample-guest/main.ts');
  return command(process.execPath, '--import', 'tsx', builder, join(repository, '.data/cache'));
}

export interface Lab {
  /** Everything of this lab is below it. */
  root: string;
  store: string;
  /** The store is a filesystem of its own, of this type. */
  mounted: string | undefined;
  driver(part?: { chainBudget?: number }, shell?: Shell): ReturnType<typeof libvirtDriver>;
  /** Names of guests whose definition mentions the lab's folder. */
  guests(): Promise<string[]>;
  destroy(): Promise<void>;
}

/** `filesystem`: the store is a small loop-mounted one, where this machine can. */
export async function makeLab(filesystem?: { type: 'ext4' | 'xfs'; mebibytes: number }): Promise<Lab> {
  process.env['LIBVIRT_DEFAULT_URI'] = 'qemu:///system';
  const root = await mkdtemp('/var/lib/offshoot-test-');
  await chmod(root, 0o755); // QEMU runs as another user
  const store = join(root, 'store');
  await mkdir(store, { mode: 0o755 });
  const mounted = filesystem && (await mountLoop(root, store, filesystem)) ? filesystem.type : undefined;
  for (const folder of ['disks', 'bases', 'nvram']) await mkdir(join(store, folder));
  const guests = async (): Promise<string[]> => {
    const names = (await virsh('list', '--all', '--name')).split('\n').filter((name) => name !== '');
    const ours = await Promise.all(
      names.map(async (name) =>
        (await attempt('virsh', 'dumpxml', '--inactive', name))?.includes(`${root}/`),
      ),
    );
    return names.filter((_, index) => ours[index]).toSorted();
  };
  return {
    root,
    store,
    mounted,
    driver: (part = {}, shell = localShell()) => libvirtDriver({ kind: 'libvirt', store, ...part }, shell),
    guests,
    async destroy() {
      for (const name of await guests()) {
        await attempt('virsh', 'destroy', name);
        await virsh('undefine', name, '--nvram', '--tpm', '--snapshots-metadata', '--checkpoints-metadata');
      }
      if (mounted !== undefined) await command('umount', store);
      await rm(root, { recursive: true, force: true });
    },
  };
}

async function mountLoop(
  root: string,
  store: string,
  { type, mebibytes }: { type: string; mebibytes: number },
): Promise<boolean> {
  const image = join(root, 'filesystem.img');
  await command('truncate', '-s', `${mebibytes}M`, image);
  await (type === 'xfs'
    ? command('mkfs.xfs', '-q', image)
    : command('mkfs.ext4', '-q', '-F', '-m', '0', image));
  if ((await attempt('mount', '-o', 'loop', image, store)) === undefined) return false;
  await chmod(store, 0o755);
  return true;
}

export interface LabGuest {
  name: string;
  uuid: string;
  disks: Record<string, string>;
  macs: string[];
}

export interface GuestShape {
  name: string;
  /** Target and file, in order; the first boots. */
  disks: readonly { target: string; path: string; format: string; bus?: string; extra?: string }[];
  os?: string;
  devices?: string;
  nics?: number;
  /** Network of its cards; none: QEMU's own, which nobody else is on. */
  network?: string;
  memoryMiB?: number;
}

/** A small guest under software emulation. */
export function definitionOf(shape: GuestShape): string {
  const disks = shape.disks.map(
    (
      disk,
    ) => `<disk type='file' device='disk'><driver name='qemu' type='${disk.format}'/><source file='${disk.path}'/>
      <target dev='${disk.target}' bus='${disk.bus ?? 'virtio'}'/>${disk.extra ?? ''}</disk>`,
  );
  const nics = Array.from({ length: shape.nics ?? 1 }, () =>
    shape.network === undefined
      ? "<interface type='user'><model type='virtio'/></interface>"
      : `<interface type='network'><source network='${shape.network}'/><model type='virtio'/></interface>`,
  );
  return `<domain type='qemu'><name>${shape.name}</name><memory unit='MiB'>${shape.memoryMiB ?? 128}</memory><vcpu>1</vcpu>
    <os><type arch='x86_64' machine='q35'>hvm</type>${shape.os ?? ''}<boot dev='hd'/></os>
    <features><acpi/><apic/><tcg><tb-cache unit='MiB'>64</tb-cache></tcg></features><cpu mode='maximum'/>
    <devices>${disks.join('')}${nics.join('')}
      <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
      <serial type='pty'/><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>${shape.devices ?? ''}
    </devices></domain>`;
}

export async function defineGuest(lab: Lab, shape: GuestShape): Promise<LabGuest> {
  const file = join(lab.root, `${shape.name}.xml`);
  await writeFile(file, definitionOf(shape));
  await virsh('define', file);
  // libvirt orders controllers anew when it reads its own words: what it settles on is the definition.
  await writeFile(file, await virsh('dumpxml', '--inactive', shape.name));
  await virsh('define', file);
  await rm(file);
  const disks = Object.fromEntries(shape.disks.map((disk) => [disk.target, disk.path]));
  const macs = [...(await virsh('dumpxml', '--inactive', shape.name)).matchAll(/mac address='(.*)'/g)];
  return {
    name: shape.name,
    uuid: await virsh('domuuid', shape.name),
    disks,
    macs: macs.map((found) => found[1] ?? ''),
  };
}

/** Names of one run of one file of tests: two runs side by side don't meet. */
export const namer =
  (prefix: string) =>
  (name: string): string =>
    `${prefix}${process.pid.toString(36)}-${name}`;

/** A guest whose one disk is the bootable sample, stopped. */
export async function sampleGuest(
  lab: Lab,
  name: string,
  part: Omit<Partial<GuestShape>, 'name'> = {},
): Promise<GuestRef> {
  const path = join(lab.root, `${name}.qcow2`);
  await copyFile(await sampleImage(), path);
  const disks = [{ target: 'vda', path, format: 'qcow2' }];
  const { uuid } = await defineGuest(lab, { name, disks, ...part });
  return { uuid, name };
}

/** The base that a capture of the guest makes. */
export async function captured(lab: Lab, guest: GuestRef): Promise<CapturedBase> {
  const plan = await planOf(lab.driver(), { kind: 'capture', guest, label: 'x' }, guest.name);
  return baseOf((await finish(lab.driver(), plan)).result);
}

/** Runs what it is asked to, but the first command with that word is killed instead. */
export function killingOnce(word: string): Shell & { killed(): boolean } {
  const shell = localShell();
  let killed = false;
  return {
    ...shell,
    killed: () => killed,
    run: (argv, options) => {
      const mine = !killed && argv.includes(word);
      killed ||= mine;
      return shell.run(mine ? ['sh', '-c', 'kill -KILL $$'] : argv, options);
    },
  };
}

/** How many files a read of the disk may go through. */
export async function depthOf(disk: string): Promise<number> {
  const words = ['info', '-U', '--backing-chain', '--output=json', disk];
  const chain: unknown[] = JSON.parse(await command('qemu-img', ...words));
  return chain.length;
}

export const pings = async (name: string): Promise<boolean> =>
  (await attempt('virsh', 'qemu-agent-command', name, '--timeout', '2', '{"execute":"guest-ping"}')) !==
  undefined;

export async function startGuest(name: string): Promise<void> {
  await virsh('start', name);
  await until(() => pings(name), `the agent of ${name}`, 90_000);
}

/** As when its host dies: its QEMU is killed. Returns once libvirt, which hears of it later than we do, knows. */
export async function crashGuest(name: string): Promise<void> {
  const pid = (await readFile(`/run/libvirt/qemu/${name}.pid`, 'utf8')).trim();
  await command('kill', '-9', pid);
  await until(async () => (await virsh('domstate', name)) === 'shut off', `libvirt to miss ${name}`, 30_000);
}

interface Reply {
  pid?: number;
  exited?: boolean;
  'out-data'?: string;
}

/** Runs a program in the guest through its agent and waits for its end. */
export async function inGuest(name: string, path: string, ...words: string[]): Promise<string> {
  const call = async (execute: string, parameters: unknown): Promise<Reply> => {
    const reply = await virsh('qemu-agent-command', name, JSON.stringify({ execute, arguments: parameters }));
    const parsed: { return: Reply } = JSON.parse(reply);
    return parsed.return;
  };
  const { pid } = await call('guest-exec', { path, arg: words, 'capture-output': true });
  let status: Reply = {};
  await until(
    async () => {
      status = await call('guest-exec-status', { pid });
      return status.exited === true;
    },
    `${path} in ${name}`,
    60_000,
  );
  return Buffer.from(status['out-data'] ?? '', 'base64').toString();
}

/** All files and folders below a folder, sorted. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.map((entry) => join(entry.parentPath, entry.name)).toSorted();
}

const digests = new Map<string, string>();

/** Digest of what a guest sees on a disk; files that did not change are not read again. */
export async function contentOf(lab: Lab, path: string): Promise<string> {
  const { ino, size, mtimeNs } = await stat(path, { bigint: true });
  const key = `${path} ${ino} ${size} ${mtimeNs}`;
  const known = digests.get(key);
  if (known !== undefined) return known;
  const raw = join(lab.root, `content-${randomUUID()}.raw`);
  try {
    await command('qemu-img', 'convert', '-U', '-O', 'raw', path, raw);
    const digest = (await command('sha256sum', raw)).slice(0, 64);
    digests.set(key, digest);
    return digest;
  } finally {
    await rm(raw, { force: true });
  }
}

/** Programs that driver steps started for this lab and that still run; running guests are none. */
export async function processesOf(lab: Lab): Promise<number> {
  let count = 0;
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    const program = line.split('\0')[0] ?? '';
    if (line.includes(lab.root) && /(^|\/)(qemu-img|qemu-nbd|cp|sha256sum|virsh|setpriv)$/.test(program))
      count++;
  }
  return count;
}

export const exists = async (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
