/** A box to run the guests' scripts in: namespaces and a root of its own, with the programs of this machine or BusyBox. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export interface BoxRun {
  code: number;
  stdout: string;
  stderr: string;
}

export interface Box {
  root: string;
  /** Host name and processes are gone after each run; files stay. */
  run(script: string, args?: readonly string[], input?: string): Promise<BoxRun>;
  read(path: string): Promise<string>;
  write(path: string, content: string): Promise<void>;
  has(path: string): boolean;
  close(): Promise<void>;
}

const tools = ['unshare', 'setpriv', 'chroot', 'mount'];

/** Why no box can be made here; undefined: it can. */
export function noBox(busybox?: string): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root: it makes namespaces';
  const missing = tools.find(
    (tool) => !['/usr/bin', '/usr/sbin'].some((folder) => existsSync(join(folder, tool))),
  );
  if (missing !== undefined) return `${missing} is not installed`;
  return busybox !== undefined && !existsSync(busybox) ? `${busybox} is not installed` : undefined;
}

/**
 * Own mounts, host name, network and processes. The clock is everyone's: the right to set it is dropped. $1: root, then `sh -c`'s
 * arguments.
 */
const enter = `
set -e
root=$1; shift
if [ -e "$root/.usr" ]; then
  mount --bind /usr "$root/usr"
  # The disks are everyone's too, and may be busy for minutes.
  mount --bind /usr/bin/true "$root/usr/bin/sync"
fi
mount -t proc proc "$root/proc"
mount -t sysfs sys "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mount --bind /dev "$root/dev"
ip link set lo up
ip route add default dev lo
[ ! -e "$root/etc/hostname" ] || hostname "$(cat "$root/etc/hostname")"
exec setpriv --bounding-set=-sys_time chroot "$root" /bin/sh -c "$@"
`;

/** `busybox`: path of a static BusyBox that the box has instead of this machine's programs. */
export async function makeBox(busybox?: string): Promise<Box> {
  const root = await mkdtemp(join(tmpdir(), 'offshoot-box-'));
  for (const folder of [
    'usr',
    'proc',
    'sys',
    'run',
    'dev',
    'etc',
    'var/lib',
    'var/log',
    'root',
    'tmp',
    'home',
  ])
    await mkdir(join(root, folder), { recursive: true });
  if (busybox === undefined) {
    await writeFile(join(root, '.usr'), '');
    for (const name of ['bin', 'sbin', 'lib', 'lib64']) await symlink(`usr/${name}`, join(root, name));
  } else {
    await mkdir(join(root, 'bin'));
    await writeFile(join(root, 'bin/busybox'), await readFile(busybox), { mode: 0o755 });
    const applets = await command(busybox, ['--list']);
    for (const name of applets.stdout.split('\n').filter((each) => each !== '' && each !== 'busybox'))
      await symlink(name === 'sync' ? 'true' : 'busybox', join(root, 'bin', name));
  }
  const box: Box = {
    root,
    run: (script, args = [], input = '') =>
      command(
        'unshare',
        [
          '--mount',
          '--uts',
          '--net',
          '--pid',
          '--fork',
          '--kill-child',
          'sh',
          '-c',
          enter,
          'enter',
          root,
          script,
          'offshoot',
          ...args,
        ],
        input,
      ),
    read: (path) => readFile(join(root, path), 'utf8'),
    async write(path, content) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), content);
    },
    has: (path) => existsSync(join(root, path)),
    close: () => rm(root, { recursive: true, force: true }),
  };
  await box.write('/etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n');
  await box.write('/etc/shadow', 'root:*:19000:0:99999:7:::\n');
  await box.write('/etc/group', 'root:x:0:\n');
  return box;
}

function command(program: string, args: readonly string[], input = ''): Promise<BoxRun> {
  return new Promise((resolve) => {
    const child = execFile(program, args, { timeout: 60_000 }, (error, stdout, stderr) => {
      const code = typeof error?.code === 'number' ? error.code : error ? -1 : 0;
      resolve({ code, stdout, stderr });
    });
    child.stdin?.end(input);
  });
}
