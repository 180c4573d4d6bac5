/**
 * An hour of a fleet, as many of each thing as in an hour, one played minute after the other and each as fast as the machine can:
 * a minute ends when all of its things have ended. Memory is looked at after each.
 */
import { randomUUID } from 'node:crypto';
import { cloneRequestSchema } from '@offshoot/clone-core/contract';
import { batchFinished, type Portal } from '../portal.ts';
import { courseOf, webMemory, type MemoryCourse, type MemoryUse } from './memory.ts';
import { watchEvents, type PageLoad } from './pages.ts';
import type { FleetProcess } from './workers.ts';

/** A host is looked at every five seconds. */
const LOOKS_EACH = 12;
/** Guests that are cloned, started, stopped and deleted again: four operations each. */
const LIVES = 15;
/** Twenty people who open a page every half minute. */
const PAGES = 40;
/** Tabs that are opened, or wake up, and go again. */
const TABS = 20;
/** Pages that are loaded at once. */
const PEOPLE = 2;
/** Hosts that are looked at at once, as there are connections for. */
const LOOKS_AT_ONCE = 16;

export interface Stage {
  portal: Portal;
  data: string;
  fleet: FleetProcess;
  /** A guest to clone from, of each host. */
  sources: readonly string[];
  hosts: number;
  pages: readonly PageLoad[];
  visit: (page: PageLoad) => Promise<number>;
  say(line: string): void;
}

export interface Played {
  minutes: number;
  seconds: number;
  looks: number;
  operations: number;
  pages: number;
  tabs: number;
  /** After each played minute, collected before. */
  memory: Record<'webResident' | 'webHeap' | 'workersResident' | 'workersHeap', MemoryCourse>;
}

export async function play(stage: Stage, minutes: number): Promise<Played> {
  const begun = performance.now();
  const samples: { web: MemoryUse; workers: MemoryUse }[] = [];
  for (let minute = 0; minute < minutes; minute++) {
    await playMinute(stage, minute);
    const [web, workers] = [await webMemory(stage.data), await stage.fleet.memory()];
    samples.push({ web, workers });
    stage.say(
      `minute ${minute + 1} after ${Math.round((performance.now() - begun) / 1000)} s: web ${mib(web)}, workers ${mib(workers)}`,
    );
  }
  return {
    minutes,
    seconds: Math.round((performance.now() - begun) / 1000),
    looks: minutes * LOOKS_EACH * stage.hosts,
    operations: minutes * LIVES * 4,
    pages: minutes * PAGES,
    tabs: minutes * TABS,
    memory: {
      webResident: courseOf(samples.map(({ web }) => web.rss)),
      webHeap: courseOf(samples.map(({ web }) => web.heapUsed)),
      workersResident: courseOf(samples.map(({ workers }) => workers.rss)),
      workersHeap: courseOf(samples.map(({ workers }) => workers.heapUsed)),
    },
  };
}

const mib = ({ rss, heapUsed }: MemoryUse): string =>
  `${Math.round(rss / 2 ** 20)} MiB (${Math.round(heapUsed / 2 ** 20)} on the heap)`;

async function playMinute(stage: Stage, minute: number): Promise<void> {
  const turns = (count: number): number[] =>
    Array.from({ length: count }, (_, index) => minute * count + index);
  await Promise.all([
    stage.fleet.look(LOOKS_EACH, LOOKS_AT_ONCE),
    ...turns(LIVES).map((turn) => live(stage, turn)),
    ...Array.from({ length: PEOPLE }, (_, person) =>
      visits(
        stage,
        turns(PAGES).filter((turn) => turn % PEOPLE === person),
      ),
    ),
    tabs(stage),
  ]);
}

/** A guest from its cloning to its deletion, by what people click. */
async function live({ portal, sources }: Stage, turn: number): Promise<void> {
  const source = sources[turn % sources.length] ?? '';
  const name = `life-${turn}`;
  const request = cloneRequestSchema.parse({
    source: { type: 'guest', id: source },
    mode: 'full',
    names: [name],
    options: { start: false, waitForAgent: false },
  });
  await clicked(portal, 'clone', { request });
  const { hostId } = await portal.db.prisma.guest.findUniqueOrThrow({ where: { id: source } });
  const { id } = await portal.db.prisma.guest.findFirstOrThrow({ where: { name, hostId } });
  for (const what of ['start', 'stop', 'delete']) await clicked(portal, what, { guestIds: [id] });
}

async function clicked(portal: Portal, what: string, input: object): Promise<void> {
  const answer = await portal.mutate(`operation.create.${what}`, { idempotencyKey: randomUUID(), ...input });
  const [batch] = [answer].flat() as { batchId: string }[];
  if (batch === undefined) throw new Error(`${what} was answered with nothing`);
  await batchFinished(portal, batch.batchId, 1);
}

async function visits({ pages, visit }: Stage, turns: readonly number[]): Promise<void> {
  for (const turn of turns) {
    const page = pages[turn % pages.length];
    if (page) await visit(page);
  }
}

/** One after the other: each is there from its first event, or answer, on for a moment. */
async function tabs({ portal }: Stage): Promise<void> {
  for (let tab = 0; tab < TABS; tab++) {
    const gone = AbortSignal.timeout(200);
    await watchEvents(portal.url, portal.cookie, gone);
  }
}
