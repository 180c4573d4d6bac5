/** `npm run bench`: makes this machine ready, then measures (bench/src/main.ts). */
import { handOver } from './bootstrap/hand-over.mjs';
import { benchPackages, ensureReady, plainly, portalPackages } from './bootstrap/ready.mjs';

await plainly(async () => {
  ensureReady({ packages: [...new Set([...portalPackages, ...benchPackages])] });
  await handOver('bench/src/main.ts');
});
