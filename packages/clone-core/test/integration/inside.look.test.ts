/** What is found in real small disks, in every wrapping, and that looking changes and leaves nothing. */
import { spawn } from 'node:child_process';
import { chmod, open, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { lookInside } from '../../src/disks/inside/look.ts';
import type { InsideDisk } from '../../src/disks/inside/types.ts';
import type { GuestInside } from '../../src/identity/contract.ts';
import { localShell } from '../../src/shell/local.ts';
import { failure, until } from '../conformance/until.ts';
import {
  digestOf,
  leftovers,
  linux,
  makeInsideLab,
  MIB,
  whileMounted,
  type InsideLab,
} from './inside.lab.ts';
import { command, sampleImage } from './libvirt.lab.ts';

let lab: InsideLab;
beforeAll(async () => {
  lab = await makeInsideLab();
});
afterAll(() => lab.destroy());
afterEach(async () => expect(await leftovers(lab)).toEqual([]));

const look = (...disks: InsideDisk[]): Promise<GuestInside> =>
  lookInside(localShell(), disks, { store: lab.folder, signal: AbortSignal.timeout(60_000) });

const whats = ({ found }: GuestInside): string[] => found.map(({ what }) => what);

it('the sample guest', async () => {
  const path = await sampleImage();
  const before = await digestOf(path);
  expect(await look({ target: 'vda', path, format: 'qcow2' })).toMatchObject({
    kind: 'linux',
    osName: 'Offshoot sample guest 1',
    init: 'busybox',
    agent: true,
    seedReader: 'nocloud-subset',
    root: { target: 'vda', filesystem: 'ext4', offset: 25 * MIB, sizeBytes: 64 * MIB },
    network: ['busybox'],
    found: [],
    agents: [],
  });
  expect(await digestOf(path)).toBe(before);
});

it('everything that clones of a template would share is named, and no content of it', async () => {
  const secret = 'c0ffee-do-not-tell';
  const disk = await lab.partitioned(
    'gpt',
    await lab.filesystem('ext4', { '/grub/grub.cfg': '' }),
    await lab.filesystem('ext4', {
      ...linux,
      '/etc/ssh/ssh_host_ed25519_key': secret,
      '/etc/ssh/ssh_host_ed25519_key.pub': 'ssh-ed25519 AAAA root@source\n',
      '/etc/ssh/ssh_host_rsa_key': secret,
      '/var/lib/dhcp/dhclient.eth0.leases': secret,
      '/etc/udev/rules.d/70-persistent-net.rules': 'SUBSYSTEM=="net"\n',
      '/etc/netplan/50-cloud-init.yaml':
        'network: {ethernets: {eth0: {match: {macaddress: "52:54:00:11:22:33"}}}}\n',
      '/etc/systemd/network/10-none.network': '# MACAddress=52:54:00:11:22:33\n',
      '/var/lib/systemd/random-seed': secret,
      '/var/lib/cloud/instance': '->instances/i-1',
      '/var/lib/cloud/instances/i-1/user-data.txt': secret,
      '/var/log/syslog': 'x'.repeat(5000),
      '/var/log/apt/history.log': 'x'.repeat(100),
      '/root/.bash_history': secret,
      '/home/ada/.ssh/authorized_keys': 'ssh-ed25519 AAAA ada\n',
      '/home/ada/.ssh/id_ed25519': secret,
      '/home/ada/.ssh/id_ed25519.pub': 'ssh-ed25519 AAAA ada\n',
      '/home/ada/.aws/credentials': secret,
      '/usr/bin/cloud-init': '#!',
      '/usr/sbin/qemu-ga': 'ELF',
      '/var/lib/tailscale/tailscaled.state': secret,
    }),
  );
  const inside = await look(disk);
  expect(inside).toMatchObject({
    kind: 'linux',
    osName: 'Test Linux 1 (tiny)',
    init: 'systemd',
    seedReader: 'cloud-init',
    agent: true,
    agents: ['tailscale'],
    network: ['netplan'],
    root: { filesystem: 'ext4', offset: 65 * MIB },
  });
  expect(inside.notEditable).toBeUndefined();
  const told = Object.fromEntries(inside.found.map(({ what, paths }) => [what, paths]));
  expect(told).toEqual({
    'machine-id': ['/etc/machine-id'],
    'ssh-host-keys': ['/etc/ssh/ssh_host_ed25519_key', '/etc/ssh/ssh_host_rsa_key'],
    'dhcp-leases': ['/var/lib/dhcp/dhclient.eth0.leases'],
    'persistent-nic-names': ['/etc/udev/rules.d/70-persistent-net.rules'],
    'mac-bound-network': ['/etc/netplan/50-cloud-init.yaml'],
    'random-seed': ['/var/lib/systemd/random-seed'],
    'cloud-init-state': ['/var/lib/cloud/instance', '/var/lib/cloud/instances/i-1'],
    logs: ['/var/log/syslog', '/var/log/apt/history.log'],
    'shell-history': ['/root/.bash_history'],
    'authorized-keys': ['/home/ada/.ssh/authorized_keys'],
    secrets: ['/home/ada/.ssh/id_ed25519', '/home/ada/.aws/credentials'],
    'agent-state': ['/var/lib/tailscale/tailscaled.state'],
  });
  expect(inside.found.find(({ what }) => what === 'logs')?.bytes).toBe(5100);
  expect(JSON.stringify(inside)).not.toContain(secret);
});

it('an agent whose id nothing from outside resets is not said to be cleaned', async () => {
  const files = { '/var/lib/snapd/state.json': '{}', '/var/ossec/etc/client.keys': '001 source' };
  const { found } = await look(lab.raw(await lab.filesystem('ext4', { ...linux, ...files })));
  const told = found.filter(({ what }) => what === 'agent-state');
  expect(told.map(({ text, cleanable }) => [cleanable, text])).toEqual([
    [true, expect.stringContaining('Wazuh agent')],
    [false, expect.stringMatching(/^snapd is in it\. Its device serial stays the source’s/)],
  ]);
});

it('cloud-init that is switched off, or told other sources, reads no seed', async () => {
  const off = await lab.filesystem('ext4', {
    ...linux,
    '/usr/bin/cloud-init': '#!',
    '/etc/cloud/cloud-init.disabled': '',
  });
  expect((await look(lab.raw(off))).seedReader).toBeUndefined();
  const other = await lab.filesystem('ext4', {
    ...linux,
    '/usr/bin/cloud-init': '#!',
    '/etc/cloud/cloud.cfg': 'datasource_list: [ NoCloud, None ]\n',
    '/etc/cloud/cloud.cfg.d/90.cfg': 'datasource_list: [ Ec2 ]\n',
  });
  const inside = await look(lab.raw(other));
  expect(inside.seedReader).toBeUndefined();
  expect(whats(inside)).toEqual(['machine-id', 'no-agent', 'no-seed-reader']);
});

describe('wrappings', () => {
  it('a filesystem without a partition table', async () => {
    const image = await lab.filesystem('ext4', linux);
    expect(await look(lab.raw(image))).toMatchObject({ kind: 'linux', root: { offset: 0, sizeBytes: 0 } });
  });

  it.each(['xfs', 'btrfs'] as const)('%s in a partition', async (type) => {
    const disk = await lab.partitioned('dos', await lab.filesystem(type, linux));
    expect(await look(disk)).toMatchObject({
      kind: 'linux',
      osName: 'Test Linux 1 (tiny)',
      root: { filesystem: type, offset: MIB },
    });
  });

  it('btrfs with / in a subvolume', async () => {
    const image = await lab.filesystem('btrfs', {});
    await whileMounted(['mount', '-o', 'loop', image], async (root) => {
      await command('btrfs', '-q', 'subvolume', 'create', join(root, '@'));
      await command('cp', '-a', `${await lab.tree(linux)}/.`, join(root, '@'));
    });
    expect(await look(lab.raw(image))).toMatchObject({ kind: 'linux', root: { subvolume: '@' } });
  });

  it('LVM, by its metadata alone: two adjoining pieces are one', async () => {
    const disk = await logicalDisk(2, 18);
    expect(await look(disk)).toMatchObject({
      kind: 'linux',
      root: { filesystem: 'ext4', offset: 2 * MIB + 2 * 4 * MIB, lvm: { group: 'guestvg', volume: 'root' } },
    });
  });

  it('LVM in pieces that do not adjoin is said to be so', async () => {
    expect(await look(await logicalDisk(2, 20))).toMatchObject({
      kind: 'unknown',
      why: 'its logical volumes are in several pieces',
    });
  });

  it('an overlay on another file', async () => {
    const base = await lab.partitioned('gpt', await lab.filesystem('ext4', linux));
    const path = lab.at('child.qcow2');
    await command('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base.path, '-F', 'qcow2', path);
    expect(await look({ target: 'sda', path, format: 'qcow2' })).toMatchObject({
      kind: 'linux',
      root: { target: 'sda' },
    });
  });

  it('the system is on the second disk', async () => {
    const data = { ...lab.raw(await lab.filesystem('ext4', { '/films/a': '' })), target: 'vda' };
    const system = { ...lab.raw(await lab.filesystem('ext4', linux)), target: 'vdb' };
    expect(await look(data, system)).toMatchObject({ kind: 'linux', root: { target: 'vdb' } });
  });

  it('a /var of its own can’t be edited, and is named', async () => {
    const image = await lab.filesystem('ext4', {
      ...linux,
      '/etc/fstab':
        'UUID=1 / ext4 defaults 0 1\nUUID=2 /var ext4 defaults 0 2\nUUID=3 /home/ xfs defaults 0 2\n',
    });
    expect(await look(lab.raw(image))).toMatchObject({
      kind: 'linux',
      notEditable: expect.stringContaining('its /var is a filesystem of its own'),
      apart: ['/home'],
    });
  });
});

/** `root` of 20 extents of 4 MiB in two pieces, written by LVM's own programs. */
async function logicalDisk(first: number, second: number): Promise<InsideDisk> {
  const image = lab.at(`lvm-${second}.raw`);
  await command('truncate', '-s', '200M', image);
  const device = await command('losetup', '--find', '--show', image);
  const lvm = (...words: string[]): Promise<string> => {
    const [verb = '', ...rest] = words;
    const filter = `devices { filter=["a|^${device}$|","r|.*|"] use_devicesfile=0 }`;
    return command('lvm', verb, '--config', filter, '-q', ...rest);
  };
  try {
    await lvm('pvcreate', '--dataalignment', '2m', device);
    await lvm('vgcreate', 'guestvg', device);
    const backup = lab.at(`lvm-${second}.txt`);
    await lvm('vgcfgbackup', '-f', backup, 'guestvg');
    const text = await command('cat', backup);
    const segment = (number: number, start: number, count: number, at: number): string =>
      `segment${number} {\nstart_extent = ${start}\nextent_count = ${count}\ntype = "striped"\nstripe_count = 1\nstripes = [ "pv0", ${at} ]\n}\n`;
    const volume = `logical_volumes {\nroot {\nid = "aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa"\nstatus = ["READ", "WRITE", "VISIBLE"]\nflags = []\nsegment_count = 2\n${segment(1, 0, 16, first)}${segment(2, 16, 4, second)}}\n}\n`;
    const end = text.indexOf('\n\t}\n', text.indexOf('physical_volumes')) + 4;
    await writeFile(backup, `${text.slice(0, end)}${volume}${text.slice(end)}\n`);
    // Without a device mapper in the kernel volumes can't be made otherwise.
    await lvm('vgcfgrestore', '-f', backup, 'guestvg');
  } finally {
    await command('losetup', '--detach', device);
  }
  const root = await lab.filesystem('ext4', linux);
  await command(
    'dd',
    `if=${root}`,
    `of=${image}`,
    'bs=1M',
    `seek=${2 + first * 4}`,
    'conv=notrunc',
    'status=none',
  );
  return lab.raw(image);
}

describe('Windows', () => {
  const windows = { '/Windows/System32/ntoskrnl.exe': 'MZ' };
  const state = (value: string): string => `[State]\r\nImageState=${value}\r\n`;

  it('one that was not generalized', async () => {
    const disk = await lab.partitioned(
      'gpt',
      await lab.filesystem('ntfs', { '/Recovery/x': '' }),
      await lab.filesystem('ntfs', {
        ...windows,
        '/Windows/Setup/State/State.ini': state('IMAGE_STATE_COMPLETE'),
      }),
    );
    const before = await digestOf(disk.path);
    const inside = await look(disk);
    expect(inside).toMatchObject({
      kind: 'windows',
      agent: false,
      windows: { generalized: false, imageState: 'IMAGE_STATE_COMPLETE' },
      root: { filesystem: 'ntfs', offset: 33 * MIB },
      notEditable: expect.any(String),
    });
    expect(whats(inside)).toEqual(['not-generalized', 'no-agent', 'no-seed-reader']);
    expect(await digestOf(disk.path)).toBe(before);
  });

  it('one that was, with cloudbase-init and an agent, whatever the case of its names', async () => {
    const image = await lab.filesystem('ntfs', {
      '/WINDOWS/system32/ntoskrnl.exe': 'MZ',
      '/WINDOWS/Setup/State/state.ini': `\ufeff${state('IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE')}`,
      '/Program Files/Cloudbase Solutions/Cloudbase-Init/LICENSE': '',
      '/Program Files/Qemu-ga/qemu-ga.exe': 'MZ',
    });
    expect(await look(lab.raw(image))).toMatchObject({
      kind: 'windows',
      agent: true,
      seedReader: 'cloudbase-init',
      windows: { generalized: true },
      found: [],
    });
  });
});

describe('odd disks are unknown, with the reason', () => {
  const withHeader = async (name: string, at: number, header: string): Promise<string> => {
    const image = lab.at(name);
    await command('truncate', '-s', '32M', image);
    const file = await open(image, 'r+');
    await file.write(Buffer.from(header, 'latin1'), 0, undefined, at);
    await file.close();
    return image;
  };

  it('LUKS', async () => {
    const image = await withHeader('luks.img', 0, `LUKS\xba\xbe\0\x01aes\0${'\0'.repeat(600)}`);
    expect(await look(await lab.partitioned('gpt', image))).toMatchObject({
      kind: 'unknown',
      why: 'its disk is encrypted',
    });
  });

  it('a disk that the host has encrypted', async () => {
    const path = lab.at('encrypted.qcow2');
    await command('qemu-img', 'create', '-q', '-f', 'qcow2', path, '8M');
    // Field crypt_method of the header: AES. qemu-img can't always make one: it measures the processor first, and fails on some.
    const file = await open(path, 'r+');
    await file.write(Buffer.from([0, 0, 0, 1]), 0, 4, 32);
    await file.close();
    expect(await look({ target: 'vda', path, format: 'qcow2' })).toMatchObject({
      why: 'its disk is encrypted',
    });
  });

  it('an empty disk, one without a system, one of noise', async () => {
    await command('truncate', '-s', '8M', lab.at('empty.raw'));
    expect(await look(lab.raw(lab.at('empty.raw')))).toMatchObject({
      kind: 'unknown',
      why: 'nothing that is known here is on its disks',
    });
    const data = await lab.filesystem('ext4', { '/films/a': '' });
    expect(await look(lab.raw(data))).toMatchObject({ why: 'no system that is known here is on its disks' });
    await command('dd', 'if=/dev/urandom', `of=${lab.at('noise.raw')}`, 'bs=1M', 'count=4', 'status=none');
    expect(await look(lab.raw(lab.at('noise.raw')))).toMatchObject({ kind: 'unknown' });
  });

  it.each(['ext4', 'xfs', 'btrfs'] as const)('a damaged %s', async (type) => {
    const image = await lab.filesystem(type, linux);
    // All but the superblock.
    const from = { ext4: 8192, xfs: 4096, btrfs: 70_000 }[type];
    await command(
      'dd',
      'if=/dev/urandom',
      `of=${image}`,
      'bs=1',
      `seek=${from}`,
      'count=1',
      'conv=notrunc',
      'status=none',
    );
    await command(
      ...(['dd', 'if=/dev/urandom', `of=${image}`, 'bs=4096', `seek=${Math.ceil(from / 4096)}`] as const),
      ...(['count=8192', 'conv=notrunc', 'status=none'] as const),
    );
    const inside = await look(lab.raw(image));
    expect(inside.kind).toBe('unknown');
    expect(inside.why).toMatch(/^(its|no|nothing) /);
  });
});

it('a journal that was not played back is, but not on the disk', async () => {
  const image = await lab.filesystem('ext4', linux);
  const torn = lab.at('torn.img');
  await whileMounted(['mount', '-o', 'loop', image], async (root) => {
    await writeFile(join(root, 'usr/lib/os-release'), 'PRETTY_NAME="After the crash"\n');
    await command('sync', '--file-system', root);
    await command('cp', '--sparse=always', image, torn);
  });
  expect(await command('dumpe2fs', '-h', torn)).toContain('needs_recovery');
  const before = await digestOf(torn);
  expect((await look(lab.raw(torn))).osName).toBe('After the crash');
  expect(await digestOf(torn)).toBe(before);
  // In a partition, behind another one.
  const disk = await lab.partitioned('gpt', await lab.filesystem('ext4', {}), torn);
  expect(await look(disk)).toMatchObject({ osName: 'After the crash', root: { offset: 65 * MIB } });
});

it('a disk that is in use is looked at, and not held', async () => {
  const disk = await lab.partitioned('gpt', await lab.filesystem('ext4', linux));
  const user = spawn('qemu-io', ['-f', 'qcow2', disk.path], { stdio: ['pipe', 'pipe', 'inherit'] });
  user.stdin.write('length\n');
  await once(user.stdout, 'data');
  expect((await look(disk)).kind).toBe('linux');
  user.stdin.end('quit\n');
  await once(user, 'exit');
});

it('what is wrong with the host is an error', async () => {
  expect((await failure(look({ target: 'vda', path: lab.at('gone.qcow2'), format: 'qcow2' }))).code).toBe(
    'source-unreadable',
  );
  const image = lab.raw(await lab.filesystem('ext4', linux));
  const aborted = lookInside(localShell(), [image], { store: lab.folder, signal: AbortSignal.abort() });
  await expect(aborted).rejects.toThrow();
});

it.each(['ext4', 'xfs', 'ntfs'] as const)(
  'a worker killed while it looks at %s leaves no process and no mount',
  async (type) => {
    const image = await lab.filesystem(type, linux);
    await chmod(image, 0o644);
    const worker = spawn(
      process.execPath,
      ['--import', 'tsx', join(import.meta.dirname, 'inside.hang.ts'), image, lab.folder, type],
      { stdio: ['ignore', 'pipe', 'inherit'], cwd: resolve(import.meta.dirname, '../..') },
    );
    await once(worker.stdout, 'data');
    expect((await leftovers(lab)).length).toBeGreaterThan(1);
    worker.kill('SIGKILL');
    await once(worker, 'exit');
    const scratch = `${lab.folder}/.inside-hang`;
    await until(async () => (await leftovers(lab)).join() === '.inside-hang', 'its helpers to end');
    await command('rm', '-rf', scratch);
  },
);
