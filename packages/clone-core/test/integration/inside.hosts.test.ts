/** The same over SSH, on hosts that lack something, and in a guest that then starts. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { carryInside, editInside, readInside } from '../../src/disks/inside/edit.ts';
import { lookInside } from '../../src/disks/inside/look.ts';
import type { InsideDisk } from '../../src/disks/inside/types.ts';
import type { InsideEdit } from '../../src/identity/edits.ts';
import { localShell } from '../../src/shell/local.ts';
import type { Shell } from '../../src/shell/shell.ts';
import { sshShell } from '../../src/shell/ssh.ts';
import { extract, leftovers, linux, makeInsideLab, type InsideLab } from './inside.lab.ts';
import { command, defineGuest, inGuest, makeLab, sampleImage, startGuest, type Lab } from './libvirt.lab.ts';
import { hasSshd, NO_SSHD, startSshd, type Sshd } from './sshd.ts';

let inside: InsideLab;
beforeAll(async () => {
  inside = await makeInsideLab();
});
afterAll(() => inside.destroy());
afterEach(async () => expect(await leftovers(inside)).toEqual([]));
const signal = AbortSignal.timeout(170_000);

const identity: InsideEdit[] = [
  { type: 'write', path: '/etc/hostname', content: 'edited-offline\n', mode: 0o644 },
  { type: 'write', path: '/etc/machine-id', content: `${'ab'.repeat(16)}\n`, mode: 0o444 },
  {
    type: 'line',
    path: '/etc/inittab',
    match: 'offshoot-test',
    line: '::sysinit:/bin/touch /run/offshoot-test',
    add: true,
  },
  { type: 'remove', pattern: '/etc/dropbear/*_host_key' },
];

describe.skipIf(!hasSshd)(`over SSH${hasSshd ? '' : ` (${NO_SSHD})`}`, () => {
  let sshd: Sshd;
  let shell: Shell;
  beforeAll(async () => {
    sshd = await startSshd();
    shell = sshShell(sshd.target);
  });
  afterAll(async () => {
    await shell.close();
    await sshd.destroy();
  });

  it.each(['ext4', 'xfs'] as const)('%s is looked at, edited and read', async (type) => {
    const disk = await inside.partitioned('gpt', await inside.filesystem(type, linux));
    const { root, kind } = await lookInside(shell, [disk], { store: inside.folder, signal });
    expect(kind).toBe('linux');
    if (!root) throw new Error('no root');
    await editInside(shell, disk, root, identity, { signal });
    const second = { ...disk, path: inside.at(`second-${type}.qcow2`) };
    await command('cp', disk.path, second.path);
    await editInside(shell, second, root, [{ type: 'remove', pattern: '/etc/hostname' }], { signal });
    await carryInside(shell, { disk, root }, { disk: second, root }, ['/etc/hostname'], { signal });
    const [file] = await readInside(shell, second, root, ['/etc/hostname'], { store: inside.folder, signal });
    expect(Buffer.from(file?.content ?? '', 'base64').toString()).toBe('edited-offline\n');
  });
});

describe('a host that lacks something', () => {
  /** The real shell, on a host where these programs have another name. */
  const without = (...programs: string[]): Shell => {
    const shell = localShell();
    const renamed = (argv: readonly string[]): string[] =>
      argv.map((word) => (programs.includes(word) ? `${word}-is-not-here` : word));
    return {
      ...shell,
      run: (argv, options) => shell.run(renamed(argv), options),
      lines: (argv, options) => shell.lines(renamed(argv), options),
    };
  };

  it.each([
    ['debugfs', 'ext4'],
    ['qemu-storage-daemon', 'ext4'],
    ['blkid', 'ext4'],
    ['ntfs-3g', 'ntfs'],
  ] as const)('%s: the guest is unknown, and why', async (program, type) => {
    const files = type === 'ntfs' ? { '/Windows/System32/ntoskrnl.exe': 'MZ' } : linux;
    const disk = inside.raw(await inside.filesystem(type, files));
    expect(await lookInside(without(program), [disk], { store: inside.folder, signal })).toMatchObject({
      kind: 'unknown',
      why: expect.stringMatching(/^the program .* is not installed on this machine$/),
    });
  });
});

describe('a guest whose disk was edited', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await makeLab();
  });
  afterAll(() => lab.destroy());

  it('starts as what it was made, from a linked clone too', async () => {
    const base = await sampleImage();
    const path = `${lab.store}/disks/inside.qcow2`;
    await command('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', path);
    const disk: InsideDisk = { target: 'vda', path, format: 'qcow2' };
    const shell = localShell();
    const { root } = await lookInside(shell, [disk], { store: lab.store, signal });
    if (!root) throw new Error('no root');
    await editInside(shell, disk, root, identity, { signal });
    const name = 'offshoot-inside-boots';
    await defineGuest(lab, { name, disks: [{ target: 'vda', path, format: 'qcow2' }] });
    await startGuest(name);
    expect((await inGuest(name, '/bin/hostname')).trim()).toBe('edited-offline');
    expect((await inGuest(name, '/bin/cat', '/etc/machine-id')).trim()).toBe('ab'.repeat(16));
    expect(await inGuest(name, '/bin/ls', '/run')).toContain('offshoot-test');
    await inGuest(name, '/bin/sync');
    await command('virsh', 'destroy', name);
    // After a guest that was cut off, too: its journal is played back first.
    await editInside(shell, disk, root, [{ type: 'write', path: '/etc/again', content: 'x', mode: 0o644 }], {
      signal,
    });
    const image = await extract(inside, disk, root.offset, root.sizeBytes);
    await command('e2fsck', '-fn', image);
    const files = await readInside(shell, disk, root, ['/etc/hostname', '/etc/again'], {
      store: lab.store,
      signal,
    });
    expect(files.map((file) => file.path)).toEqual(['/etc/hostname', '/etc/again']);
  });
});
