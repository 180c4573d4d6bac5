import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cloneRequestSchema } from '@offshoot/clone-core/contract';
import { requestClone } from '@offshoot/db/operations';
import type { BatchResult } from '@offshoot/db/types';
import type { Portal } from '../portal.ts';
import { median, quantile, round, type Bench, type Lab } from '../result.ts';
import { writeHistory } from '../simulated-fleet/history.ts';
import { play } from '../simulated-fleet/hour.ts';
import { memoryEnvironment, processorSeconds } from '../simulated-fleet/memory.ts';
import { pagesAbout, visitor, watchEvents, type PageLoad } from '../simulated-fleet/pages.ts';
import { startFleetProcess, type FleetProcess } from '../simulated-fleet/workers.ts';

/** Fewer, for a quick look: OFFSHOOT_BENCH_FLEET_HOSTS. */
const HOSTS = Number(process.env['OFFSHOOT_BENCH_FLEET_HOSTS'] ?? 500);
const GUESTS_EACH = 20;
/** Operations that are queued on each host; fewer, when only memory is looked at: OFFSHOOT_BENCH_FLEET_QUEUED. */
const QUEUED_EACH = Number(process.env['OFFSHOOT_BENCH_FLEET_QUEUED'] ?? 4);
/** How often each page is opened for its percentile. */
const VISITS = 30;
const TABS = 10;
/** Requests that are made at once to fill the queues. */
const ASKERS = 8;
/** How long pages are opened under a steady load, seconds. */
const LOAD_SECONDS = 20;
/** Clones asked for a second meanwhile. */
const LOAD_PER_SECOND = 5;
/** Minutes of a fleet's life that are played, faster than they would pass, while memory is watched: an hour is 60. */
const PLAYED_MINUTES = Number(process.env['OFFSHOOT_BENCH_FLEET_MINUTES'] ?? 3);
/** What the issue asks for, milliseconds. */
const PAGE_LIMIT_MS = 300;

const hostIds = Array.from({ length: HOSTS }, (_, index) => `fleet-${String(index + 1).padStart(3, '0')}`);

/** 500 simulated hosts, 10,000 guests and 2,000 queued operations on one web and one PostgreSQL. */
export const fleet500: Bench = {
  id: 'fleet-500',
  title: `${HOSTS} simulated hosts, ${HOSTS * GUESTS_EACH} guests, ${HOSTS * QUEUED_EACH} queued operations`,
  async run(lab) {
    const data = join(lab.scratch, 'fleet-500');
    const portal = await lab.portal(data, memoryEnvironment(data));
    let fleet: FleetProcess | undefined;
    const stop = new AbortController();
    try {
      lab.say(await writeHistory(portal.db, hostIds));
      fleet = await startFleetProcess({
        databaseUrl: portal.databaseUrl,
        redisUrl: portal.redisUrl,
        hostIds,
        simulated: {
          guests: GUESTS_EACH,
          running: 0.6,
          // A clone takes about a second.
          speed: { copyRate: 5e9, latencyMs: 60, tickMs: 250, bootMs: 1000 },
        },
        poolSize: 20,
      });
      lab.say(`${HOSTS} hosts told of their guests`);
      return await measure(lab, portal, fleet, data, stop.signal);
    } finally {
      stop.abort();
      await fleet?.stop();
      await lab.stopPortal(data);
    }
  },
};

