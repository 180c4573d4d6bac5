/** An Offshoot worker on a host of the lab. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OffshootError } from '@offshoot/clone-core/errors';
import { childrenOf, signal } from '../chaos/processes.ts';
import { entering, markedEnvironment, processesOf, type Init } from './namespaces.ts';

const repository = join(import.meta.dirname, '../../..');
const READY_MS = 60_000;

export interface Portal {
  databaseUrl: string;
  redisUrl: string;
}

export interface LabWorker {
  /** As this machine numbers it. */
  pid: number;
  logFile: string;
  ended: Promise<void>;
  /** TERM: it gives its work back. */
  stop(): Promise<void>;
  /** KILL, at once. */
  kill(): Promise<void>;
}

export interface WorkerPlace {
  id: string;
  init: Init;
  name: string;
  address: string;
  folder: string;
  store: string;
  /** It ends with this process. */
  attached: boolean;
  /** Run what was built (as `npm start` does), or the sources. */
  program: 'built' | 'sources';
  environment?: NodeJS.ProcessEnv;
}

/** Starts a worker that serves the host under its own name; resolves when it takes work. */
export async function startLabWorker(place: WorkerPlace, portal: Portal): Promise<LabWorker> {
  const { id, init, name, folder } = place;
  const logFile = join(folder, 'worker.log');
  const main =
    place.program === 'built'
      ? ['--enable-source-maps', join(repository, 'apps/worker/dist/main.js')]
      : // Inside, the working directory is another.
        ['--import', import.meta.resolve('tsx'), join(repository, 'apps/worker/src/main.ts')];
  // Inside, the kernel's signal for a parent's death would be nsenter's: that one gets it, and its child too.
  const mortal = place.attached ? ['setpriv', '--pdeathsig', 'KILL', '--'] : [];
  const [program = '', ...args] = [...mortal, ...entering(init, [...mortal, process.execPath, ...main])];
  const log = await open(logFile, 'a', 0o600);
  const child = spawn(program, args, {
    detached: true,
    cwd: repository,
    stdio: ['ignore', log.fd, log.fd, 'ipc'],
    env: markedEnvironment(id, {
      DATABASE_URL: portal.databaseUrl,
      REDIS_URL: portal.redisUrl,
      OFFSHOOT_HOST_ID: name,
      OFFSHOOT_HOST_NAME: name,
      OFFSHOOT_STORE: place.store,
      OFFSHOOT_LIBVIRT_URI: 'qemu:///system',
      OFFSHOOT_PEER_ADDRESS: place.address,
      ...place.environment,
    }),
  });
  await log.close();
  const ended = once(child, 'exit').then(() => undefined);
  const ready = new Promise<'ready'>((resolve) => child.once('message', () => resolve('ready')));
  const timeout = new Promise<'timeout'>((resolve) => setTimeout(() => resolve('timeout'), READY_MS).unref());
  const first = await Promise.race([ready, timeout, ended]);
  if (first !== 'ready')
    throw new OffshootError('command-failed', {
      publicMessage: `The worker of ${name} did not start. The end of ${logFile}:\n${(await readFile(logFile, 'utf8')).trimEnd().split('\n').slice(-12).join('\n')}`,
    });
  if (child.connected) child.disconnect();
  child.unref();
  // nsenter waits for it, outside of the host's processes.
  const [pid = 0] = await childrenOf(child.pid ?? 0);
  const send = async (kind: NodeJS.Signals): Promise<void> => {
    signal(pid, kind);
    await ended;
  };
  return { pid, logFile, ended, stop: () => send('SIGTERM'), kill: () => send('SIGKILL') };
}

/** Whether a worker runs on the host. */
export async function hasWorker(id: string, name: string): Promise<boolean> {
  const environments = await Promise.all(
    (await processesOf(id)).map((pid) => readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')),
  );
  return environments.some((text) => text.split('\0').includes(`OFFSHOOT_HOST_ID=${name}`));
}
