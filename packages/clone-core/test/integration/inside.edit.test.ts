/** Editing real small disks: what was asked for and nothing else, all or nothing, never outside the guest. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { carryInside, clearInside, editInside, readInside, scratchOf } from '../../src/disks/inside/edit.ts';
import { lookInside } from '../../src/disks/inside/look.ts';
import type { InsideDisk, InsideRoot } from '../../src/disks/inside/types.ts';
import { OffshootError } from '../../src/errors.ts';
import { cleanEdits } from '../../src/identity/clean.ts';
import { cleanKinds } from '../../src/identity/contract.ts';
import type { InsideEdit } from '../../src/identity/edits.ts';
import { localShell } from '../../src/shell/local.ts';
import type { Shell } from '../../src/shell/shell.ts';
import { failure } from '../conformance/until.ts';
import {
  digestOf,
  extract,
  leftovers,
  linux,
  makeInsideLab,
  whileMounted,
  type Files,
  type InsideLab,
} from './inside.lab.ts';
import { command } from './libvirt.lab.ts';

let lab: InsideLab;
beforeAll(async () => {
  lab = await makeInsideLab();
});
afterAll(() => lab.destroy());
afterEach(async () => expect(await leftovers(lab)).toEqual([]));

const signal = AbortSignal.timeout(170_000);
const shell = localShell();

interface Opened {
  disk: InsideDisk;
  root: InsideRoot;
}
async function opened(disk: InsideDisk): Promise<Opened> {
  const { root, why } = await lookInside(shell, [disk], { store: lab.folder, signal });
  if (!root) throw new Error(`no root: ${why ?? ''}`);
  return { disk, root };
}
const edit = ({ disk, root }: Opened, ...edits: InsideEdit[]): Promise<{ changed: string[] }> =>
  editInside(shell, disk, root, edits, { signal });

/** Text, mode and owner of all that matches, by path. */
async function texts({ disk, root }: Opened, ...patterns: string[]): Promise<Record<string, string>> {
  const files = await readInside(shell, disk, root, patterns, { store: lab.folder, signal });
  return Object.fromEntries(
    files.map(({ path, content, mode, uid, gid }) => [
      path,
      `${mode.toString(8)} ${uid}:${gid} ${Buffer.from(content, 'base64').toString()}`,
    ]),
  );
}

async function checked({ disk, root }: Opened): Promise<void> {
  const image = await extract(lab, disk, root.offset, root.sizeBytes);
  if (root.filesystem === 'ext4') await command('e2fsck', '-fn', image);
  if (root.filesystem === 'xfs') await command('xfs_repair', '-n', '-f', image);
  if (root.filesystem === 'btrfs') await command('btrfs', 'check', '--readonly', image);
  await rm(image);
}

const guest: Files = {
  ...linux,
  '/etc/hosts': '127.0.0.1 localhost\n127.0.1.1 source\n',
  '/etc/ssh/ssh_host_rsa_key': 'private',
  '/etc/ssh/ssh_host_rsa_key.pub': 'public',
  '/etc/ssh/sshd_config': 'Port 22',
  '/etc/netplan/eth.yaml': 'macaddress: 52:54:00:AA:bb:01\n',
  '/var/run': '->/run',
  '/run/.keep': '',
  '/var/log/a.log': 'long ago\n',
  '/var/log/journal/1/system.journal': 'x'.repeat(9000),
  '/var/log/journal/2/deep/user.journal': 'x',
  '/home/a b/.bash_history': 'ls\n',
};

