/** The runners of `npm test`: checks of the whole repository, then the tests of each workspace. */
import { execa } from 'execa';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addTallies, check, readPlaywrightReport, readVitestReport, type Tally } from './tally.ts';

export const suites = ['format', 'lint', 'types', 'unit', 'integration', 'browser'] as const;
export type Suite = (typeof suites)[number];

export interface Runner {
  suite: Suite;
  name: string;
  /** Nothing else runs meanwhile: it holds the product to a time that it promises. */
  alone?: boolean;
  run(): Promise<Tally>;
}

const root = join(import.meta.dirname, '../../..');

/** Runners of the wanted suites, in the order to run them: what is quick and most likely to fail first. */
export async function runnersOf(wanted: readonly Suite[]): Promise<Runner[]> {
  const workspaces = await workspaceFolders();
  const all: Runner[] = [
    { suite: 'format', name: 'format', run: () => runCheck('format', ['oxfmt', '--check', '.']) },
    {
      suite: 'lint',
      name: 'lint',
      run: () => runCheck('lint', ['oxlint', '--type-aware', '--deny-warnings']),
    },
    ...workspaces
      .filter((folder) => existsSync(join(root, folder, 'tsconfig.json')))
      .map((folder) => ({
        suite: 'types' as const,
        name: `types ${folder}`,
        run: () => runCheck(`types ${folder}`, ['tsc', '-p', folder]),
      })),
    ...workspaces.flatMap((folder) => vitestRunner('unit', folder, 'test/unit')),
    // The longest first: two run at a time.
    ...workspaces.flatMap((folder) => vitestRunner('integration', folder, 'test/libvirt')),
    ...workspaces.flatMap((folder) => vitestRunner('integration', folder, 'test/integration')),
    { suite: 'browser', name: 'browser apps/web', run: () => runPlaywright('apps/web/e2e') },
  ];
  return all.filter((runner) => wanted.includes(runner.suite));
}

async function workspaceFolders(): Promise<string[]> {
  const within = async (parent: string) =>
    (await readdir(join(root, parent))).toSorted().map((name) => `${parent}/${name}`);
  const folders = [...(await within('packages')), ...(await within('apps')), 'tools', 'bench'];
  return folders.filter((folder) => existsSync(join(root, folder, 'package.json')));
}

async function runCheck(name: string, argv: readonly [string, ...string[]]): Promise<Tally> {
  const [program, ...args] = argv;
  const done = await execa(program, args, {
    cwd: root,
    preferLocal: true,
    all: true,
    reject: false,
    stdin: 'ignore',
  });
  return check(name, done.exitCode === 0, done.all);
}

/** Long files of which each is a runner of its own, so that they can run beside the others. */
const LONG = /conformance\.test\.ts$/;
/** Files that measure a promise, or save memory that must not change faster than a busy disk takes it: each alone. */
const ALONE = /^(cancel|libvirt\.memory)\.test\.ts$/;

function vitestRunner(suite: Suite, folder: string, tests: string): Runner[] {
  const at = join(root, folder, tests);
  if (!existsSync(at)) return [];
  const name = tests.endsWith(suite) ? `${suite} ${folder}` : `${suite} ${folder}/${tests}`;
  const apart = (file: string): boolean => LONG.test(file) || ALONE.test(file);
  const long = suite === 'integration' ? readdirSync(at).filter(apart) : [];
  if (long.length === 0) return [{ suite, name, run: () => runVitest(folder, tests, [`${tests}/`]) }];
  const rest = readdirSync(at).filter((file) => file.endsWith('.test.ts') && !apart(file));
  return [
    ...long.map((file) => ({
      suite,
      name: `${name} ${file}`,
      alone: ALONE.test(file),
      run: () => runVitest(folder, tests, [`${tests}/${file}`]),
    })),
    {
      suite,
      name,
      run: () =>
        runVitest(
          folder,
          tests,
          rest.map((file) => `${tests}/${file}`),
        ),
    },
  ];
}

/** Runs one workspace's tests; a run without a readable report, or with no test in it, is a failure. */
async function runVitest(folder: string, tests: string, files: readonly string[]): Promise<Tally> {
  const scratch = await mkdtemp(join(tmpdir(), 'offshoot-report-'));
  const file = join(scratch, 'report.json');
  // A suite may bring a configuration of its own, beside its tests.
  const own = join(root, folder, tests, 'vitest.config.ts');
  try {
    const done = await execa(
      'vitest',
      [
        'run',
        ...files,
        ...(existsSync(own) ? ['--config', own] : []),
        '--reporter=json',
        `--outputFile=${file}`,
      ],
      {
        cwd: join(root, folder),
        preferLocal: true,
        localDir: root,
        all: true,
        reject: false,
        stdin: 'ignore',
        env: { CI: '1' },
      },
    );
    const text = await readFile(file, 'utf8').catch(() => undefined);
    if (text === undefined) return check(`${folder} ${tests}: vitest wrote no report`, false, done.all);
    const tally = readVitestReport(JSON.parse(text));
    if (tally.passed + tally.failed + tally.skipped === 0)
      return check(`${folder} ${tests}: not one test was found`, false, done.all);
    if (done.exitCode === 0 || tally.failed > 0) return tally;
    return addTallies([
      tally,
      check(`${folder} ${tests}: vitest ended with ${String(done.exitCode)}`, false, done.all),
    ]);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Runs the browser tests; a run without a readable report, or with no test in it, is a failure. */
async function runPlaywright(folder: string): Promise<Tally> {
  const scratch = await mkdtemp(join(tmpdir(), 'offshoot-report-'));
  const file = join(scratch, 'report.json');
  try {
    const done = await execa(
      process.execPath,
      [
        '--import',
        'tsx',
        join(root, 'node_modules/@playwright/test/cli.js'),
        'test',
        '-c',
        join(root, folder),
        '--reporter=json',
      ],
      {
        cwd: join(root, folder),
        all: true,
        reject: false,
        stdin: 'ignore',
        env: { CI: '1', PLAYWRIGHT_JSON_OUTPUT_FILE: file },
      },
    );
    const text = await readFile(file, 'utf8').catch(() => undefined);
    if (text === undefined) return check(`${folder}: Playwright wrote no report`, false, done.all);
    const tally = readPlaywrightReport(JSON.parse(text));
    if (tally.passed + tally.failed + tally.skipped === 0)
      return check(`${folder}: not one test was found`, false, done.all);
    if (done.exitCode === 0 || tally.failed > 0) return tally;
    return addTallies([
      tally,
      check(`${folder}: Playwright ended with ${String(done.exitCode)}`, false, done.all),
    ]);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
