/** The host's libvirt as tests use it, past the portal: guests to clone from, and looking at what is there. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';

export const LIBVIRT_URI = process.getuid?.() === 0 ? 'qemu:///system' : 'qemu:///session';

export async function virsh(...args: string[]): Promise<string> {
  return (await execa('virsh', ['-q', '-c', LIBVIRT_URI, ...args], { stdin: 'ignore' })).stdout;
}

export interface GuestWish {
  disks: readonly {
    path: string;
    format?: string;
    type?: 'file' | 'block';
    /** LUKS that the host opens, with a secret that need not be there while the guest is stopped. */
    locked?: boolean;
  }[];
  memoryMiB?: number;
  /** A channel for the guest agent. */
  agent?: boolean;
  /** Default: a new one. That of a guest which is there changes it. */
  uuid?: string;
  /** Gives it a network card with this address, on a network of its own. */
  mac?: string;
}

const LUKS = `<encryption format='luks'><secret type='passphrase' uuid='${randomUUID()}'/></encryption>`;

function definition(name: string, wish: GuestWish): string {
  const disks = wish.disks.map(
    ({ path, format = 'qcow2', type = 'file', locked = false }, index) =>
      `<disk type='${type}' device='disk'><driver name='qemu' type='${format}'/><source ${type === 'file' ? 'file' : 'dev'}='${path}'>${locked ? LUKS : ''}</source><target dev='vd${String.fromCodePoint(97 + index)}' bus='virtio'/></disk>`,
  );
  const channel = `<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>`;
  const card =
    wish.mac === undefined
      ? ''
      : `<interface type='user'><mac address='${wish.mac}'/><model type='virtio'/></interface>`;
  return `<domain type='qemu'>
  <name>${name}</name><uuid>${wish.uuid ?? randomUUID()}</uuid>
  <memory unit='MiB'>${wish.memoryMiB ?? 96}</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
  <devices>${disks.join('')}${card}${wish.agent === true ? channel : ''}</devices>
</domain>`;
}

/** Defines a guest, emulated, stopped. Names and paths are the test's own: nothing is escaped. */
export async function defineGuest(name: string, wish: GuestWish): Promise<void> {
  // virsh reads a definition from a file: a child's standard input is a socket, which can't be opened by its path.
  const folder = await mkdtemp(join(tmpdir(), 'offshoot-define-'));
  try {
    await writeFile(join(folder, 'guest.xml'), definition(name, wish));
    await virsh('define', join(folder, 'guest.xml'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Names of all guests of the host. */
export async function domains(): Promise<string[]> {
  return (await virsh('list', '--all', '--name')).split('\n').filter((name) => name !== '');
}

/** Removes a guest from the host, running or not; its disks stay. Nothing happens when it is gone already. */
export async function removeGuest(name: string): Promise<void> {
  if (!(await domains()).includes(name)) return;
  await execa('virsh', ['-q', '-c', LIBVIRT_URI, 'destroy', name], { reject: false });
  await virsh('undefine', '--nvram', '--checkpoints-metadata', name);
}
