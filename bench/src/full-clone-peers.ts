import { execa } from 'execa';

/** What a user would otherwise run to copy a disk image. Every one ends with the target synced. */
export interface CopyPeer {
  name: string;
  copy(source: string, target: string): Promise<void>;
}

const synced = async (target: string): Promise<void> => {
  await execa('sync', [target]);
};

const qemuImg = (name: string, flags: readonly string[]): CopyPeer => ({
  name,
  copy: async (source, target) => {
    await execa('qemu-img', ['convert', ...flags, '-f', 'qcow2', '-O', 'qcow2', source, target]);
    await synced(target);
  },
});

/** `qemu-img convert` as it is called when nobody thinks about flags. */
export const qemuImgDefault = qemuImg('qemu-img-default', []);

/** Plain `qemu-img convert` with the flags that people who tune it use; the fastest median of these is `qemu-img-best`. */
export const qemuImgVariants: readonly CopyPeer[] = [
  qemuImg('qemu-img -m 16 -t none -T none', ['-m', '16', '-t', 'none', '-T', 'none']),
  qemuImg('qemu-img -W -m 16 -t none -T none', ['-W', '-m', '16', '-t', 'none', '-T', 'none']),
  qemuImg('qemu-img -W -m 16 -t none -T none -o preallocation=metadata', [
    '-W',
    '-m',
    '16',
    '-t',
    'none',
    '-T',
    'none',
    '-o',
    'preallocation=metadata',
  ]),
];

/** The file copied as it is, past the page cache: the disk's own limit. */
export const dd: CopyPeer = {
  name: 'dd',
  copy: async (source, target) => {
    await execa('dd', [
      `if=${source}`,
      `of=${target}`,
      'bs=4M',
      'iflag=direct',
      'oflag=direct',
      'conv=fsync',
      'status=none',
    ]);
  },
};

/** virt-clone of a defined, stopped guest; the caller removes the guest it makes. */
export function virtClone(uri: string, original: string, name: string): CopyPeer {
  return {
    name: 'virt-clone',
    copy: async (_source, target) => {
      await execa('virt-clone', [
        '--connect',
        uri,
        '--original',
        original,
        '--name',
        name,
        '--file',
        target,
        '--quiet',
      ]);
      await synced(target);
    },
  };
}