describe.each(['ext4', 'xfs', 'btrfs'] as const)('%s', (type) => {
  it('every kind of edit, in order, and again', async () => {
    const it = await opened(await lab.partitioned('gpt', await lab.filesystem(type, guest)));
    const edits: InsideEdit[] = [
      { type: 'write', path: '/etc/hostname', content: 'clone\n', mode: 0o644 },
      { type: 'write', path: '/etc/machine-id', content: `${'2'.repeat(32)}\n`, mode: 0o444 },
      {
        type: 'write',
        path: '/opt/new folder/deep/run',
        content: '/w==',
        encoding: 'base64',
        mode: 0o750,
        uid: 7,
        gid: 8,
      },
      { type: 'write', path: '/var/run/through-a-link', content: 'x', mode: 0o600 },
      { type: 'write', path: '/etc/empty', content: '', mode: 0o644 },
      { type: 'remove', pattern: '/etc/ssh/ssh_host_*_key*' },
      { type: 'remove', pattern: '/var/log/journal/*' },
      { type: 'remove', pattern: '/nothing/*/here' },
      { type: 'empty', pattern: '/home/*/.bash_history' },
      { type: 'empty', pattern: '/var/log/*' },
      {
        type: 'line',
        path: '/etc/hosts',
        match: String.raw`^127\.0\.1\.1\s`,
        line: '127.0.1.1 clone',
        add: true,
      },
      { type: 'line', path: '/etc/ssh/sshd_config', match: '^UseDNS', line: 'UseDNS no', add: true },
      { type: 'line', path: '/etc/ssh/sshd_config', match: '^Port', line: 'Port 2222', add: false },
      { type: 'line', path: '/etc/none', match: 'x', line: 'x', add: true },
      { type: 'replace', pattern: '/etc/netplan/*', from: '52:54:00:aa:bb:01', to: '52:54:00:cc:dd:02' },
      { type: 'write', path: '/etc/soon-gone', content: 'x', mode: 0o644 },
      { type: 'remove', pattern: '/etc/soon-*' },
    ];
    const { changed } = await edit(it, ...edits);
    expect(changed).toContain('/run/through-a-link');
    expect(changed).not.toContain('/etc/none');
    const wanted = {
      '/etc/hostname': '644 0:0 clone\n',
      '/etc/machine-id': `444 0:0 ${'2'.repeat(32)}\n`,
      '/opt/new folder/deep/run': '750 7:8 \ufffd',
      '/run/through-a-link': '600 0:0 x',
      '/etc/empty': '644 0:0 ',
      '/home/a b/.bash_history': '644 0:0 ',
      '/var/log/a.log': '644 0:0 ',
      '/etc/hosts': '644 0:0 127.0.0.1 localhost\n127.0.1.1 clone\n',
      '/etc/ssh/sshd_config': '644 0:0 Port 2222\nUseDNS no\n',
      '/etc/netplan/eth.yaml': '644 0:0 macaddress: 52:54:00:cc:dd:02\n',
    };
    const patterns = [
      '/etc/*',
      '/etc/ssh/*',
      '/etc/netplan/*',
      '/opt/*/deep/*',
      '/run/through*',
      '/var/log/*',
      '/var/log/journal/*',
      '/home/*/.*',
    ];
    expect(await texts(it, ...patterns)).toEqual({ ...wanted, '/usr/lib/os-release': expect.anything() });
    await checked(it);
    await edit(it, ...edits);
    expect(await texts(it, ...patterns)).toEqual({ ...wanted, '/usr/lib/os-release': expect.anything() });
    await checked(it);
  });

  it('links lead nowhere outside the guest', async () => {
    const bait = lab.at(`bait-${type}`);
    await mkdir(join(bait, 'folder'), { recursive: true });
    await writeFile(join(bait, 'file'), 'of the host');
    await writeFile(join(bait, 'folder/secret'), 'of the host');
    const up = '../'.repeat(30);
    const it = await opened(
      lab.raw(
        await lab.filesystem(type, {
          ...linux,
          '/etc/hostname': `->${bait}/file`,
          '/etc/motd': `->${up}${bait.slice(1)}/file`,
          '/etc/ssh': `->${bait}/folder`,
          '/var/lib/dhcp': `->${up}${bait.slice(1)}/folder`,
          '/etc/loop': '->loop',
        }),
      ),
    );
    await edit(
      it,
      { type: 'write', path: '/etc/hostname', content: 'clone', mode: 0o644 },
      { type: 'write', path: '/etc/motd', content: 'hello', mode: 0o644 },
      { type: 'write', path: '/etc/ssh/key', content: 'k', mode: 0o600 },
      { type: 'remove', pattern: '/etc/ssh/*' },
      { type: 'remove', pattern: '/var/lib/dhcp/*' },
      { type: 'empty', pattern: '/var/lib/dhcp/secret' },
      { type: 'remove', pattern: '/etc/ssh' },
    );
    expect(await readFile(join(bait, 'file'), 'utf8')).toBe('of the host');
    expect(await readdir(join(bait, 'folder'))).toEqual(['secret']);
    // It is in the guest that the links lead to.
    expect(await texts(it, `${bait}/*`, '/etc/hostname', '/var/lib/dhcp/*')).toEqual({
      [`${bait}/file`]: '644 0:0 hello',
    });
    expect(
      (await failure(edit(it, { type: 'write', path: '/etc/loop', content: '', mode: 0o644 }))).code,
    ).toBe('unsupported-disk');
    await checked(it);
  });

  it('a full filesystem: nothing is changed, and that is said', async () => {
    const image = await lab.filesystem(type, linux);
    await whileMounted(['mount', '-o', 'loop', image], async (root) => {
      await command(
        'sh',
        '-c',
        'dd if=/dev/zero of="$1/fill" bs=1M status=none 2> /dev/null; sync -f "$1"; dd if=/dev/zero of="$1/fill2" bs=1k status=none 2> /dev/null || true',
        'sh',
        root,
      );
    });
    const before = await digestOf(image);
    const it = await opened(lab.raw(image));
    const much: InsideEdit = { type: 'write', path: '/var/big', content: 'x'.repeat(8_000_000), mode: 0o644 };
    const error = await failure(
      edit(it, { type: 'write', path: '/etc/hostname', content: 'clone', mode: 0o644 }, much),
    );
    expect(error.code).toBe('no-space');
    expect(await digestOf(image)).toBe(before);
  });
});

