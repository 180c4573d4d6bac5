import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startPortal, type Portal } from './portal.ts';
import type { Lab } from './result.ts';

/** Where scratch files go: a real disk, not a memory filesystem. OFFSHOOT_BENCH_SCRATCH chooses another. */
const SCRATCH_PARENT = process.env['OFFSHOOT_BENCH_SCRATCH'] ?? '/var/tmp';

/** Makes the scratch folder; the portal is started by the first bench that wants it. */
export async function openLab(runs: number): Promise<Lab & { close(): Promise<void> }> {
  await mkdir(SCRATCH_PARENT, { recursive: true });
  const scratch = await mkdtemp(join(SCRATCH_PARENT, 'offshoot-bench-'));
  await chmod(scratch, 0o711); // QEMU runs as another user
  const portals = new Map<string, Promise<Portal>>();
  const say = (line: string): void => void process.stderr.write(`  ${line}\n`);
  return {
    scratch,
    runs,
    say,
    portal(at = join(scratch, 'data'), environment = {}) {
      let portal = portals.get(at);
      if (!portal) {
        portal = startPortal(at, say, environment);
        portals.set(at, portal);
      }
      return portal;
    },
    async stopPortal(at) {
      await (await portals.get(at))?.stop();
      portals.delete(at);
    },
    async close() {
      for (const portal of portals.values()) await (await portal).stop();
      await rm(scratch, { recursive: true, force: true });
    },
  };
}
