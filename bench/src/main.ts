/** `npm run bench [-- --only ID[,ID]] [--json FILE] [--runs N]`: measures Offshoot against what a user would otherwise run. */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { benches } from './benches/all.ts';
import { openLab } from './lab.ts';
import type { BenchResult } from './result.ts';
import { comparisonTable } from './table.ts';

/** What was asked for; undefined when an option is not one of these, which is then said. */
function asked() {
  try {
    return parseArgs({
      options: {
        only: { type: 'string' },
        json: { type: 'string', default: 'bench-results.json' },
        runs: { type: 'string', default: '5' },
      },
    }).values;
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}
It takes --only ID[,ID…], --json FILE, --runs N only. Benches: ${benches.map(({ id }) => id).join(', ')}.`);
    process.exitCode = 2;
    return undefined;
  }
}

const values = asked();
if (values !== undefined) await measure(values);

async function measure(values: { only?: string; json: string; runs: string }): Promise<void> {
  const wanted = values.only?.split(',').map((id) => id.trim());
  const unknown = wanted?.filter((id) => !benches.some((bench) => bench.id === id)) ?? [];
  const runs = Number(values.runs);
  if (unknown.length > 0) {
    console.error(
      `There is no bench ${unknown.join(', ')}. There are: ${benches.map((bench) => bench.id).join(', ')}.`,
    );
    process.exitCode = 2;
  } else if (!Number.isInteger(runs) || runs < 1) {
    console.error('--runs takes a whole number from 1.');
    process.exitCode = 2;
  } else {
    const lab = await openLab(runs);
    const results: BenchResult[] = [];
    const failed: string[] = [];
    try {
      for (const bench of benches.filter(({ id }) => wanted?.includes(id) ?? true)) {
        console.error(`\n${bench.id}: ${bench.title}`);
        try {
          results.push(await bench.run(lab));
          await writeFile(values.json, `${JSON.stringify(results, null, 2)}\n`);
        } catch (error) {
          // The others are still worth measuring.
          failed.push(bench.id);
          console.error(error);
        }
      }
    } finally {
      await lab.close();
    }
    console.log(`\n${comparisonTable(results)}\n\nWritten to ${values.json}.`);
    if (failed.length > 0) {
      console.error(`Not measured, for the reasons above: ${failed.join(', ')}.`);
      process.exitCode = 1;
    }
  }
}
