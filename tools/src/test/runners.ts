/** The runners of `npm test`: checks of the whole repository, then the tests of each workspace. */
import { execa } from 'execa';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { addTallies, check, readPlaywrightReport, readVitestReport, type Tally } from './tally.ts';

export const suites = ['format', 'lint', 'types', 'unit', 'integration', 'browser'] as const;
export type Suite = (typeof suites)[number];

export interface Runner {
  suite: Suite;
  name: string;
  /** Runs beside the others, where this machine can give it a libvirt and a network of its own. */
  beside?: true;
  run(): Promise<Tally>;
}

/** Needs no way out to the Internet, and takes about as long as the rest of the integration tests. */
const BESIDE = new Set(['packages/db', 'packages/queue', 'apps/web', 'apps/worker']);

/** Files that run there though the rest of their workspace does not, so that both halves take about as long. */
const FILES_BESIDE: Readonly<Record<string, readonly string[]>> = {
  'packages/clone-core/test/integration': ['libvirt.refresh.test.ts'],
};

const root = join(import.meta.dirname, '../../..');

/** Where tests keep the sample guest's image. */
export const sampleCaches = ['.data/cache', 'node_modules/.cache/offshoot'].map((path) => join(root, path));

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
    ...workspaces.flatMap((folder) => vitestRunner('integration', folder, 'test/integration')),
    ...workspaces.flatMap((folder) => vitestRunner('integration', folder, 'test/libvirt')),
    { suite: 'browser', name: 'browser apps/web', beside: true, run: () => runPlaywright('apps/web/e2e') },
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

function vitestRunner(suite: Suite, folder: string, tests: string): Runner[] {
  if (!existsSync(join(root, folder, tests))) return [];
  const name = tests.endsWith(suite) ? `${suite} ${folder}` : `${suite} ${folder}/${tests}`;
  const files = (FILES_BESIDE[`${folder}/${tests}`] ?? []).map((file) => `${tests}/${file}`);
  return [
    {
      suite,
      name,
      ...(suite === 'integration' && BESIDE.has(folder) ? { beside: true as const } : {}),
      run: () => runVitest(folder, tests, [`${tests}/`, ...files.flatMap((file) => ['--exclude', file])]),
    },
    ...files.map((file) => ({
      suite,
      name: `${name}: ${basename(file, '.test.ts')}`,
      beside: true as const,
      run: () => runVitest(folder, tests, [file]),
    })),
  ];
}

/** Runs one workspace's tests, those chosen; a run without a readable report, or with no test in it, is a failure. */
async function runVitest(folder: string, tests: string, chosen: readonly string[]): Promise<Tally> {
  const scratch = await mkdtemp(join(tmpdir(), 'offshoot-report-'));
  const file = join(scratch, 'report.json');
  // A suite may bring a configuration of its own, beside its tests.
  const own = join(root, folder, tests, 'vitest.config.ts');
  try {
    const done = await execa(
      'vitest',
      [
        'run',
        ...chosen,
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
