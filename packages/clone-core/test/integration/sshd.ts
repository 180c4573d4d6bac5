/** A real OpenSSH server on a free port of this machine, with keys of its own, for tests. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { SshTarget } from '../../src/shell/ssh.ts';
import { until } from '../conformance/until.ts';

const SSHD = '/usr/sbin/sshd';

export const hasSshd = existsSync(SSHD);
export const NO_SSHD = 'no OpenSSH server here: install the package openssh-server';

export interface Sshd {
  target: SshTarget;
  folder: string;
  /** Ends the server's sessions and the server. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Ends the sessions that are open, as a lost network would; the server stays. */
  dropSessions(): Promise<void>;
  destroy(): Promise<void>;
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('data', () => socket.end(() => resolve(true)));
    socket.once('error', () => resolve(false));
  });
}

/** Pids of the processes a process has started, of any depth. */
function descendants(pid: number): number[] {
  const path = `/proc/${pid}/task/${pid}/children`;
  if (!existsSync(path)) return [];
  const children = readFileSync(path, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

export async function startSshd(): Promise<Sshd> {
  const folder = mkdtempSync(join(tmpdir(), 'offshoot-sshd-'));
  for (const name of ['host', 'user'])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', join(folder, name)]);
  const port = await freePort();
  writeFileSync(
    join(folder, 'config'),
    [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${join(folder, 'host')}`,
      `AuthorizedKeysFile ${join(folder, 'user.pub')}`,
      'StrictModes no',
      'UsePAM no',
      'PidFile none',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'PermitRootLogin prohibit-password',
    ].join('\n'),
  );
  if (userInfo().uid === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const fingerprint =
    /SHA256:\S+/.exec(
      execFileSync('ssh-keygen', ['-l', '-f', join(folder, 'host.pub')], { encoding: 'utf8' }),
    )?.[0] ?? '';
  let server: ChildProcess | undefined;
  const dropSessions = async (): Promise<void> => {
    const own =
      server?.pid === undefined
        ? []
        : descendants(server.pid).filter((pid) =>
            readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('sshd'),
          );
    for (const pid of own) process.kill(pid, 'SIGKILL');
  };
  const stop = async (): Promise<void> => {
    await dropSessions();
    const ending = server;
    server = undefined;
    if (!ending) return;
    const ended = new Promise((resolve) => ending.once('exit', resolve));
    ending.kill('SIGKILL');
    await ended;
  };
  const start = async (): Promise<void> => {
    server = spawn(SSHD, ['-D', '-e', '-f', join(folder, 'config')], { stdio: 'ignore' });
    await until(() => answers(port), 'sshd to answer');
  };
  await start();
  const target = {
    host: '127.0.0.1',
    port,
    user: userInfo().username,
    name: 'testhost',
    privateKey: readFileSync(join(folder, 'user')),
    hostKeySha256: fingerprint,
  };
  return {
    target,
    folder,
    start,
    stop,
    dropSessions,
    async destroy() {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
