import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { FleetOptions } from '@offshoot/worker/testing/simulated-fleet';
import type { MemoryUse } from './memory.ts';
import type { FleetOrder } from './process.ts';

export interface FleetProcess {
  pid: number;
  openLanes(): Promise<void>;
  /** Has every host looked at so many times. */
  look(times: number, atOnce: number): Promise<void>;
  /** What it holds after a collection. */
  memory(): Promise<MemoryUse>;
  stop(): Promise<void>;
}

/** Starts it; resolves when all its hosts have registered and told of their guests. */
export async function startFleetProcess(options: FleetOptions): Promise<FleetProcess> {
  const child = fork(fileURLToPath(new URL('./process.ts', import.meta.url)), {
    execArgv: ['--expose-gc', '--import', 'tsx'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  await order(child, { open: options });
  return {
    pid: child.pid ?? 0,
    openLanes: async () => void (await order(child, 'lanes')),
    look: async (times, atOnce) => void (await order(child, { look: { times, atOnce } })),
    memory: () => order(child, 'memory') as Promise<MemoryUse>,
    async stop() {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      // Thousands of connections say goodbye one by one; nobody waits for that.
      await Promise.race([order(child, 'stop'), new Promise((resolve) => setTimeout(resolve, 5000))]);
      child.kill('SIGKILL');
      await gone;
    },
  };
}

/** One order at a time; resolves with the answer. */
function order(child: ChildProcess, what: FleetOrder): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null): void => reject(new Error(`the fleet's process ended with ${code}`));
    child.once('exit', ended);
    child.once('message', (answer) => {
      child.off('exit', ended);
      resolve(answer);
    });
    child.send(what);
  });
}