it('identities are carried over: content, mode and owner, and what is not in the first one goes', async () => {
  const key = randomBytes(400).toString('base64');
  const from = await opened(
    await lab.partitioned(
      'gpt',
      await lab.filesystem('xfs', {
        ...linux,
        '/etc/ssh/ssh_host_ed25519_key': key,
        '/etc/ssh/ssh_host_ed25519_key.pub': 'own',
      }),
    ),
  );
  await edit(from, {
    type: 'write',
    path: '/etc/ssh/ssh_host_ed25519_key',
    content: key,
    mode: 0o600,
    gid: 5,
  });
  const to = await opened(await lab.partitioned('dos', await lab.filesystem('ext4', guest)));
  const before = await digestOf(from.disk.path);
  const said: string[] = [];
  const patterns = ['/etc/hostname', '/etc/machine-id', '/etc/ssh/ssh_host_*'];
  const { carried } = await carryInside(shell, from, to, patterns, {
    signal,
    log: (line) => said.push(line),
    first: cleanEdits(['logs']),
  });
  expect(await texts(to, '/var/log/*')).toEqual({ '/var/log/a.log': '644 0:0 ' });
  expect(carried).toEqual([
    '/etc/hostname',
    '/etc/machine-id',
    '/etc/ssh/ssh_host_ed25519_key',
    '/etc/ssh/ssh_host_ed25519_key.pub',
  ]);
  expect(await texts(to, '/etc/ssh/*')).toEqual({
    '/etc/ssh/ssh_host_ed25519_key': `600 0:5 ${key}`,
    '/etc/ssh/ssh_host_ed25519_key.pub': '644 0:0 own',
    '/etc/ssh/sshd_config': '644 0:0 Port 22',
  });
  expect(said.join()).not.toContain(key.slice(0, 20));
  expect(await digestOf(from.disk.path)).toBe(before);
  await checked(to);
  // The other way round too, from ext4 into XFS.
  await carryInside(shell, to, from, ['/etc/ssh/*'], { signal });
  expect(Object.keys(await texts(from, '/etc/ssh/*'))).toContain('/etc/ssh/sshd_config');
});

