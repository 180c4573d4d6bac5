/** Namespaces of one's own: a libvirt in them may be restarted, and everything in them ends with the run. */
import { spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OffshootError } from '@offshoot/clone-core/errors';
import { execa } from 'execa';

const INSIDE = 'OFFSHOOT_NAMESPACES_INSIDE';
/** What a libvirt keeps and listens on. */
const PRIVATE = [
  '/run',
  '/var/lib/libvirt',
  '/etc/libvirt',
  '/var/log/libvirt',
  '/var/cache/libvirt',
] as const;
/** Options of unshare; all in it ends with the first process. */
const SEPARATE = ['--mount', '--net', '--pid', '--fork', '--mount-proc', '--kill-child'] as const;

export const isInside = (): boolean => process.env[INSIDE] === '1';

/** Whether this account may make such namespaces here: root outside of narrow containers may. */
export async function canRunInside(): Promise<boolean> {
  if (process.getuid?.() !== 0) return false;
  const tried = await execa('unshare', [...SEPARATE, '--', 'mount', '-t', 'tmpfs', 'tmpfs', '/run'], {
    reject: false,
  });
  return tried.exitCode === 0;
}

/**
 * Runs this command again in mount, network and process namespaces of its own, with these words after its name;
 * resolves with its exit code. There is no way out of them to a network. @throws OffshootError `permission` unless root.
 */
export async function runInside(words: readonly string[] = process.argv.slice(2)): Promise<number> {
  if (process.getuid?.() !== 0)
    throw new OffshootError('permission', {
      publicMessage: '--isolated needs root: it makes namespaces and mounts.',
    });
  const [script = ''] = process.argv.slice(1);
  const child = spawn(
    'unshare',
    [...SEPARATE, '--', 'tini', '-s', '--', process.execPath, '--import', 'tsx', script, ...words],
    { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, [INSIDE]: '1' } },
  );
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => child.kill(name));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

/** Makes the namespaces habitable: private folders for libvirt, with the machine's configuration, and a loopback. */
export async function moveIn(): Promise<void> {
  const kept = await mkdtemp(join(tmpdir(), 'offshoot-etc-'));
  try {
    const files = (await readdir('/etc/libvirt')).filter((name) => name.endsWith('.conf'));
    for (const name of files) await copyFile(join('/etc/libvirt', name), join(kept, name));
    for (const folder of PRIVATE) await execa('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', folder]);
    for (const name of files) await copyFile(join(kept, name), join('/etc/libvirt', name));
    await mkdir('/run/lock', { recursive: true });
    await execa('ip', ['link', 'set', 'lo', 'up']);
  } finally {
    await rm(kept, { recursive: true });
  }
}
