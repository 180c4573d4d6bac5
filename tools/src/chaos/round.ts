/** One round: some operations, some faults at some moments, then quiet, then every invariant. */
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ErrorCode } from '@offshoot/clone-core/contract';
import { execa } from 'execa';
import { actions } from './actions.ts';
import type { Action } from './guest-actions.ts';
import { clones, settleLedger, standing } from './origins.ts';
import { cancel, type Asked } from './asking.ts';
import { faults } from './faults/all.ts';
import type { Fault } from './faults/fault.ts';
import { checkAll, type Seen } from './invariants/check.ts';
import { someMoment } from './moments.ts';
import { clearLeftovers, quiesce } from './quiesce.ts';
import { randomFrom, type Random } from './random.ts';
import { dropOldImages } from './writes.ts';
import { patiently, type World } from './world.ts';
import type { OperationRow } from '@offshoot/db/types';

/** Every so many rounds everything is looked at, also what did not change. */
const SWEEP = 10;

export interface Done {
  asked: Asked[];
  /** What was done, by kind; undefined: its moment did not come. */
  faults: { kind: string; text: string | undefined }[];
  operations: OperationRow[];
}

/** What came of a round that did not come to its end. */
export class RoundFailed extends Error {
  override readonly name = 'RoundFailed';

  constructor(
    readonly done: Done,
    cause: unknown,
  ) {
    super('the round failed', { cause });
  }
}

/** Performs and checks it. @throws RoundFailed with a Violation as its cause, or with what broke in the run itself. */
export async function performRound(world: World, number: number, seen: Seen): Promise<Done> {
  const random = randomFrom(world.options.seed, 'round', number);
  const done: Done = { asked: [], faults: [], operations: [] };
  const excused = new Set<ErrorCode>();
  const last = await lastOperation(world);
  try {
    await standing(world);
    const chosen = await chooseActions(world, random);
    const bad = chooseFaults(world, random);
    for (const fault of bad) for (const code of fault.excuses) excused.add(code);
    const begun = bad.map(async (fault, at) => {
      const own = randomFrom(world.options.seed, 'fault', number, at);
      const moment = someMoment(own);
      const inflicted = fault.inflict(world, own, moment);
      if (fault.begin) done.asked.push(...(await fault.begin(world, own)));
      const what = await inflicted;
      done.faults.push({
        kind: fault.kind,
        text: what === undefined ? undefined : `${what}, ${moment.text}`,
      });
    });
    await Promise.all([askAll(world, chosen, number, done), ...begun]);
    await quiesce(world);
    done.asked.push(...(await clearLeftovers(world, idsOf(done))));
    done.operations = await operationsSince(world, last);
    await settleLedger(world);
    await checkAll(world, seen, { operations: done.operations, excused, sweep: number % SWEEP === 0 });
    await dropExtras(world);
    await dropOldImages(world);
    await world.sources.replenish();
    return done;
  } catch (error) {
    done.operations = await operationsSince(world, last);
    throw new RoundFailed(done, error);
  }
}

async function chooseActions(world: World, random: Random): Promise<Action[]> {
  const there = (await clones(world)).length;
  const count = random.weighted([
    { weight: 3, value: 1 },
    { weight: 3, value: 2 },
    { weight: 2, value: 3 },
    { weight: 1, value: 5 },
  ]);
  const known = actions.filter(({ kind }) => world.options.operations?.includes(kind) ?? true);
  const weighted = known.map((value) => ({ value, weight: value.weight(there) }));
  return Array.from({ length: count }, () => random.weighted(weighted));
}

function chooseFaults(world: World, random: Random): Fault[] {
  const known = possibleFaults(world);
  const count = random.weighted([
    { weight: 1, value: 0 },
    { weight: 5, value: 1 },
    { weight: 3, value: 2 },
    { weight: 1, value: 3 },
  ]);
  if (known.length === 0) return [];
  const chosen = new Set(
    Array.from({ length: count }, () =>
      random.weighted(known.map((value) => ({ value, weight: value.weight }))),
    ),
  );
  return [...chosen];
}

export const possibleFaults = (world: World): Fault[] =>
  faults.filter(
    (fault) =>
      (world.options.faults?.includes(fault.kind) ?? true) && fault.unavailable?.(world) === undefined,
  );

/** Asks one after the other, with pauses; some of what was asked for is cancelled at some moment. */
async function askAll(world: World, chosen: readonly Action[], number: number, done: Done): Promise<void> {
  const cancels: Promise<void>[] = [];
  for (const [at, action] of chosen.entries()) {
    const random = randomFrom(world.options.seed, 'action', number, at);
    await sleep(random.chance(0.5) ? 0 : random.between(1, 200));
    for (const asked of await action.ask(world, random)) {
      done.asked.push(asked);
      if (asked.operationIds.length > 0 && random.chance(0.15))
        cancels.push(cancelSometime(world, random, asked));
    }
  }
  await Promise.all(cancels);
}

async function cancelSometime(world: World, random: Random, asked: Asked): Promise<void> {
  const id = random.pick(asked.operationIds);
  const moment = someMoment(random, [id]);
  if (!(await moment.come(world.watch))) return;
  asked.label += ` (cancelled ${moment.text})`;
  await cancel(world, id);
}

const idsOf = ({ asked }: Done): string[] => asked.flatMap(({ operationIds }) => operationIds);

/** All since the round's beginning: those that were asked for, and those that the product asked for itself. */
function operationsSince(world: World, last: string): Promise<OperationRow[]> {
  return patiently(() =>
    world.db.prisma.operation.findMany({ where: { id: { gt: last } }, orderBy: { id: 'asc' } }),
  );
}

const BEFORE_ALL = '00000000-0000-0000-0000-000000000000';

/** Ids sort by the time they were made. */
async function lastOperation(world: World): Promise<string> {
  const row = await patiently(() => world.db.prisma.operation.findFirst({ orderBy: { id: 'desc' } }));
  return row?.id ?? BEFORE_ALL;
}

/** Sources of this round alone have done their duty; clones of them live on. */
async function dropExtras(world: World): Promise<void> {
  for (const { uuid, files } of world.extras.splice(0)) {
    for (const words of [
      ['destroy', uuid],
      ['undefine', uuid],
    ])
      await execa('virsh', ['-q', '-c', world.services.libvirtUri, ...words], { reject: false });
    for (const path of Object.keys(files)) await rm(path, { force: true });
  }
}
