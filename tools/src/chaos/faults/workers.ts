/** Workers that die, stop, hang, and lose their children. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CLAIM_EXPIRES_SECONDS } from '@offshoot/db/operations';
import { argvOf, childrenOf, signal } from '../processes.ts';
import { ageClaims, type Worker } from '../workers.ts';
import { patiently, type World } from '../world.ts';
import type { Random } from '../random.ts';
import { atMoment, type Fault } from './fault.ts';

const someWorker = (world: World, random: Random): Worker | undefined => {
  const { living } = world.workers;
  return living.length === 0 ? undefined : random.pick(living);
};

/** Another one, unless one stands by already. */
async function replace(world: World): Promise<void> {
  if (world.workers.living.length === 0) await world.workers.launch();
}

/** One in ten dead workers' claims really lives its ten seconds. */
const reallyWait = (random: Random): boolean => random.chance(0.1);

const killWorker: Fault = {
  kind: 'worker-killed',
  weight: 6,
  excuses: [],
  inflict: atMoment(async (world, random) => {
    const worker = someWorker(world, random);
    const waits = reallyWait(random);
    if (!worker) return undefined;
    await world.workers.kill(worker);
    await replace(world);
    if (!waits) await patiently(() => ageClaims(world.db, [worker.pid]));
    return waits ? 'KILL, its claims live on' : 'KILL';
  }),
};

const dismissWorker: Fault = {
  kind: 'worker-dismissed',
  weight: 1.5,
  excuses: [],
  inflict: atMoment(async (world, random) => {
    const worker = someWorker(world, random);
    if (!worker) return undefined;
    await Promise.all([world.workers.dismiss(worker), world.workers.launch()]);
    return 'TERM';
  }),
};

const standby: Fault = {
  kind: 'standby-started',
  weight: 1,
  excuses: [],
  inflict: atMoment(async (world) => {
    if (world.workers.living.length > 1) return undefined;
    await world.workers.launch();
    return 'a second worker';
  }),
};

const pauseWorker: Fault = {
  kind: 'worker-paused',
  weight: 1.5,
  excuses: [],
  inflict: atMoment(async (world, random) => {
    const worker = someWorker(world, random);
    const ms = random.between(50, 900);
    if (!worker) return undefined;
    world.workers.freeze(worker);
    await sleep(ms);
    world.workers.thaw(worker);
    return `STOP, CONT after ${ms} ms`;
  }),
};

/** How long another worker has for taking over once the claim's life is nearly over, milliseconds. */
const TAKEOVER_MS = 6000;

/**
 * Stopped longer than its claim lives, and its lock on the host gone with a restart of PostgreSQL: another worker takes
 * over, and then it wakes, in the middle of a step, believing that it holds the operation.
 */
const outlivedClaim: Fault = {
  kind: 'claim-outlived',
  weight: 1,
  excuses: [],
  inflict: atMoment(async (world, random) => {
    const worker = someWorker(world, random);
    const linger = random.between(0, 400);
    if (!worker) return undefined;
    world.workers.freeze(worker);
    try {
      await world.services.restartPostgres('fast');
      if (world.workers.living.length < 2) await world.workers.launch();
      await sleep((CLAIM_EXPIRES_SECONDS - 2) * 1000);
      const taken = await world.watch.next(({ data }) => data.type === 'step', TAKEOVER_MS);
      await sleep(linger);
      return taken ? 'STOP, taken over, CONT' : 'STOP, CONT; nothing was there to take over';
    } finally {
      world.workers.thaw(worker);
    }
  }),
};

/** How long a child is waited for, milliseconds. */
const CHILD_MS = 1500;
const PATROL_MS = 2;

const killChild: Fault = {
  kind: 'child-killed',
  weight: 4,
  excuses: ['command-failed'],
  inflict: atMoment(async (world, random) => {
    const skip = random.between(0, 5);
    const only = random.pick(['qemu-img', 'virsh', undefined] as const);
    const deadline = Date.now() + CHILD_MS;
    const seen = new Set<number>();
    while (Date.now() < deadline) {
      for (const worker of world.workers.living) {
        for (const pid of await childrenOf(worker.pid)) {
          const argv = (await argvOf(pid)) ?? [];
          const program = programOf(argv);
          if (program === undefined || argv.includes('event') || (only !== undefined && program !== only))
            continue;
          if (seen.size < skip && !seen.has(pid)) seen.add(pid);
          else if (!seen.has(pid) && signal(pid, 'SIGKILL'))
            return `KILL of ${program} ${argv.find((word) => /^[a-z]+-?[a-z]+$/.test(word) && word !== program && word !== 'setpriv') ?? ''}`.trim();
        }
      }
      await sleep(PATROL_MS);
    }
    return undefined;
  }),
};

const killEvents: Fault = {
  kind: 'events-killed',
  weight: 0.5,
  excuses: [],
  inflict: atMoment(async (world) => {
    for (const worker of world.workers.living)
      for (const pid of await childrenOf(worker.pid))
        if ((await argvOf(pid))?.includes('event') === true && signal(pid, 'SIGKILL'))
          return 'KILL of virsh event';
    return undefined;
  }),
};

const PROGRAMS = ['qemu-img', 'qemu-nbd', 'virsh', 'sha256sum', 'cp', 'ln', 'rmdir'];

/** What runs, also below a setpriv that has not become it yet. */
function programOf(argv: readonly string[]): string | undefined {
  const [first = ''] = argv[0] === 'setpriv' ? argv.slice(argv.indexOf('--') + 1) : argv;
  return PROGRAMS.find((name) => name === first);
}

export const workerFaults: readonly Fault[] = [
  killWorker,
  dismissWorker,
  standby,
  pauseWorker,
  outlivedClaim,
  killChild,
  killEvents,
];
