/** Whether this machine can hold a lab. */
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { OffshootError } from '@offshoot/clone-core/errors';

/** Programs, and the Debian package each is in. */
const PROGRAMS = {
  unshare: 'util-linux',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  ip: 'iproute2',
  tc: 'iproute2',
  tini: 'tini',
  ssh: 'openssh-client',
  'ssh-keygen': 'openssh-client',
  sshd: 'openssh-server',
  libvirtd: 'libvirt-daemon-system',
  virtlogd: 'libvirt-daemon-system',
  virsh: 'libvirt-clients',
  'qemu-img': 'qemu-utils',
} as const;
const MORE_PLACES = ['/usr/sbin', '/sbin', '/usr/local/sbin'];

/** Why no lab can be made here, in one sentence with its remedy; undefined: it can. */
export async function obstacle(): Promise<OffshootError | undefined> {
  if (process.platform !== 'linux')
    return new OffshootError('unavailable-mode', {
      publicMessage: 'The lab is made of Linux namespaces; this machine runs no Linux.',
    });
  if (process.getuid?.() !== 0)
    return new OffshootError('permission', {
      publicMessage: 'The lab needs root: it makes namespaces, mounts and network interfaces.',
      remedy: 'Run it again with sudo.',
    });
  const missing = new Set<string>();
  for (const [program, debian] of Object.entries(PROGRAMS))
    if (!(await isThere(program))) missing.add(debian);
  if (missing.size === 0) return undefined;
  return new OffshootError('not-found', {
    publicMessage: `The lab needs packages that are not installed: ${[...missing].join(', ')}.`,
    remedy: `Install them: apt-get install -y --no-install-recommends ${[...missing].join(' ')}`,
  });
}

async function isThere(program: string): Promise<boolean> {
  for (const place of [...(process.env['PATH'] ?? '').split(delimiter), ...MORE_PLACES]) {
    try {
      await access(join(place, program), constants.X_OK);
      return true;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
    }
  }
  return false;
}
