/** `npm run chaos` on a machine that is ready (tools/chaos.mjs saw to it): rounds of operations and faults, checked. */
import { toOffshootError } from '@offshoot/clone-core/errors';
import { actions } from './actions.ts';
import { readArguments, type ChaosOptions } from './arguments.ts';
import { faults } from './faults/all.ts';
import { failureLines, roundLine, Tally } from './report.ts';
import { performRound } from './round.ts';
import { sampleCache } from './sources.ts';
import { isInside, moveIn, runInside } from '../lab/isolation.ts';
import { ensureSampleImage } from '../sample-guest/build.ts';
import { openWorld, SCRATCH, type World } from './world.ts';

const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function run(options: ChaosOptions): Promise<number> {
  if (options.isolated && !isInside()) {
    // Its packages can't be fetched from inside: there is no way out of the namespaces.
    if (options.sample) await ensureSampleImage(sampleCache(SCRATCH));
    return runInside();
  }
  if (isInside()) await moveIn();
  const { from, rounds, seed } = options;
  say(`Chaos: ${from === 1 ? `${rounds} rounds` : `rounds ${from} to ${from + rounds - 1}`}, seed ${seed}`);
  const world = await openWorld(options, say);
  const told = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => told.abort());
  try {
    for (const fault of faults) {
      const why = fault.unavailable?.(world);
      if (why !== undefined) say(`  left out: ${fault.kind} (${why})`);
    }
    return await runRounds(world, told.signal);
  } finally {
    await world.close();
  }
}

async function runRounds(world: World, told: AbortSignal): Promise<number> {
  const { options } = world;
  const tally = new Tally();
  const seen = { guests: new Set<string>(), bases: new Set<string>() };
  const { from, rounds } = options;
  for (let number = from; number < from + rounds && !told.aborted; number++) {
    const began = performance.now();
    const seconds = (): number => (performance.now() - began) / 1000;
    try {
      const done = await performRound(world, number, seen);
      tally.add(done);
      if (options.verbose) say(roundLine(number, seconds(), done));
    } catch (error) {
      world.keep();
      for (const line of tally.lines(1)) say(line);
      for (const line of failureLines(world, number, seconds(), error)) say(line);
      return 1;
    }
  }
  for (const line of tally.lines(0)) say(line);
  return told.aborted ? 130 : 0;
}

try {
  const known = { operations: actions.map(({ kind }) => kind), faults: faults.map(({ kind }) => kind) };
  process.exitCode = await run(readArguments(process.argv.slice(2), known));
} catch (thrown) {
  const error = toOffshootError(thrown);
  process.stderr.write(`${error.publicMessage}${error.remedy === undefined ? '' : `\n${error.remedy}`}\n`);
  if (error.code === 'internal') process.stderr.write(`${String(error.context['thrown'])}\n`);
  process.exitCode = error.code === 'invalid-input' ? 2 : 1;
}
// Watchers of a database that is gone must not keep us.
process.exit();
