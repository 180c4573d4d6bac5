/** `npm test`: makes this machine ready, then runs every check and test and sums them (src/test/main.ts). */
import { handOver } from './bootstrap/hand-over.mjs';
import { benchPackages, ensureReady, plainly, portalPackages, testPackages } from './bootstrap/ready.mjs';

await plainly(async () => {
  ensureReady({ packages: [...new Set([...portalPackages, ...testPackages, ...benchPackages])] });
  await handOver('tools/src/test/main.ts');
});
