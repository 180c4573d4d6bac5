/** Small filesystems and block devices out of files. Root only. */
import { chmod, mkdir, rm } from 'node:fs/promises';
import { execa } from 'execa';

export const isRoot = process.getuid?.() === 0;

export interface Mounted {
  path: string;
  close(): Promise<void>;
}

/** An ext4 filesystem of that many bytes, mounted at `path`. */
export async function mountSmall(path: string, bytes: number): Promise<Mounted> {
  const image = `${path}.img`;
  await execa('truncate', ['--size', String(bytes), image]);
  await execa('mkfs.ext4', ['-q', '-m', '0', '-O', '^has_journal', image]);
  await mkdir(path, { recursive: true });
  await execa('mount', ['-o', 'loop', image, path]);
  await chmod(path, 0o711);
  return {
    path,
    async close() {
      await execa('umount', [path]);
      await rm(image, { force: true });
    },
  };
}

/** A loop device over the file. */
export async function loopDevice(file: string): Promise<Mounted> {
  const { stdout } = await execa('losetup', ['--find', '--show', file]);
  return {
    path: stdout.trim(),
    close: async () => void (await execa('losetup', ['--detach', stdout.trim()])),
  };
}
