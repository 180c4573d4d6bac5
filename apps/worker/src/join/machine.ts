/** Whether a machine can be a host at all: said before its token is spent. */
import { createHash } from 'node:crypto';
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
        publicMessage: `There is no virsh on ${shell.where}, so it can’t be a host.`,
        remedy:
          'Install libvirt and QEMU (Debian: libvirt-daemon-system, libvirt-clients, qemu-system-x86, qemu-utils), then join.',
        cause,
      });
    if (cause instanceof OffshootError && cause.code !== 'command-failed' && cause.code !== 'timeout')
      throw cause;
    const said = cause instanceof OffshootError ? cause.context['stderr'] : undefined;
    throw new OffshootError('host-unreachable', {
      publicMessage: `libvirt does not answer at ${uri} on ${shell.where}, so it can’t be a host.${typeof said === 'string' && said.trim() !== '' ? ` It says: ${said.trim().split('\n').at(-1)}` : ''}`,
      remedy:
        'Start it (systemctl start libvirtd), or name another connection with --uri, then join with the same token.',
      retryable: true,
      cause,
    });
  }
}

/** Makes the folder for disks. @throws OffshootError `permission` when it can't be written to. */
export async function needStore(shell: Shell, store: string): Promise<void> {
  let why = '';
  try {
    await shell.mkdir(store);
    // Guests run as another account: it must be able to pass through.
    const { code } = await shell.run(['test', '-w', store], { okCodes: [0, 1] });
    if (code === 0) return;
  } catch (cause) {
    if (cause instanceof OffshootError && cause.code === 'host-unreachable') throw cause;
    why = cause instanceof Error ? cause.message : String(cause);
  }
  const readOnly = /EROFS|[Rr]ead-only/.test(why) || (await mountedReadOnly(shell, store));
  throw new OffshootError('permission', {
    publicMessage: `The folder for disks, ${store} on ${shell.where}, ${readOnly ? 'is on a filesystem that is mounted read-only' : 'can’t be written to'}.`,
    remedy: 'Mend that, or name another folder with --store, then join with the same token.',
    field: 'store',
    context: { why },
  });
}

async function mountedReadOnly(shell: Shell, store: string): Promise<boolean> {
  const { stdout } = await shell.run(['findmnt', '-n', '-o', 'OPTIONS', '-T', store], { okCodes: [0, 1] });
  return stdout.trim().split(',').includes('ro');
}

/** sha256 of the machine's own id (machine-id(5) asks for it not to be given away as it is); undefined: it has none. */
export async function machineDigest(shell: Shell): Promise<string | undefined> {
  const id = (await shell.readText('/etc/machine-id'))?.trim() ?? '';
  return /^[0-9a-f]{32}$/.test(id) ? createHash('sha256').update(`offshoot ${id}`).digest('hex') : undefined;
}