it('what is left out of a clone: the report names it before, and nothing of it after', async () => {
  const it = await opened(
    await lab.partitioned(
      'gpt',
      await lab.filesystem('ext4', {
        ...guest,
        '/var/log/apt/history.log': 'past\n',
        '/var/log/apt/history.log.1.gz': 'past\n',
        '/root/.bash_history': '->/dev/null',
        '/root/.ssh/authorized_keys': 'ssh-ed25519 PAST past\n',
        '/root/.ssh/config': 'stays',
        '/home/a b/.ssh/authorized_keys': 'ssh-ed25519 PAST past\n',
        '/home/a b/.ssh/id_ed25519': 'past',
        '/home/a b/.kube/config': 'past',
      }),
    ),
  );
  const told = async (): Promise<string[]> => {
    const { found } = await lookInside(shell, [it.disk], { store: lab.folder, signal });
    return found.filter(({ what }) => cleanKinds.some((kind) => kind === what)).map(({ what }) => what);
  };
  expect(await told()).toEqual([...cleanKinds]);
  await edit(it, ...cleanEdits(['shell-history']));
  expect(await told()).toEqual(['logs', 'authorized-keys', 'secrets']);
  await edit(it, ...cleanEdits(cleanKinds));
  expect(await told()).toEqual([]);
  expect(
    Object.keys(await texts(it, '/var/log/*', '/var/log/*/*', '/home/*/*', '/home/*/.ssh/*', '/root/.ssh/*')),
  ).toEqual([
    '/var/log/a.log',
    '/var/log/apt/history.log',
    '/home/a b/.bash_history',
    '/home/a b/.ssh/authorized_keys',
    '/root/.ssh/authorized_keys',
    '/root/.ssh/config',
  ]);
  // Once more changes nothing, and a link to /dev/null is no history.
  expect((await edit(it, ...cleanEdits(cleanKinds))).changed).toEqual([]);
  await checked(it);
});

