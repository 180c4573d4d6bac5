/** The store of a chaos run: a small filesystem of its own, so that filling it harms nobody. */
import { chmod, mkdir, open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

export interface Store {
  path: string;
  /** Takes all space but `spare` bytes. Until `free`. */
  fill(spare: number): Promise<void>;
  free(): Promise<void>;
  close(): Promise<void>;
}

const BALLAST = 'chaos-ballast';
/** Names at the root of the store that are not the product's. */
export const foreign: readonly string[] = ['lost+found', BALLAST];

const TRIES = 5;

/** `mount -o loop` asks every loop device of the machine what it is of, and waits for one that hangs. */
async function loopOf(image: string): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const device = (await execa('losetup', ['--find'])).stdout.trim();
    const taken = await execa('losetup', [device, image], { reject: attempt >= TRIES });
    if (taken.exitCode === 0) return device; // else another hand was quicker
  }
}

/** An ext4 of that many bytes on a sparse file in the folder. Root only. */
export async function makeStore(folder: string, bytes: number): Promise<Store> {
  const path = join(folder, 'store');
  const image = join(folder, 'store.img');
  await execa('truncate', ['--size', String(bytes), image]);
  await execa('mkfs.ext4', ['-q', '-m', '0', '-O', '^has_journal', image]);
  await mkdir(path);
  const device = await loopOf(image);
  await execa('mount', [device, path]);
  // Only marked while it is in use: it goes with the last mount of it.
  await execa('losetup', ['--detach', device]);
  await chmod(path, 0o711);
  const ballast = join(path, BALLAST);
  return {
    path,
    async fill(spare) {
      const space = await statfs(path);
      const wanted = space.bavail * space.bsize - spare;
      if (wanted <= 0) return;
      await (await open(ballast, 'a')).close();
      // What the product wrote meanwhile may leave less than that: then it is as full as it gets.
      await execa('fallocate', ['--length', String(wanted), ballast], { reject: false });
    },
    free: () => rm(ballast, { force: true }),
    async close() {
      // A guest that was just ended may hold its disk for another moment: lazily.
      await execa('umount', ['--lazy', path]);
    },
  };
}
