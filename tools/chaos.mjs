/** `npm run chaos`: makes this machine ready, then runs rounds of operations and faults (src/chaos/main.ts). */
import { handOver } from './bootstrap/hand-over.mjs';
import { ensureReady, plainly, portalPackages } from './bootstrap/ready.mjs';

await plainly(async () => {
  ensureReady({ packages: portalPackages });
  await handOver('tools/src/chaos/main.ts');
});
