/** A worker process of a simulated host, for tests that need an operation performed. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../../../../', import.meta.url));

export interface WorkerProcess {
  /** Everything it wrote so far. */
  output(): string;
  stop(): Promise<void>;
}

/** Starts it; resolves when it serves its host `h1`. */
export async function startWorker(env: Record<string, string>): Promise<WorkerProcess> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'apps/worker/src/main.ts'], {
    cwd: repository,
    env: {
      NODE_ENV: 'test',
      PATH: process.env['PATH'],
      TMPDIR: process.env['TMPDIR'],
      OFFSHOOT_HOST_ID: 'h1',
      OFFSHOOT_HOST_NAME: 'Host 1',
      OFFSHOOT_HOST_KIND: 'simulated',
      OFFSHOOT_STORE: '/simulated',
      OFFSHOOT_LOG_LEVEL: 'debug',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await Promise.race([
    new Promise((resolve) => child.once('message', resolve)),
    gone.then(() => {
      throw new Error(`the worker ended before it was ready:\n${text}`);
    }),
  ]);
  return {
    output: () => text,
    async stop() {
      child.kill('SIGTERM');
      await gone;
    },
  };
}
