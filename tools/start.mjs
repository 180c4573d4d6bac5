/** `npm start`: makes this machine ready, then starts the portal (src/start/main.ts). */
import { handOver } from './bootstrap/hand-over.mjs';
import { ensureReady, plainly, portalPackages } from './bootstrap/ready.mjs';

await plainly(async () => {
  ensureReady({ packages: portalPackages });
  await handOver('tools/src/start/main.ts');
});
