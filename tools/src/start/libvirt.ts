/** This machine's libvirt: the running daemon, or one of our own where nothing runs it. */
import { access, constants, stat } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { OffshootError } from '@offshoot/clone-core/errors';
import { execa } from 'execa';
import { own, startService, untilReady, type Service } from './child.ts';

export interface LibvirtOptions {
  isRoot: boolean;
  logs: string;
  say: (line: string) => void;
}

export interface Libvirt {
  uri: string;
  /** What we started, in the order to stop it. Guests live on without it. */
  services: Service[];
  /** Undoes what else we changed for this run; before the services are stopped. */
  restore(): Promise<void>;
}

/**
 * As root the system's libvirt (`qemu:///system`), otherwise this account's own (`qemu:///session`, which libvirt
 * starts by itself). Starts the daemon only where none answers.
 */
export async function startLibvirt(options: LibvirtOptions): Promise<Libvirt> {
  const nothing = { services: [], restore: () => Promise.resolve() };
  if (!options.isRoot) {
    const uri = 'qemu:///session';
    if (await answers(uri)) return { uri, ...nothing };
    throw new OffshootError('host-unreachable', {
      publicMessage: 'This account’s libvirt (qemu:///session) does not answer.',
      remedy: 'Run "virsh -c qemu:///session list" to see why, or start Offshoot as root.',
    });
  }
  const uri = 'qemu:///system';
  await openKvm(options.say);
  const started = await startDaemons(uri, options);
  const network = await startNetwork(uri, 'default', options.say);
  return { uri, services: started, restore: async () => network?.stop() };
}

/**
 * Where no udev runs, /dev/kvm may belong to root alone. libvirt probes QEMU as root but checks the device for
 * QEMU's account, finds that they differ, and probes again before every single definition (15 s each time here).
 * The owner and mode set are those of Debian's udev rule.
 */
async function openKvm(say: (line: string) => void): Promise<void> {
  try {
    const device = await stat('/dev/kvm');
    const group = await execa('getent', ['group', 'kvm'], { reject: false });
    const gid = Number(group.stdout.split(':')[2]);
    if (group.exitCode !== 0 || (device.gid === gid && (device.mode & 0o060) === 0o060)) return;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return;
    throw error;
  }
  say(
    '  /dev/kvm belongs to root alone; giving it to the group kvm as udev does: chgrp kvm /dev/kvm && chmod 660 /dev/kvm',
  );
  await execa('chgrp', ['kvm', '/dev/kvm']);
  await execa('chmod', ['660', '/dev/kvm']);
}

/** Starts what does not answer; in the order to stop it. */
async function startDaemons(uri: string, { logs, say }: LibvirtOptions): Promise<Service[]> {
  if (await exists('/run/systemd/system')) {
    if (await answers(uri)) return [];
    say('  starting libvirt: systemctl start libvirtd');
    await execa('systemctl', ['start', 'libvirtd']);
    const unit = own({
      name: 'libvirtd',
      ended: new Promise(() => undefined),
      stop: async () => void (await execa('systemctl', ['stop', 'libvirtd'])),
    });
    return [unit];
  }
  const consoles = await startVirtlogd(logs);
  if (await answers(uri)) return consoles;
  const logFile = join(logs, 'libvirtd.log');
  // QEMU processes become orphans by design. tini collects them where the machine's first process does not, which
  // would make libvirt wait for each ended guest as if it still ran.
  const daemon = await startService({ name: 'libvirtd', argv: ['tini', '-s', '--', 'libvirtd'], logFile });
  await untilReady(daemon, logFile, 'libvirt', () => answers(uri), 30_000);
  return [daemon, ...consoles];
}

const VIRTLOGD_SOCKET = '/run/libvirt/virtlogd-sock';

/** virtlogd keeps guests' consoles across restarts of libvirtd. Without it libvirt answers, but starts no guest. */
async function startVirtlogd(logs: string): Promise<Service[]> {
  if (await listens(VIRTLOGD_SOCKET)) return [];
  const logFile = join(logs, 'virtlogd.log');
  const daemon = await startService({ name: 'virtlogd', argv: ['virtlogd'], logFile });
  await untilReady(daemon, logFile, 'virtlogd', () => listens(VIRTLOGD_SOCKET), 10_000);
  return [daemon];
}

/** Whether a process accepts connections there. The socket's file alone outlives a process that was killed. */
export function listens(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(false);
      else reject(error);
    });
  });
}

/**
 * Starts a network of libvirt that is there and stopped, as the default one of a fresh libvirt is. Says so where it
 * can't be started; guests then get user-mode networking. Stopping it again leaves it to guests that still use it:
 * libvirt does not plug running guests into a network that comes back, so they would stay cut off until they restart.
 */
export async function startNetwork(
  uri: string,
  name: string,
  say: (line: string) => void,
): Promise<Service | undefined> {
  const info = await execa('virsh', ['-c', uri, 'net-info', name], {
    reject: false,
    env: { LC_ALL: 'C' },
  });
  if (info.exitCode !== 0 || /^Active:\s+yes/m.test(info.stdout)) return undefined;
  const started = await execa('virsh', ['-c', uri, 'net-start', name], { reject: false });
  if (started.exitCode === 0) {
    let active = true;
    return own({
      name: `network ${name}`,
      ended: new Promise(() => undefined),
      async stop() {
        if (!active) return;
        active = false;
        if (await isUsed(uri, name)) say(`The network ${name} stays on: guests that run use it.`);
        else await execa('virsh', ['-c', uri, 'net-destroy', name]);
      },
    });
  }
  say(
    `  the network "${name}" could not be started (${started.stderr.trim().split('\n').at(-1)}); guests get user-mode networking`,
  );
  return undefined;
}

/** Whether running guests are plugged into it: libvirt counts them on the network's element. */
async function isUsed(uri: string, name: string): Promise<boolean> {
  const { stdout } = await execa('virsh', ['-c', uri, 'net-dumpxml', name]);
  return /<network\b[^>]*\sconnections=['"][1-9]/.test(stdout);
}

async function answers(uri: string): Promise<boolean> {
  return (
    (await execa('virsh', ['-c', uri, 'list', '--name'], { reject: false, timeout: 10_000 })).exitCode === 0
  );
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path, constants.F_OK);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}
