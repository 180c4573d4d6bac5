/** What runs on a host of the lab: an SSH server, libvirt's log daemon, libvirtd. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OffshootError } from '@offshoot/clone-core/errors';
import { execa } from 'execa';
import { argvOf, childrenOf, signal } from '../chaos/processes.ts';
import { runInside, type Init } from './namespaces.ts';

const POLL_MS = 40;
const READY_MS = 60_000;

export interface Keys {
  /** Logs in to every host of the lab as root. */
  file: string;
  public: string;
}

/** Makes the lab's key, once. */
export async function labKeys(folder: string): Promise<Keys> {
  const file = join(folder, 'id_ed25519');
  try {
    return { file, public: await readFile(`${file}.pub`, 'utf8') };
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  await keygen(file, 'offshoot-lab');
  return { file, public: await readFile(`${file}.pub`, 'utf8') };
}

const keygen = async (file: string, comment: string): Promise<void> => {
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', comment, '-f', file], {
    stdin: 'ignore',
  });
};

/** Starts sshd with a key of the host's own. Resolves with the public one. */
export async function startSshd(id: string, init: Init, folder: string, keys: Keys): Promise<string> {
  const hostKey = join(folder, 'ssh_host_ed25519');
  await keygen(hostKey, 'host');
  await writeFile(join(folder, 'authorized_keys'), keys.public, { mode: 0o600 });
  await writeFile(
    join(folder, 'sshd_config'),
    [
      'Port 22',
      `HostKey ${hostKey}`,
      `AuthorizedKeysFile ${join(folder, 'authorized_keys')}`,
      'PidFile /run/sshd.pid',
      'PermitRootLogin prohibit-password',
      'PasswordAuthentication no',
      'UsePAM no',
      // The lab's folder is below /var/tmp, which anyone may write to.
      'StrictModes no',
      'MaxStartups 100',
      'Subsystem sftp internal-sftp',
      '',
    ].join('\n'),
  );
  await runInside(id, init, ['/usr/sbin/sshd', '-f', join(folder, 'sshd_config')]);
  return readFile(`${hostKey}.pub`, 'utf8');
}

/** Starts virtlogd and libvirtd where they do not run; resolves when libvirt answers. */
export async function startLibvirtd(id: string, init: Init): Promise<void> {
  for (const daemon of ['virtlogd', 'libvirtd'])
    if ((await named(init, daemon)).length === 0) await runInside(id, init, [daemon, '-d']);
  const deadline = Date.now() + READY_MS;
  for (;;) {
    try {
      await runInside(id, init, ['virsh', '-q', '-c', 'qemu:///system', 'list', '--name']);
      return;
    } catch (error) {
      if (Date.now() > deadline)
        throw new OffshootError('host-unreachable', {
          publicMessage: 'libvirt of a host did not answer within a minute.',
          remedy: 'Its log is log/libvirtd.log in the host’s folder.',
          cause: error,
        });
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Starts the network of a fresh libvirt, for guests that ask for it. */
export async function startDefaultNetwork(id: string, init: Init): Promise<void> {
  const [program, ...args] = ['virsh', '-q', '-c', 'qemu:///system', 'net-start', 'default'];
  try {
    await runInside(id, init, [program ?? '', ...args]);
  } catch (error) {
    if (!/already active|not found/i.test(error instanceof Error ? error.message : '')) throw error;
  }
}

/** KILL, at once; guests run on. Resolves to how many there were. */
export async function killLibvirtd(init: Init): Promise<number> {
  const pids = await named(init, 'libvirtd');
  for (const pid of pids) signal(pid, 'SIGKILL');
  return pids.length;
}

async function named(init: Init, name: string): Promise<number[]> {
  const below = await childrenOf(init.pid);
  const found = await Promise.all(
    below.map(async (pid) => ((await argvOf(pid))?.[0] === name ? pid : undefined)),
  );
  return found.filter((pid) => pid !== undefined);
}
