/** Hands over to TypeScript once the dependencies are there. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { root } from './ready.mjs';

/**
 * Runs a script of the repository with the arguments of this command; resolves when it has ended, with its exit code
 * in `process.exitCode`. The terminal sends Ctrl-C to both: the child does the stopping, this one waits for it.
 * @param {string} script path in the repository
 */
export async function handOver(script) {
  const child = spawn(process.execPath, ['--import', 'tsx', join(root, script), ...process.argv.slice(2)], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  process.exitCode = await new Promise((resolve) => {
    child.on('exit', (code, signal) => resolve(code ?? (signal === 'SIGINT' ? 130 : 1)));
  });
}
