/** A stopped guest with a large disk, as benches clone from it. */
import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Portal } from './portal.ts';

export const LIBVIRT_URI = process.getuid?.() === 0 ? 'qemu:///system' : 'qemu:///session';
export const virsh = (...args: string[]) => execa('virsh', ['-q', '-c', LIBVIRT_URI, ...args]);

const definition = (name: string, disk: string): string => `<domain type='qemu'>
  <name>${name}</name><uuid>${randomUUID()}</uuid><memory unit='MiB'>128</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>
    <interface type='user'><model type='virtio'/></interface>
  </devices>
</domain>`;

export interface SourceGuest {
  name: string;
  /** Of its inventory row. */
  id: string;
  disk: string;
  remove(): Promise<void>;
}

/** Defines a stopped guest on the disk and waits until the portal's inventory has found it. */
export async function defineSource(portal: Portal, disk: string): Promise<SourceGuest> {
  const name = `bench-${randomUUID().slice(0, 8)}`;
  const file = `${disk}.xml`;
  await writeFile(file, definition(name, disk));
  await virsh('define', file);
  await rm(file);
  const id = await foundGuest(portal, name);
  return { name, id, disk, remove: async () => void (await virsh('undefine', name)) };
}

/** Id of the inventory's row, once the portal has found the guest. */
export async function foundGuest(portal: Portal, name: string): Promise<string> {
  for (;;) {
    const row = await portal.db.prisma.guest.findFirst({ where: { name } });
    if (row) return row.id;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Path of a clone's first disk. */
export async function diskOf(name: string): Promise<string> {
  return diskNamed(name, undefined);
}

/** Path of a guest's disk of that target. */
export async function diskNamed(name: string, target: string | undefined): Promise<string> {
  const { stdout } = await virsh('domblklist', name);
  const rows = stdout
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  const path = rows.find(([each]) => target === undefined || each === target)?.[1];
  if (path === undefined) throw new Error(`${name} has no disk ${target ?? ''}`);
  return path;
}

export const scratchDisk = (scratch: string, name: string): string => join(scratch, `${name}.qcow2`);
