/** A real Debian for tests, built once per machine and recipe. */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { command, exists, type Lab } from './libvirt.lab.ts';

const script = join(import.meta.dirname, 'debian-guest.sh');
const cache = resolve(import.meta.dirname, '../../../../.data/cache');

export interface DebianImage {
  disk: string;
  /** What boots it, for a definition's `<os>`. */
  os: string;
}

/** `bare`: without cloud-init. Builds it when this machine has none of this recipe; copied to where QEMU may read it. */
export async function debianImage(lab: Lab, kind: 'cloud' | 'bare'): Promise<DebianImage> {
  const recipe = createHash('sha256')
    .update(await readFile(script))
    .digest('hex')
    .slice(0, 12);
  const folder = join(process.env['OFFSHOOT_DEBIAN_CACHE'] ?? cache, `debian-${kind}-${recipe}`);
  const disk = join(folder, 'disk.qcow2');
  if (!(await exists(disk))) await command('bash', script, folder, kind);
  const to = join(lab.root, kind);
  await mkdir(to);
  for (const file of ['disk.qcow2', 'vmlinuz', 'initrd.img'])
    await copyFile(join(folder, file), join(to, file));
  return {
    disk: join(to, 'disk.qcow2'),
    os: `<kernel>${to}/vmlinuz</kernel><initrd>${to}/initrd.img</initrd><cmdline>root=/dev/vda1 ro console=ttyS0 quiet</cmdline>`,
  };
}