/** @param until aborts when the tabs are to be closed */
async function measure(lab: Lab, portal: Portal, fleet: FleetProcess, data: string, until: AbortSignal) {
  const sources = await stoppedGuests(portal);
  const waitingSources = [...sources.values()];
  const asking = async (): Promise<void> => {
    for (let next = waitingSources.pop(); next !== undefined; next = waitingSources.pop()) {
      const batch = await requestFrom(portal, next, QUEUED_EACH, 'first');
      await Promise.all(batch.jobs.map((job) => portal.queues.enqueueOperation(job)));
    }
  };
  await Promise.all(Array.from({ length: ASKERS }, asking));
  const queued = await portal.db.prisma.operation.count({ where: { state: 'queued' } });
  const guests = await portal.db.prisma.guest.count();
  lab.say(`${queued} operations are queued, ${guests} guests`);

  for (let tab = 0; tab < TABS; tab++)
    watchEvents(portal.url, portal.cookie, until).catch((error: unknown) =>
      lab.say(`a tab broke: ${String(error)}`),
    );
  const visit = visitor(portal.url, portal.cookie);
  const pages = pagesAbout(hostIds[Math.floor(HOSTS / 2)] ?? '');
  for (const page of pages) await visit(page);
  const waiting = await visits(pages, visit, VISITS);
  lab.say(words('pages while all is queued', waiting));

  const start = await startProcess(data);
  const before = { ...(await processorSeconds(start, fleet.pid)), commits: await commits(portal) };
  const opened = await databaseTime(portal);
  await fleet.openLanes();
  const during = await untilEnded(portal, pages, visit);
  const dispatch = await dispatchRate(portal, opened, HOSTS * QUEUED_EACH);
  const cost = perOperation(before, {
    ...(await processorSeconds(start, fleet.pid)),
    commits: await commits(portal),
  });
  lab.say(`each operation cost ${JSON.stringify(cost)}`);
  lab.say(`dispatch ${dispatch.perSecond}/s, ended ${dispatch.endedPerSecond}/s`);
  lab.say(words('pages meanwhile', during));

  const load = await keepBusy(portal, sources, pages, visit);
  lab.say(words('pages under load', load.pages));
  const played = await play(
    {
      portal,
      data,
      fleet,
      sources: [...sources.values()],
      hosts: HOSTS,
      pages,
      visit,
      say: (line) => lab.say(line),
    },
    PLAYED_MINUTES,
  );
  lab.say(`played ${JSON.stringify(played)}`);
  const all = [...waiting.values()].flat();
  const p95 = round(quantile(all, 0.95), 1);
  return {
    id: 'fleet-500',
    unit: 'ms',
    ours: p95,
    peers: { limit: PAGE_LIMIT_MS },
    ratio: round(p95 / PAGE_LIMIT_MS),
    of: 'limit',
    runs: all.length,
    notes: `simulated hosts; p95 of ${all.length} page loads (document and data) with ${queued} operations queued; ${dispatch.perSecond} operations dispatched a second; web memory ${played.memory.webResident.early} → ${played.memory.webResident.late} MiB (heap ${played.memory.webHeap.early} → ${played.memory.webHeap.late}) over ${played.minutes} minutes of load played in ${played.seconds} s; one web, one PostgreSQL, ${TABS} open tabs, all on this machine`,
    pagesQueued: percentiles(waiting),
    pagesDispatching: percentiles(during),
    pagesUnderLoad: percentiles(load.pages),
    dispatchPerSecond: dispatch.perSecond,
    endedPerSecond: dispatch.endedPerSecond,
    costPerOperation: cost,
    played,
    loadSeconds: LOAD_SECONDS,
    loadClonesPerSecond: load.perSecond,
    guests,
    queued,
  };
}

/** One stopped guest of every host, to clone from. */
async function stoppedGuests(portal: Portal): Promise<Map<string, string>> {
  const rows = await portal.db.prisma.guest.findMany({
    where: { hostId: { in: hostIds }, state: 'stopped' },
    select: { id: true, hostId: true },
    orderBy: { name: 'desc' },
  });
  return new Map(rows.map((row) => [row.hostId, row.id]));
}

async function requestFrom(
  portal: Portal,
  sourceId: string,
  count: number,
  prefix: string,
): Promise<BatchResult> {
  const request = cloneRequestSchema.parse({
    source: { type: 'guest', id: sourceId },
    mode: 'full',
    names: Array.from({ length: count }, (_, index) => `${prefix}-${index + 1}`),
    options: { start: false, waitForAgent: false },
  });
  return requestClone(portal.db, { userId: null, idempotencyKey: randomUUID(), request });
}

type Timings = Map<string, number[]>;

/** Opens every page in turn, several times. */
async function visits(
  pages: readonly PageLoad[],
  visit: (page: PageLoad) => Promise<number>,
  times: number,
): Promise<Timings> {
  const timings: Timings = new Map(pages.map(({ name }) => [name, []]));
  for (let turn = 0; turn < times; turn++)
    for (const page of pages) timings.get(page.name)?.push(await visit(page));
  return timings;
}

