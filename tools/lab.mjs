/** `npm run lab`: makes this machine ready, then makes or removes real hypervisor hosts on it (src/fleet-lab/main.ts). */
import { handOver } from './bootstrap/hand-over.mjs';
import { ensureReady, labPackages, plainly, portalPackages } from './bootstrap/ready.mjs';

await plainly(async () => {
  // Without root nothing is installed for it: it could not be made anyway, and says so.
  const makes = process.argv[2] === 'up' && process.getuid?.() === 0;
  ensureReady({ packages: makes ? [...new Set([...portalPackages, ...labPackages])] : [] });
  await handOver('tools/src/fleet-lab/main.ts');
});
