/** A service that this start owns: logs to a file, dies with us, is stopped by its own process id. */
import { spawn, type ChildProcess } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { OffshootError } from '@offshoot/clone-core/errors';

export interface Service {
  name: string;
  /** Of the program; undefined where it is no process of ours. */
  pid?: number | undefined;
  /** Resolves when the process has ended, whoever ended it. */
  ended: Promise<void>;
  /** Asks it to end and waits; KILL after the grace. */
  stop(): Promise<void>;
}

export interface ServiceOptions {
  name: string;
  argv: readonly string[];
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  logFile: string;
  /** What a polite stop is; it is also sent by the kernel when we die. Default TERM. */
  stopSignal?: 'TERM' | 'INT';
  /** Milliseconds before KILL. */
  graceMs?: number;
  /** Run as this user (root only). */
  user?: { uid: number; gid: number };
  /** An IPC channel, for children that say when they are ready. */
  ipc?: boolean;
}

/** Everything started here, in order; what a failed start must not leave behind. */
const started: Service[] = [];
let stopping: Promise<void> | undefined;

/** Services that run because of this process, in the order they were started. */
export const ownServices = (): readonly Service[] => started;

/** Something else that must be stopped in its turn. */
export function own<T extends Service>(service: T): T {
  started.push(service);
  return service;
}

/** Stops everything, the last started first. From now on nothing can be started. Safe to call again. */
export function stopServices(): Promise<void> {
  stopping ??= (async () => {
    for (const service of started.toReversed()) await service.stop();
  })();
  return stopping;
}

/** Starts the program in a process group of its own, so that the terminal's Ctrl-C reaches only us. */
export async function startService(options: ServiceOptions): Promise<Service & { child: ChildProcess }> {
  const { name, argv, logFile, stopSignal = 'TERM', graceMs = 8000, user } = options;
  if (stopping)
    throw new OffshootError('cancelled', {
      publicMessage: `${name} was not started: everything is being stopped.`,
    });
  const log = await open(logFile, 'a', 0o600);
  const drop = user === undefined ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'];
  const child = spawn('setpriv', [...drop, '--pdeathsig', stopSignal, '--', ...argv], {
    detached: true,
    stdio: ['ignore', log.fd, log.fd, ...(options.ipc === true ? (['ipc'] as const) : [])],
    env: options.env ?? process.env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const service = own({
    name,
    child,
    pid: child.pid,
    ended,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill(`SIG${stopSignal}`);
      const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
      await ended;
      clearTimeout(timer);
    },
  });
  await log.close();
  return service;
}

/** Waits until `check` resolves to true; fails at once when the service ends, with the last lines of its log. */
export async function untilReady(
  service: Service,
  logFile: string,
  what: string,
  check: () => Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  let over = false;
  void service.ended.then(() => (over = true));
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    if (await check()) return;
    if (over || Date.now() > deadline) {
      throw new OffshootError('command-failed', {
        publicMessage: `${what} did not start. The end of ${logFile}:\n${await lastLines(logFile)}`,
        remedy: 'Mend what it says, then start again.',
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
}

async function lastLines(path: string): Promise<string> {
  return (await readFile(path, 'utf8')).trimEnd().split('\n').slice(-6).join('\n');
}
