/** `npm start`: makes this machine ready, then starts the portal (src/start/main.ts). */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ensureReady, plainly, portalPackages, root } from './bootstrap/ready.mjs';

await plainly(async () => {
  ensureReady({ packages: portalPackages });
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', join(root, 'tools/src/start/main.ts'), ...process.argv.slice(2)],
    {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    },
  );
  // The terminal sends Ctrl-C to both; the child does the stopping, this one waits for it.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  process.exitCode = await new Promise((resolve) =>
    child.on('exit', (code, signal) => resolve(code ?? (signal === 'SIGINT' ? 130 : 1))),
  );
});
