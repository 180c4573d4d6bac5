/** What a runner counted, and how it is read from the reports of vitest and Playwright. */
import { z } from 'zod';

export interface Tally {
  passed: number;
  failed: number;
  skipped: number;
  /** Names and messages of what failed. */
  failures: string[];
  /** Names of what was skipped, each with its reason when it gave one. */
  skips: string[];
}

export const emptyTally = (): Tally => ({ passed: 0, failed: 0, skipped: 0, failures: [], skips: [] });

/** A single check counts as one test. */
export function check(name: string, ok: boolean, output: string): Tally {
  return ok
    ? { ...emptyTally(), passed: 1 }
    : { ...emptyTally(), failed: 1, failures: [`${name}\n${output.trim()}`] };
}

export function addTallies(tallies: readonly Tally[]): Tally {
  return {
    passed: sum(tallies.map((tally) => tally.passed)),
    failed: sum(tallies.map((tally) => tally.failed)),
    skipped: sum(tallies.map((tally) => tally.skipped)),
    failures: tallies.flatMap((tally) => tally.failures),
    skips: tallies.flatMap((tally) => tally.skips),
  };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

const vitestReport = z.object({
  success: z.boolean(),
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      message: z.string().optional(),
      assertionResults: z.array(
        z.object({
          fullName: z.string(),
          status: z.string(),
          failureMessages: z.array(z.string()).nullish(),
          meta: z.looseObject({ reason: z.string().optional() }).nullish(),
        }),
      ),
    }),
  ),
});

/**
 * Reads a report of `vitest --reporter=json`. A file that could not be run counts as one failure; a run that says it
 * failed without naming a test (an unhandled error) does too. @throws ZodError when it is no such report.
 */
export function readVitestReport(json: unknown): Tally {
  const report = vitestReport.parse(json);
  const tally = emptyTally();
  for (const file of report.testResults) {
    let failedHere = 0;
    for (const test of file.assertionResults) {
      const name = `${file.name} > ${test.fullName}`;
      if (test.status === 'passed') tally.passed++;
      else if (test.status === 'failed') {
        failedHere++;
        tally.failures.push(`${name}\n${(test.failureMessages ?? []).join('\n')}`);
      } else {
        tally.skipped++;
        tally.skips.push(test.meta?.reason === undefined ? name : `${name}: ${test.meta.reason}`);
      }
    }
    if (file.status === 'failed' && failedHere === 0) {
      failedHere = 1;
      tally.failures.push(`${file.name}\n${file.message ?? 'the file could not be run'}`);
    }
    tally.failed += failedHere;
  }
  if (!report.success && tally.failed === 0) {
    tally.failed = 1;
    tally.failures.push(
      'vitest says that the run failed, outside of any test (an unhandled error); its output is above.',
    );
  }
  return tally;
}

interface PlaywrightSuite {
  specs: { title: string; file: string; tests: PlaywrightTest[] }[];
  suites?: PlaywrightSuite[] | undefined;
}

const playwrightTest = z.object({
  status: z.enum(['expected', 'unexpected', 'flaky', 'skipped']),
  annotations: z.array(z.object({ type: z.string(), description: z.string().optional() })),
  results: z.array(z.object({ errors: z.array(z.object({ message: z.string().optional() })) })),
});
type PlaywrightTest = z.infer<typeof playwrightTest>;

const playwrightSuite: z.ZodType<PlaywrightSuite> = z.lazy(() =>
  z.object({
    specs: z.array(z.object({ title: z.string(), file: z.string(), tests: z.array(playwrightTest) })),
    suites: z.array(playwrightSuite).optional(),
  }),
);
const playwrightReport = z.object({
  suites: z.array(playwrightSuite),
  errors: z.array(z.object({ message: z.string().optional() })),
});

/**
 * Reads a report of `playwright test --reporter=json`. A flaky test has failed; an error outside of any test counts as
 * one failure. @throws ZodError when it is no such report.
 */
export function readPlaywrightReport(json: unknown): Tally {
  const report = playwrightReport.parse(json);
  const tally = emptyTally();
  const visit = (suite: PlaywrightSuite): void => {
    for (const spec of suite.specs)
      for (const test of spec.tests) count(tally, `${spec.file} > ${spec.title}`, test);
    for (const inner of suite.suites ?? []) visit(inner);
  };
  for (const suite of report.suites) visit(suite);
  for (const error of report.errors) {
    tally.failed++;
    tally.failures.push(`outside of any test\n${error.message ?? ''}`);
  }
  return tally;
}

function count(tally: Tally, name: string, test: PlaywrightTest): void {
  if (test.status === 'expected') tally.passed++;
  else if (test.status === 'skipped') {
    const reason = test.annotations.find(({ type }) => type === 'skip')?.description;
    tally.skipped++;
    tally.skips.push(reason === undefined ? name : `${name}: ${reason}`);
  } else {
    tally.failed++;
    const messages = test.results.flatMap((result) => result.errors.map(({ message }) => message ?? ''));
    tally.failures.push(`${name}\n${messages.join('\n')}`);
  }
}
