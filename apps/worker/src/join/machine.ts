/** Whether a machine can be a host at all: said before its token is spent. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir } from 'node:fs/promises';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Shell } from '@offshoot/clone-core/shell';

const PATIENCE_MS = 10_000;

/** @throws OffshootError `not-found` without virsh, `host-unreachable` when libvirt does not answer. */
export async function needLibvirt(shell: Shell, uri: string): Promise<void> {
  try {
    await shell.run(['virsh', '-c', uri, 'version'], { timeoutMs: PATIENCE_MS });
  } catch (cause) {
    if (cause instanceof OffshootError && cause.code === 'not-found')
      throw new OffshootError('not-found', {
        publicMessage: 'There is no virsh on this machine, so it can’t be a host.',
        remedy:
          'Install libvirt and QEMU (Debian: libvirt-daemon-system, libvirt-clients, qemu-system-x86, qemu-utils), then join.',
        cause,
      });
    const said = cause instanceof OffshootError ? cause.context['stderr'] : undefined;
    throw new OffshootError('host-unreachable', {
      publicMessage: `libvirt does not answer at ${uri} on this machine, so it can’t be a host.${typeof said === 'string' && said.trim() !== '' ? ` It says: ${said.trim().split('\n').at(-1)}` : ''}`,
      remedy:
        'Start it (systemctl start libvirtd), or name another connection with --uri, then join with the same token.',
      retryable: true,
      cause,
    });
  }
}

/** Makes the folder for disks. @throws OffshootError `permission` when it can't be written to. */
export async function needStore(store: string): Promise<void> {
  try {
    // Guests run as another account: it must be able to pass through.
    await mkdir(store, { recursive: true, mode: 0o711 });
    await access(store, constants.W_OK);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    throw new OffshootError('permission', {
      publicMessage: `The folder for disks, ${store}, ${code === 'EROFS' ? 'is on a filesystem that is mounted read-only' : `can’t be written to${code === '' ? '' : ` (${code})`}`}.`,
      remedy: 'Mend that, or name another folder with --store, then join with the same token.',
      field: 'store',
      cause,
    });
  }
}

/** sha256 of the machine's own id (machine-id(5) asks for it not to be given away as it is); undefined: it has none. */
export async function machineDigest(shell: Shell): Promise<string | undefined> {
  const id = (await shell.readText('/etc/machine-id'))?.trim() ?? '';
  return /^[0-9a-f]{32}$/.test(id) ? createHash('sha256').update(`offshoot ${id}`).digest('hex') : undefined;
}
