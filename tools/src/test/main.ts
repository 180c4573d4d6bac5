/**
 * `npm test [-- --only SUITE[,SUITE]]`: runs everything, sums it; the last line is the sum, alone. Where it can, half of
 * what needs real guests runs beside the other half, in namespaces of its own, so that neither sees the other's.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { canRunInside, isInside, moveIn, runInside } from '../lab/isolation.ts';
import { ensureSampleImage } from '../sample-guest/build.ts';
import { startLibvirt } from '../start/libvirt.ts';
import { runnersOf, sampleCaches, suites, type Runner, type Suite } from './runners.ts';
import { addTallies, check, type Tally } from './tally.ts';

/** `beside`: the file that this half's sum goes to. */
function asked(): { wanted: Suite[]; beside: string | undefined } {
  const { values } = parseArgs({ options: { only: { type: 'string' }, beside: { type: 'string' } } });
  const { only, beside } = values;
  if (only === undefined) return { wanted: [...suites], beside };
  const names = only.split(',');
  const unknown = names.filter((name) => !suites.some((suite) => suite === name));
  if (unknown.length > 0)
    throw new Error(`There is no suite ${unknown.join(', ')}. There are: ${suites.join(', ')}.`);
  return { wanted: suites.filter((suite) => names.includes(suite)), beside };
}

/** The system's libvirt, started where none runs and then stopped again. Others than root use their own, if any. */
async function useLibvirt(): Promise<() => Promise<void>> {
  if (process.getuid?.() !== 0) return () => Promise.resolve();
  const logs = await mkdtemp(join(tmpdir(), 'offshoot-libvirt-'));
  const libvirt = await startLibvirt({ isRoot: true, logs, say: (line) => console.log(line) });
  return async () => {
    await libvirt.restore();
    for (const service of libvirt.services) await service.stop();
    await rm(logs, { recursive: true, force: true });
  };
}

const needsGuests = ({ suite }: Runner): boolean => suite === 'integration' || suite === 'browser';

async function runAll(wanted: readonly Suite[]): Promise<Tally> {
  const runners = await runnersOf(wanted);
  const tallies = await inTurn(runners.filter((runner) => !needsGuests(runner)));
  const real = runners.filter(needsGuests);
  const beside = real.filter((runner) => runner.beside === true);
  if (beside.length > 0 && beside.length < real.length && (await canRunInside())) {
    // Its packages can't be fetched from inside.
    for (const cache of sampleCaches) await ensureSampleImage(cache);
    const rest = real.filter((runner) => runner.beside !== true);
    const [other, these] = await Promise.all([runBeside(wanted), onLibvirt(rest)]);
    tallies.push(other, ...these);
  } else tallies.push(...(await onLibvirt(real)));
  if (tallies.length === 0) tallies.push(check('no runner', false, 'Not one test was found.'));
  return addTallies(tallies);
}

/** This command again, in namespaces of its own, for the runners that may be beside the others. */
async function runBeside(wanted: readonly Suite[]): Promise<Tally> {
  const scratch = await mkdtemp(join(tmpdir(), 'offshoot-beside-'));
  const file = join(scratch, 'tally.json');
  try {
    const code = await runInside(['--only', wanted.join(','), '--beside', file]);
    if (code !== 0) return check('beside', false, `The tests that run beside the others ended with ${code}.`);
    return JSON.parse(await readFile(file, 'utf8')) as Tally;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function onLibvirt(runners: readonly Runner[]): Promise<Tally[]> {
  if (runners.length === 0) return [];
  const stopLibvirt = await useLibvirt();
  try {
    return await inTurn(runners);
  } finally {
    await stopLibvirt();
  }
}

async function inTurn(runners: readonly Runner[]): Promise<Tally[]> {
  const tallies: Tally[] = [];
  for (const runner of runners) {
    const began = performance.now();
    const tally = await runner
      .run()
      .catch((error: unknown) => check(runner.name, false, `the runner crashed: ${String(error)}`));
    tallies.push(tally);
    report(runner.name, tally, (performance.now() - began) / 1000);
  }
  return tallies;
}

function report(name: string, { passed, failed, skipped, failures }: Tally, seconds: number): void {
  const counts = `${passed} passed${failed > 0 ? `, ${failed} FAILED` : ''}${skipped > 0 ? `, ${skipped} skipped` : ''}`;
  console.log(`${failed > 0 ? '✗' : '✓'} ${name.padEnd(32)} ${counts}  ${seconds.toFixed(1)} s`);
  for (const failure of failures) console.log(`\n${failure.replaceAll(/^/gm, '    ')}\n`);
}

try {
  const { wanted, beside } = asked();
  if (beside !== undefined && isInside()) {
    await moveIn();
    const runners = (await runnersOf(wanted)).filter(
      (runner) => needsGuests(runner) && runner.beside === true,
    );
    await writeFile(beside, JSON.stringify(addTallies(await onLibvirt(runners))));
  } else {
    const total = await runAll(wanted);
    if (total.skips.length > 0)
      console.log(`\nSkipped:\n${total.skips.map((skip) => `  ${skip}`).join('\n')}`);
    if (total.failures.length > 0)
      console.log(`\nFailed:\n${total.failures.map((failure) => `  ${failure.split('\n')[0]}`).join('\n')}`);
    process.exitCode = total.failed > 0 ? 1 : 0;
    console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 2;
}
