/** No process of a worker that is gone, and none of one that has nothing to do. */
import { processes } from '../processes.ts';
import type { World } from '../world.ts';
import { setTimeout as sleep } from 'node:timers/promises';

/** What the inventory asks for every few seconds ends within this, milliseconds. */
const SHORT_MS = 3000;

export async function checkProcesses(world: World): Promise<string[]> {
  const before = await leftovers(world);
  if (before.length === 0) return [];
  const deadline = Date.now() + SHORT_MS;
  for (;;) {
    const now = await leftovers(world);
    // Only one that was there all the time is left over.
    const still = before.filter(({ pid }) => now.some((one) => one.pid === pid));
    if (still.length === 0) return [];
    if (Date.now() > deadline)
      return still.map(({ pid, argv }) => `process ${pid} is left over: ${argv.join(' ')}`);
    await sleep(20);
  }
}

/** A worker leads a session of its own, so its children are known by it even when it is dead. */
async function leftovers(world: World) {
  const living = world.workers.living.map(({ pid }) => pid);
  return (await processes()).filter(
    ({ pid, session, state, argv }) =>
      world.workers.sessions.includes(session) &&
      !living.includes(pid) &&
      state !== 'Z' &&
      argv.length > 0 &&
      !(living.includes(session) && argv.includes('event')),
  );
}
