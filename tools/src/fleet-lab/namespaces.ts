/** A host's namespaces: mounts, network, processes and name of its own. Everything in them ends with their first process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OffshootError } from '@offshoot/clone-core/errors';
import { execa } from 'execa';
import { childrenOf, isGone, processes } from '../chaos/processes.ts';
import { MARK } from './layout.ts';

const SEPARATE = ['--mount', '--net', '--pid', '--uts', '--fork', '--mount-proc', '--kill-child'] as const;
/** Kept apart from this machine's, in the host's folder; /run is empty at each start. */
const PRIVATE = {
  '/var/lib/libvirt': 'lib',
  '/etc/libvirt': 'etc',
  '/var/log/libvirt': 'log',
  '/var/cache/libvirt': 'cache',
} as const;
const POLL_MS = 10;

/** The first process of a host, as this machine numbers it. */
export interface Init {
  pid: number;
  started: string;
}

/** Environment of what is started in a lab: nothing of ours but the way to programs, and the mark. */
export const markedEnvironment = (id: string, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  HOME: process.env['HOME'] ?? '/root',
  LC_ALL: 'C',
  [MARK]: id,
  ...more,
});

/** Start of a process in clock ticks since the machine's (field 22 of proc(5)'s stat); undefined when it is gone. */
export async function startOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

export const isAlive = async (init: Init): Promise<boolean> => (await startOf(init.pid)) === init.started;

/**
 * Begins namespaces. `attached`: they end with the process that asks, also when that is killed.
 * @throws OffshootError `permission` when the kernel refuses them.
 */
export async function beginNamespaces(id: string, attached: boolean): Promise<Init> {
  const inner = ['unshare', ...SEPARATE, '--', 'tini', '--', 'sleep', 'infinity'];
  const [program = '', ...args] = attached ? ['setpriv', '--pdeathsig', 'KILL', '--', ...inner] : inner;
  const child = spawn(program, args, {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: markedEnvironment(id),
  });
  let errors = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const over = once(child, 'exit');
  over.catch(() => undefined); // a program that is missing; told below
  for (;;) {
    // tini is not there until unshare has made the namespaces and mounted /proc in them.
    const pid = child.pid === undefined ? undefined : await tiniBelow(child.pid);
    if (pid !== undefined) {
      const started = await startOf(pid);
      if (started !== undefined) {
        child.stderr?.destroy();
        child.unref();
        return { pid, started };
      }
    }
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null)
      throw new OffshootError('permission', {
        publicMessage: `This machine makes no namespaces: ${errors.trim().split('\n').at(-1) ?? 'unshare ended'}.`,
        remedy:
          'The lab needs root with the right to unshare and mount; in a container that is --privileged.',
      });
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function tiniBelow(pid: number): Promise<number | undefined> {
  for (const child of await childrenOf(pid)) {
    try {
      if ((await readFile(`/proc/${child}/cmdline`, 'utf8')).startsWith('tini\0')) return child;
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  return undefined;
}

/** The command line that runs `argv` inside. */
export const entering = (init: Init, argv: readonly string[]): [string, ...string[]] => [
  'nsenter',
  `--target=${init.pid}`,
  '--mount',
  '--net',
  '--pid',
  '--uts',
  '--',
  ...argv,
];

/** Runs a program inside and resolves with its output. Rejects as execa does. */
export async function runInside(id: string, init: Init, argv: readonly string[]): Promise<string> {
  const [program, ...args] = entering(init, argv);
  const done = await execa(program, args, {
    stdin: 'ignore',
    env: markedEnvironment(id),
    extendEnv: false,
    timeout: 60_000,
  });
  return done.stdout;
}

/** Gives the namespaces their folders and their name. `hosts`: lines of /etc/hosts. */
export async function furnish(
  id: string,
  init: Init,
  host: { name: string; folder: string; uuid: string; hosts: string },
): Promise<void> {
  const { name, folder, uuid } = host;
  for (const inner of Object.values(PRIVATE))
    await mkdir(join(folder, inner), { recursive: true, mode: 0o755 });
  for (const file of (await readdir('/etc/libvirt')).filter((each) => each.endsWith('.conf')))
    await copyFile(join('/etc/libvirt', file), join(folder, 'etc', file));
  const network = '/etc/libvirt/qemu/networks/default.xml';
  await mkdir(join(folder, 'etc/qemu/networks'), { recursive: true });
  await copyIfThere(
    '/usr/share/libvirt/networks/default.xml',
    join(folder, 'etc/qemu/networks/default.xml'),
    network,
  );
  // Two hosts with one UUID are one host to libvirt: it would refuse to migrate between them.
  await writeFile(
    join(folder, 'etc/libvirtd.conf'),
    [
      `host_uuid = "${uuid}"`,
      'unix_sock_group = "root"',
      'auth_unix_rw = "none"',
      'log_outputs = "3:file:/var/log/libvirt/libvirtd.log"',
      '',
    ].join('\n'),
  );
  await writeFile(join(folder, 'hosts'), host.hosts);
  await runInside(id, init, ['mount', '-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', '/run']);
  for (const [path, inner] of Object.entries(PRIVATE))
    await runInside(id, init, ['mount', '--bind', join(folder, inner), path]);
  await runInside(id, init, ['mount', '--bind', join(folder, 'hosts'), '/etc/hosts']);
  // Control groups are the machine's: guests of one name on two hosts would share one, and it would stay behind. Without
  // them libvirt runs guests all the same.
  await runInside(id, init, ['umount', '--recursive', '--lazy', '/sys/fs/cgroup']);
  await runInside(id, init, ['mkdir', '-p', '/run/sshd', '/run/lock']);
  await runInside(id, init, ['hostname', name]);
}

async function copyIfThere(first: string, to: string, otherwise: string): Promise<void> {
  for (const from of [first, otherwise]) {
    try {
      await copyFile(from, to);
      return;
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
}

/** Processes of a lab, by the mark in their environment, and the first ones of its hosts. */
export async function processesOf(id: string): Promise<number[]> {
  const marked = await Promise.all(
    (await processes()).map(async ({ pid }) =>
      (await environmentOf(pid)).includes(`${MARK}=${id}`) ? pid : undefined,
    ),
  );
  return marked.filter((pid) => pid !== undefined);
}

async function environmentOf(pid: number): Promise<string[]> {
  try {
    return (await readFile(`/proc/${pid}/environ`, 'utf8')).split('\0');
  } catch (error) {
    // Processes of others can't be read, and are none of ours.
    if (isGone(error) || (error instanceof Error && 'code' in error && error.code === 'EACCES')) return [];
    throw error;
  }
}