it('a linked clone is edited in its own file; the base stays as it is', async () => {
  const base = await lab.partitioned('gpt', await lab.filesystem('ext4', guest));
  await chmod(base.path, 0o444);
  const before = await digestOf(base.path);
  const path = lab.at('linked.qcow2');
  await command('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base.path, '-F', 'qcow2', path);
  const it = await opened({ target: 'vda', path, format: 'qcow2' });
  await edit(it, { type: 'write', path: '/etc/hostname', content: 'linked', mode: 0o644 });
  expect(await texts(it, '/etc/hostname')).toEqual({ '/etc/hostname': '644 0:0 linked' });
  expect(await digestOf(base.path)).toBe(before);
  expect((await stat(path)).size).toBeLessThan(3_000_000);
  await checked(it);
});

it('SELinux labels stay, and new files get their folder’s', async () => {
  const image = await lab.filesystem('ext4', { ...guest, '/etc/selinux/config': 'SELINUX=enforcing\n' });
  const label = (path: string, value: string): string => `ea_set ${path} security.selinux ${value}`;
  const requests = [label('/etc', 'etc_t'), label('/etc/hostname', 'hostname_t')].join('\n');
  await command('sh', '-c', 'printf "%s\\n" "$1" | debugfs -w -f - "$2"', 'sh', requests, image);
  const it = await opened(lab.raw(image));
  await edit(
    it,
    { type: 'write', path: '/etc/hostname', content: 'clone', mode: 0o644 },
    { type: 'write', path: '/etc/own/new', content: 'x', mode: 0o644 },
  );
  const told = await Promise.all(
    ['/etc/hostname', '/etc/own', '/etc/own/new'].map((path) =>
      command('debugfs', '-R', `ea_get ${path} security.selinux`, image),
    ),
  );
  expect(told.map((line) => /"?(\w+_t)/.exec(line)?.[1])).toEqual(['hostname_t', 'etc_t', 'etc_t']);
  await checked(it);
});

it('names that a request could not hold are refused before anything is changed', async () => {
  const image = await lab.filesystem('ext4', linux);
  await whileMounted(['mount', '-o', 'loop', image], async (root) => {
    await mkdir(join(root, 'var/lib/dhcp'), { recursive: true });
    await writeFile(join(root, 'var/lib/dhcp', 'a"\ncd etc\nrm hostname\nb.leases'), '');
    await writeFile(join(root, 'etc', '-w'), 'x');
    await writeFile(join(root, 'etc', '<12>'), 'x');
    await writeFile(join(root, 'etc', '#comment'), 'x');
  });
  const before = await digestOf(image);
  const it = await opened(lab.raw(image));
  expect((await failure(edit(it, { type: 'remove', pattern: '/var/lib/dhcp/*' }))).code).toBe(
    'unsupported-disk',
  );
  expect(await digestOf(image)).toBe(before);
  await edit(
    it,
    { type: 'remove', pattern: '/etc/-w' },
    { type: 'remove', pattern: '/etc/<*' },
    { type: 'remove', pattern: '/etc/#*' },
  );
  expect(Object.keys(await texts(it, '/etc/*'))).toEqual([
    '/etc/hostname',
    '/etc/machine-id',
    '/usr/lib/os-release',
  ]);
  await checked(it);
});

it('a folder of thousands, hard links and a big file', async () => {
  const image = await lab.filesystem('ext4', linux, ['-N', '12000']);
  await whileMounted(['mount', '-o', 'loop', image], async (root) => {
    await mkdir(join(root, 'var/lib/many'), { recursive: true });
    for (let n = 0; n < 3000; n++)
      await writeFile(join(root, `var/lib/many/file with a rather long name ${n}`), '');
    await command('ln', join(root, 'etc/hostname'), join(root, 'etc/hostname.second'));
    await command('dd', 'if=/dev/urandom', `of=${join(root, 'var/big')}`, 'bs=1M', 'count=20', 'status=none');
  });
  const it = await opened(lab.raw(image));
  await edit(
    it,
    { type: 'write', path: '/var/lib/many/one more', content: 'x', mode: 0o644 },
    { type: 'write', path: '/etc/hostname', content: 'clone', mode: 0o644 },
    { type: 'remove', pattern: '/var/lib/many/* 1*' },
    { type: 'empty', pattern: '/var/big' },
  );
  await checked(it);
  expect(await texts(it, '/etc/hostname*', '/var/lib/many/one*')).toEqual({
    '/etc/hostname': '644 0:0 clone',
    '/etc/hostname.second': '644 0:0 source\n',
    '/var/lib/many/one more': '644 0:0 x',
  });
  await edit(it, { type: 'remove', pattern: '/var/lib/many' });
  expect(await texts(it, '/var/lib/many/*')).toEqual({});
  await checked(it);
});

describe('refusals', () => {
  it('a disk that is in use', async () => {
    const it = await opened(await lab.partitioned('gpt', await lab.filesystem('ext4', guest)));
    const user = spawn('qemu-io', ['-f', 'qcow2', it.disk.path], { stdio: ['pipe', 'pipe', 'inherit'] });
    user.stdin.write('length\n');
    await once(user.stdout, 'data');
    const write: InsideEdit = { type: 'write', path: '/etc/hostname', content: '', mode: 0o644 };
    expect((await failure(edit(it, write))).code).toBe('busy');
    user.stdin.end('quit\n');
    await once(user, 'exit');
  });

  it('another filesystem than the one that was found', async () => {
    const it = await opened(lab.raw(await lab.filesystem('ext4', guest)));
    const moved = { ...it, root: { ...it.root, filesystem: 'xfs' as const } };
    expect((await failure(edit(moved))).code).toBe('source-changed');
  });

  it('a path that leaves the guest, a folder where a file is wanted, a filesystem with errors', async () => {
    const image = await lab.filesystem('ext4', guest);
    const it = await opened(lab.raw(image));
    const write = (path: string): InsideEdit => ({ type: 'write', path, content: '', mode: 0o644 });
    expect((await failure(edit(it, write('/etc/../../x')))).code).toBe('invalid-input');
    expect((await failure(edit(it, write('etc/x')))).code).toBe('invalid-input');
    expect((await failure(edit(it, write('/etc')))).code).toBe('unsupported-disk');
    expect((await failure(edit(it, write('/etc/hostname/x')))).code).toBe('unsupported-disk');
    await command('debugfs', '-w', '-R', 'ssv state 3', image);
    expect((await lookInside(shell, [it.disk], { store: lab.folder, signal })).notEditable).toContain(
      'has errors',
    );
    expect((await failure(edit(it, write('/etc/x')))).code).toBe('unsupported-disk');
  });
});

/** The shell of a worker that dies before its n-th effect: from then on nothing it asks for is done. */
function dyingShell(before: number): { shell: Shell; died: () => boolean } {
  let count = 0;
  const step = (): void => {
    if (++count > before) throw new OffshootError('internal', { publicMessage: 'The worker is dead.' });
  };
  const dying: Shell = {
    ...shell,
    run: async (argv, options) => {
      step();
      return shell.run(argv, options);
    },
    rename: async (from, to) => {
      step();
      await shell.rename(from, to);
    },
    sync: async (path) => {
      step();
      await shell.sync(path);
    },
  };
  return { shell: dying, died: () => count > before };
}

it('a worker that dies at any point: the disk is as it was, or as it is to be; the next one finishes it', async () => {
  const master = await lab.partitioned('gpt', await lab.filesystem('ext4', guest));
  const { root } = await opened(master);
  const edits: InsideEdit[] = [
    { type: 'write', path: '/etc/hostname', content: 'clone', mode: 0o644 },
    { type: 'remove', pattern: '/etc/ssh/ssh_host_*' },
  ];
  let old = 0;
  for (let at = 0; ; at++) {
    const disk = { ...master, path: lab.at('dying.qcow2') };
    await command('cp', master.path, disk.path);
    const dying = dyingShell(at);
    await editInside(dying.shell, disk, root, edits, { signal }).catch(() => undefined);
    if (!dying.died()) break;
    const state = Object.values(await texts({ disk, root }, '/etc/hostname', '/etc/ssh/*key')).join();
    expect(['644 0:0 source\n,644 0:0 private', '644 0:0 clone']).toContain(state);
    if (state !== '644 0:0 clone') old++;
    await checked({ disk, root });
    await edit({ disk, root }, ...edits);
    expect(await texts({ disk, root }, '/etc/hostname', '/etc/ssh/*key')).toEqual({
      '/etc/hostname': '644 0:0 clone',
    });
    await checked({ disk, root });
    expect(await leftovers(lab)).toEqual([]);
  }
  expect(old).toBeGreaterThan(3);
});

it('a commit that was cut off half way is finished by the next call', async () => {
  const it = await opened(await lab.partitioned('gpt', await lab.filesystem('ext4', guest)));
  const write: InsideEdit = { type: 'write', path: '/etc/hostname', content: 'clone', mode: 0o644 };
  // Dies after the layer is decided, before it is in the disk.
  const cut: Shell = {
    ...shell,
    run: (argv, options) =>
      argv.includes('commit') ? Promise.reject(new Error('dead')) : shell.run(argv, options),
  };
  await expect(editInside(cut, it.disk, it.root, [write], { signal })).rejects.toThrow('dead');
  expect(await readdir(scratchOf(it.disk))).toContain('decided.qcow2');
  await edit(it);
  expect(await texts(it, '/etc/hostname')).toEqual({ '/etc/hostname': '644 0:0 clone' });
  await checked(it);
  await expect(editInside(cut, it.disk, it.root, [write], { signal })).rejects.toThrow('dead');
  await clearInside(shell, it.disk);
});

it('an aborted edit changes nothing', async () => {
  const it = await opened(await lab.partitioned('gpt', await lab.filesystem('xfs', guest)));
  const before = await digestOf(it.disk.path);
  const stop = new AbortController();
  const watched: Shell = {
    ...shell,
    run: (argv, options) => {
      if (argv.includes('chown') || argv.join(' ').includes('put-0')) stop.abort();
      return shell.run(argv, options);
    },
  };
  const write: InsideEdit = { type: 'write', path: '/etc/hostname', content: 'clone', mode: 0o644 };
  await expect(editInside(watched, it.disk, it.root, [write], { signal: stop.signal })).rejects.toThrow();
  expect(await digestOf(it.disk.path)).toBe(before);
});
