/** Small real disks for the tests of disks/inside: filesystems made by their own programs, in every wrapping. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { InsideDisk } from '../../src/disks/inside/types.ts';
import { attempt, command } from './libvirt.lab.ts';

export const MIB = 1024 ** 2;

/** Content; `->…`: a link. */
export type Files = Readonly<Record<string, string>>;

export const linux: Files = {
  '/etc/os-release': '->../usr/lib/os-release',
  '/usr/lib/os-release': 'PRETTY_NAME="Test Linux 1 (tiny)"\nID=test\n',
  '/sbin': '->usr/sbin',
  '/usr/sbin/init': '->/lib/systemd/systemd',
  '/lib': '->usr/lib',
  '/usr/lib/systemd/systemd': 'ELF',
  '/etc/hostname': 'source\n',
  '/etc/machine-id': '11111111111111111111111111111111\n',
};

export interface InsideLab {
  folder: string;
  at(name: string): string;
  /** A folder with these files. */
  tree(files: Files): Promise<string>;
  filesystem(type: 'ext4' | 'xfs' | 'btrfs' | 'ntfs', files: Files, options?: string[]): Promise<string>;
  /** Puts filesystems (or files) into partitions; qcow2. */
  partitioned(label: 'dos' | 'gpt', ...parts: string[]): Promise<InsideDisk>;
  raw(file: string): InsideDisk;
  destroy(): Promise<void>;
}

export async function makeInsideLab(): Promise<InsideLab> {
  // A folder of such a name must do no harm either.
  const folder = await mkdtemp('/var/tmp/offshoot inside, ');
  let count = 0;
  const at = (name: string): string => join(folder, name);
  const fresh = (name: string): string => at(`${++count}-${name}`);
  const tree = async (files: Files): Promise<string> => {
    const root = fresh('tree');
    await put(root, files);
    return root;
  };
  return {
    folder,
    at,
    tree,
    async filesystem(type, files, options = []) {
      const image = fresh(`${type}.img`);
      const size = { ext4: 64, xfs: 300, btrfs: 120, ntfs: 32 }[type];
      await command('truncate', '-s', `${size}M`, image);
      if (type === 'ext4') await command('mkfs.ext4', '-q', '-d', await tree(files), ...options, image);
      else if (type === 'btrfs') await command('mkfs.btrfs', '-q', '--rootdir', await tree(files), image);
      else {
        const [make, mount, ...flags] =
          type === 'xfs' ? ['mkfs.xfs', 'mount', '-o', 'loop'] : ['mkntfs', 'ntfs-3g'];
        await command(make ?? '', ...(type === 'xfs' ? ['-q'] : ['-Q', '-F', '-q']), image);
        await whileMounted([mount ?? '', ...flags, image], (root) => put(root, files));
      }
      return image;
    },
    async partitioned(label, ...parts) {
      const disk = fresh('disk.raw');
      const sizes = await Promise.all(parts.map(async (part) => (await readSize(part)) / MIB));
      const total = sizes.reduce((sum, size) => sum + size, 0);
      await command('truncate', '-s', `${total + 2}M`, disk);
      const lines = sizes.map((size) => `size=${size}MiB`).join('\n');
      const table = fresh('table');
      await writeFile(table, `label: ${label}\nfirst-lba: 2048\n\n${lines}\n`);
      await command('sh', '-c', 'sfdisk -q "$1" < "$2"', 'sh', disk, table);
      let offset = 1;
      for (const [index, part] of parts.entries()) {
        await command(
          'dd',
          `if=${part}`,
          `of=${disk}`,
          'bs=1M',
          `seek=${offset}`,
          'conv=notrunc,sparse',
          'status=none',
        );
        offset += sizes[index] ?? 0;
      }
      const path = fresh('disk.qcow2');
      await command('qemu-img', 'convert', '-O', 'qcow2', disk, path);
      await rm(disk);
      return { target: 'vda', path, format: 'qcow2' };
    },
    raw: (file) => ({ target: 'vda', path: file, format: 'raw' }),
    destroy: () => rm(folder, { recursive: true, force: true }),
  };
}

async function put(root: string, files: Files): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    if (content.startsWith('->')) await symlink(content.slice(2), join(root, path));
    else await writeFile(join(root, path), content, { mode: 0o644 });
  }
  await mkdir(root, { recursive: true });
}

/** For making and judging images; the product never mounts like this. */
export async function whileMounted<T>(
  [program = '', ...words]: readonly string[],
  use: (root: string) => Promise<T>,
): Promise<T> {
  const root = await mkdtemp('/var/tmp/offshoot-inside-mount-');
  try {
    await command(program, ...words, root);
    try {
      return await use(root);
    } finally {
      await command('umount', root);
    }
  } finally {
    await rm(root, { recursive: true });
  }
}

async function readSize(path: string): Promise<number> {
  const file = await open(path, 'r');
  try {
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

export async function digestOf(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

/** Raw bytes of one filesystem of a disk, for its own checker. */
export async function extract(
  lab: InsideLab,
  disk: InsideDisk,
  offset: number,
  size: number,
): Promise<string> {
  const raw = lab.at('extracted.raw');
  const part = lab.at('extracted.img');
  await command('qemu-img', 'convert', '-f', disk.format, '-O', 'raw', disk.path, raw);
  await command(
    'dd',
    `if=${raw}`,
    `of=${part}`,
    'bs=1M',
    `skip=${offset / MIB}`,
    ...(size > 0 ? [`count=${size / MIB}`] : []),
    'conv=sparse',
    'status=none',
  );
  await rm(raw);
  return part;
}

/** What a look or an edit left on this machine: temporary files, processes, loop devices. */
export async function leftovers(lab: InsideLab): Promise<string[]> {
  const files = (await readdir(lab.folder)).filter((name) => /\.inside/.test(name));
  const loops = ((await attempt('losetup', '--list', '--noheadings', '--output', 'BACK-FILE')) ?? '')
    .split('\n')
    .filter((file) => file.includes(lab.folder));
  const running: string[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.includes(lab.folder) && /\.inside/.test(line)) running.push(line.replaceAll('\0', ' '));
  }
  return [...files, ...loops, ...running];
}
