/** `npm test [-- --only SUITE[,SUITE]]`: runs everything, sums it; the last line is the sum, alone. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startLibvirt } from '../start/libvirt.ts';
import { runnersOf, suites, type Suite } from './runners.ts';
import { addTallies, check, type Tally } from './tally.ts';

function wantedSuites(): Suite[] {
  const { values } = parseArgs({ options: { only: { type: 'string' } } });
  if (values.only === undefined) return [...suites];
  const names = values.only.split(',');
  const unknown = names.filter((name) => !suites.some((suite) => suite === name));
  if (unknown.length > 0)
    throw new Error(`There is no suite ${unknown.join(', ')}. There are: ${suites.join(', ')}.`);
  return suites.filter((suite) => names.includes(suite));
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

async function runAll(wanted: readonly Suite[]): Promise<Tally> {
  const stopLibvirt =
    wanted.includes('integration') || wanted.includes('browser') ? await useLibvirt() : undefined;
  const tallies: Tally[] = [];
  try {
    for (const runner of await runnersOf(wanted)) {
      const began = performance.now();
      const tally = await runner
        .run()
        .catch((error: unknown) => check(runner.name, false, `the runner crashed: ${String(error)}`));
      tallies.push(tally);
      report(runner.name, tally, (performance.now() - began) / 1000);
    }
  } finally {
    await stopLibvirt?.();
  }
  if (tallies.length === 0) tallies.push(check('no runner', false, 'Not one test was found.'));
  return addTallies(tallies);
}

function report(name: string, { passed, failed, skipped, failures }: Tally, seconds: number): void {
  const counts = `${passed} passed${failed > 0 ? `, ${failed} FAILED` : ''}${skipped > 0 ? `, ${skipped} skipped` : ''}`;
  console.log(`${failed > 0 ? '✗' : '✓'} ${name.padEnd(32)} ${counts}  ${seconds.toFixed(1)} s`);
  for (const failure of failures) console.log(`\n${failure.replaceAll(/^/gm, '    ')}\n`);
}

try {
  const total = await runAll(wantedSuites());
  if (total.skips.length > 0) console.log(`\nSkipped:\n${total.skips.map((skip) => `  ${skip}`).join('\n')}`);
  if (total.failures.length > 0)
    console.log(`\nFailed:\n${total.failures.map((failure) => `  ${failure.split('\n')[0]}`).join('\n')}`);
  process.exitCode = total.failed > 0 ? 1 : 0;
  console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 2;
}