/** Opens pages until nothing is queued or running any more. */
async function untilEnded(
  portal: Portal,
  pages: readonly PageLoad[],
  visit: (page: PageLoad) => Promise<number>,
): Promise<Timings> {
  const timings: Timings = new Map(pages.map(({ name }) => [name, []]));
  for (;;) {
    for (const page of pages) timings.get(page.name)?.push(await visit(page));
    const open = await portal.db.prisma.operation.count({
      where: { state: { in: ['queued', 'waiting', 'running', 'undoing'] } },
    });
    if (open === 0) return timings;
  }
}

async function databaseTime(portal: Portal): Promise<Date> {
  const { rows } = await portal.db.pool.query<{ now: Date }>('SELECT clock_timestamp() AS now');
  return rows[0]?.now ?? new Date();
}

/** Transactions that this database has ended, reads too. */
async function commits(portal: Portal): Promise<number> {
  const { rows } = await portal.db.pool.query<{ commits: string }>(
    'SELECT xact_commit AS commits FROM pg_stat_database WHERE datname = current_database()',
  );
  return Number(rows[0]?.commits);
}

/** Milliseconds of processor time, and transactions, of everything that went on meanwhile. */
function perOperation(before: Record<string, number>, after: Record<string, number>) {
  const operations = HOSTS * QUEUED_EACH;
  return Object.fromEntries(
    Object.entries(after).map(([name, value]) => {
      const used = (value - (before[name] ?? 0)) / operations;
      return name === 'commits' ? [name, round(used, 1)] : [`${name}Ms`, round(used * 1000, 1)];
    }),
  );
}

/** How fast what was queued at that time began and ended. @throws when any of it did not finish. */
async function dispatchRate(portal: Portal, since: Date, count: number) {
  const { rows } = await portal.db.pool.query<{ started: string; ended: string; finished: string }>(
    `SELECT extract(epoch FROM max("startedAt") - $1) AS started, extract(epoch FROM max("finishedAt") - $1) AS ended,
       count(*) FILTER (WHERE "state" = 'finished') AS finished FROM "operation" WHERE "startedAt" >= $1`,
    [since],
  );
  const row = rows[0];
  if (!row || Number(row.finished) !== count)
    throw new Error(`${row?.finished ?? 0} of ${count} operations finished`);
  return {
    perSecond: round(count / Number(row.started), 1),
    endedPerSecond: round(count / Number(row.ended), 1),
  };
}

/** Clones, at a steady rate over all hosts, and people who look at pages, for LOAD_SECONDS. */
async function keepBusy(
  portal: Portal,
  sources: ReadonlyMap<string, string>,
  pages: readonly PageLoad[],
  visit: (page: PageLoad) => Promise<number>,
) {
  const until = performance.now() + LOAD_SECONDS * 1000;
  const timings: Timings = new Map(pages.map(({ name }) => [name, []]));
  const order = [...sources.values()];
  let asked = 0;
  const clones = async (): Promise<void> => {
    while (performance.now() < until) {
      const turn = asked++;
      const batch = await requestFrom(
        portal,
        order[turn % order.length] ?? '',
        1,
        `load-${Math.floor(turn / order.length)}`,
      );
      await Promise.all(batch.jobs.map((job) => portal.queues.enqueueOperation(job)));
      await sleep(1000 / LOAD_PER_SECOND);
    }
  };
  const people = async (offset: number): Promise<void> => {
    for (let turn = offset; performance.now() < until; turn++) {
      const page = pages[turn % pages.length];
      if (page) timings.get(page.name)?.push(await visit(page));
      await sleep(250);
    }
  };
  await Promise.all([clones(), people(0), people(3)]);
  const loads = [...timings.values()].flat().length;
  return { pages: timings, perSecond: round(asked / LOAD_SECONDS, 1), loads };
}

/** The process that `npm start` is, of this data folder. */
async function startProcess(data: string): Promise<number> {
  return (JSON.parse(await readFile(join(data, 'run.json'), 'utf8')) as { pid: number }).pid;
}

const percentiles = (timings: Timings) =>
  Object.fromEntries(
    [...timings].map(([name, values]) => [
      name,
      { p50: round(median(values), 1), p95: round(quantile(values, 0.95), 1), loads: values.length },
    ]),
  );

const words = (what: string, timings: Timings): string =>
  `${what}: ${[...timings].map(([name, values]) => `${name} ${round(median(values), 0)}/${round(quantile(values, 0.95), 0)} ms`).join(', ')}`;
