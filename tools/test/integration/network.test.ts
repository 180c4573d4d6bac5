/** A network that a start switched on: switched off again at its end, unless guests that go on running use it. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LIBVIRT_URI, virsh } from '../../src/lab/host.ts';
import { startNetwork } from '../../src/start/libvirt.ts';

const isRoot = process.getuid?.() === 0;
const mark = randomUUID().slice(0, 6);
const network = `offshoot-net-${mark}`;
const guest = `offshoot-guest-${mark}`;
let folder: string;

// A bridge without address or DHCP: it needs nothing of the machine that another network could hold.
const networkXml = `<network><name>${network}</name><bridge name='osn${mark}'/></network>`;
const guestXml = `<domain type='qemu'><name>${guest}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><interface type='network'><source network='${network}'/><model type='virtio'/></interface></devices></domain>`;

async function define(command: string, xml: string): Promise<void> {
  const file = join(folder, `${command}.xml`);
  await writeFile(file, xml);
  await virsh(command, file);
}
const active = async (): Promise<boolean> =>
  (await virsh('net-list', '--name')).split('\n').includes(network);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'offshoot-network-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('it stays while a running guest is plugged into it, and goes when none is', async (context) => {
  if (!isRoot) context.skip('only root has networks of libvirt');
  await define('net-define', networkXml);
  try {
    const said: string[] = [];
    const service = await startNetwork(LIBVIRT_URI, network, (line) => said.push(line));
    expect(await active()).toBe(true);
    await define('create', guestXml);
    await service?.stop();
    expect(await active()).toBe(true);
    expect(said).toEqual([`The network ${network} stays on: guests that run use it.`]);

    await virsh('destroy', guest);
    await virsh('net-destroy', network);
    const again = await startNetwork(LIBVIRT_URI, network, (line) => said.push(line));
    await again?.stop();
    expect(await active()).toBe(false);
    expect(said).toHaveLength(1);
  } finally {
    if ((await virsh('list', '--name')).split('\n').includes(guest)) await virsh('destroy', guest);
    if (await active()) await virsh('net-destroy', network);
    await virsh('net-undefine', network);
  }
});
