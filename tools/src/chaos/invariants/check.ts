/** Everything that must hold when all is quiet, against the real host by its own means. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ErrorCode, PublicError } from '@offshoot/clone-core/contract';
import { eventsAfter } from '@offshoot/db/events';
import type { OperationRow } from '@offshoot/db/types';
import { Violation } from '../violation.ts';
import type { OperationEvent } from '../watch.ts';
import { patiently, type World } from '../world.ts';
import { checkFiles } from './files.ts';
import { isForeseen } from './foreseen.ts';
import { checkContent, checkGuests } from './guests.ts';
import { checkHangers, checkNames } from './hangers.ts';
import { checkRow, checkStory, checkStream } from './operations.ts';
import { checkProcesses } from './processes.ts';
import { takeSnapshot } from './snapshot.ts';
import { checkBases, checkSources } from './sources.ts';

/** What was looked at before and has not changed since is not looked at again, but for a sweep. */
export interface Seen {
  guests: Set<string>;
  bases: Set<string>;
}

export interface RoundFacts {
  operations: readonly OperationRow[];
  /** Errors that the round's faults account for. */
  excused: ReadonlySet<ErrorCode>;
  /** Look at the content of every guest and base, not only at new ones. */
  sweep: boolean;
}

/** @throws Violation with the first invariant that does not hold, and all that was found about it. */
export async function checkAll(world: World, seen: Seen, facts: RoundFacts): Promise<void> {
  need('operations', await checkOperations(world, facts));
  const snapshot = await takeSnapshot(world);
  need('no orphan', checkFiles(snapshot));
  need('rows and guests agree', checkGuests(snapshot));
  need('nothing hangs on a guest', await checkHangers(world, snapshot));
  need('guests with memory are themselves', await checkNames(world, snapshot));
  need('no process is left', await checkProcesses(world));
  need('sources are unchanged', await checkSources(world, world.sources.standing, snapshot));
  need(
    'sources are unchanged',
    await checkSources(
      world,
      world.extras.map((extra) => ({ ...extra, running: false })),
      snapshot,
      { mayBeGone: true },
    ),
  );
  const news = <T extends { id: string }>(all: readonly T[], known: Set<string>): T[] =>
    facts.sweep ? [...all] : all.filter(({ id }) => !known.has(id));
  const touched = new Set(facts.operations.flatMap(({ guestId }) => (guestId === null ? [] : [guestId])));
  const guests = new Set(
    facts.sweep
      ? snapshot.guests.map(({ id }) => id)
      : [...touched, ...news(snapshot.guests, seen.guests).map(({ id }) => id)],
  );
  need('bases are unchanged', await checkBases(news(snapshot.bases, seen.bases)));
  need('clones are what they were cloned from', await checkContent(world, snapshot, guests));
  for (const { id } of snapshot.guests) seen.guests.add(id);
  for (const { id } of snapshot.bases) seen.bases.add(id);
}

async function checkOperations(world: World, { operations, excused }: RoundFacts): Promise<string[]> {
  const found: string[] = [];
  for (const row of operations) {
    const logged = (await patiently(() =>
      eventsAfter(world.db, '0', { operationId: row.id }, 10_000),
    )) as OperationEvent[];
    const told = await toldOf(world, row.id, logged.at(-1)?.id);
    const problems = [...checkRow(row), ...checkStory(row, logged), ...checkStream(told, logged)];
    const error = row.error as unknown as PublicError | null;
    if (row.state === 'failed' && error && !excused.has(error.code) && !isForeseen(row, error, excused))
      problems.push(`failed with ${error.code} for no reason that was there: ${error.message}`);
    found.push(...problems.map((problem) => `${row.kind} ${row.title} (${row.id}) ${problem}`));
  }
  return found;
}

const CATCH_UP_MS = 10_000;

/** The follower may be a moment behind. */
async function toldOf(
  world: World,
  operationId: string,
  last: string | undefined,
): Promise<OperationEvent[]> {
  const deadline = Date.now() + CATCH_UP_MS;
  for (;;) {
    const told = world.watch.events.filter((event) => event.operationId === operationId);
    if (told.at(-1)?.id === last || Date.now() > deadline) return told;
    await sleep(10);
  }
}

function need(invariant: string, found: readonly string[]): void {
  if (found.length > 0) throw new Violation(invariant, found.join('\n    '));
}
