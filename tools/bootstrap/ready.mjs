/**
 * Makes a machine with nothing but Node and npm ready: locked npm dependencies, system packages. Plain JavaScript
 * without dependencies, because none are installed yet when this runs.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** Said in one sentence, without a stack. */
export class Stop extends Error {
  /** @param {string} message @param {number} [code] */
  constructor(message, code = 2) {
    super(message);
    this.code = code;
  }
}

/** What the portal needs to run guests and to build its sample guest. */
export const portalPackages = [
  'qemu-system-x86',
  'qemu-utils',
  'libvirt-daemon-system',
  'libvirt-clients',
  'dnsmasq-base',
  'ovmf',
  'swtpm',
  'swtpm-tools',
  'redis-server',
  'util-linux',
  'iproute2',
  'ca-certificates',
  'openssl',
  'dosfstools',
  'mtools',
  'e2fsprogs',
  'fdisk',
  'ntfs-3g',
  'syslinux',
  'cpio',
  'zstd',
  'kmod',
  'tini',
];
/** What the tests need besides. */
export const testPackages = [
  'chromium',
  'openssh-server',
  'openssh-client',
  'xfsprogs',
  'btrfs-progs',
  'lvm2',
  'git',
  'mmdebstrap',
  'tcpdump',
];
/** What the fleet lab needs besides. */
export const labPackages = ['openssh-server', 'openssh-client'];
/** What the benchmarks need besides: the tools that Offshoot is compared with. */
export const benchPackages = [
  'virtinst',
  'xfsprogs',
  'rsync',
  'chromium',
  'openssh-server',
  'openssh-client',
];

/**
 * Checks Node, installs what is missing. Prints each command before it runs it; asks nothing without a terminal.
 * @param {{ packages: string[] }} needs
 */
export function ensureReady({ packages }) {
  requireNode();
  ensureNpm();
  ensureGenerated();
  ensurePackages(packages);
}

function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  throw new Stop(
    `Offshoot needs Node 20.19 or newer, this is ${process.versions.node}. Install a newer Node and run the command again.`,
  );
}

function ensureNpm() {
  const lock = readFileSync(join(root, 'package-lock.json'));
  const wanted = createHash('sha256').update(lock).update(process.versions.modules).digest('hex');
  const marker = join(root, 'node_modules', '.offshoot-installed');
  if (existsSync(marker) && readFileSync(marker, 'utf8') === wanted) return;
  say('Installing npm dependencies: npm ci');
  // Prisma's client needs no downloaded engine; its installer must not try to fetch one.
  const env = {
    ...process.env,
    PRISMA_SKIP_POSTINSTALL_GENERATE: '1',
    PRISMA_ENGINES_CHECKSUM_IGNORE_MISSING: '1',
    npm_config_loglevel: 'error',
  };
  const done = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: root,
    env,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (done.status !== 0) {
    throw new Stop(
      'npm ci failed; its own words are above. Check the connection to the npm registry and the free disk space, then run the command again.',
      1,
    );
  }
  writeFileSync(marker, wanted);
}

/** Code made from the database's schema is not in the repository, and everything imports it. */
function ensureGenerated() {
  const folder = join(root, 'packages/db/src/generated');
  const marker = join(folder, '.made-from');
  const schema = readFileSync(join(root, 'packages/db/prisma/schema.prisma'));
  const wanted = createHash('sha256').update(schema).digest('hex');
  if (existsSync(marker) && readFileSync(marker, 'utf8') === wanted) return;
  const done = spawnSync('npm', ['run', 'generate', '--silent', '--workspace', '@offshoot/db'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (done.status !== 0)
    throw new Stop(`The database client could not be generated:\n${done.stdout}${done.stderr}`, 1);
  writeFileSync(marker, wanted);
}

/** @param {string[]} packages */
function missing(packages) {
  const asked = spawnSync('dpkg-query', ['-W', '-f=${Package} ${db:Status-Status}\\n', ...packages], {
    encoding: 'utf8',
  });
  if (asked.error) {
    throw new Stop(
      'This machine has no dpkg: Offshoot installs its system packages on Debian and Ubuntu only. Install them by hand and set OFFSHOOT_SKIP_PACKAGES=1: ' +
        packages.join(' '),
    );
  }
  const installed = new Set(
    asked.stdout
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0]),
  );
  return packages.filter((name) => !installed.has(name));
}

/** @param {string[]} packages */
export function ensurePackages(packages) {
  if (process.env.OFFSHOOT_SKIP_PACKAGES === '1') return;
  const wanted = missing(packages);
  if (wanted.length === 0) return;
  const install = ['apt-get', 'install', '-y', '--no-install-recommends', ...wanted];
  const isRoot = process.getuid?.() === 0;
  const sudo = isRoot ? [] : sudoFor();
  if (sudo === undefined) {
    throw new Stop(
      `Some system packages are missing and this account may not install them. Run this once, then start again:\n\n  sudo ${install.join(' ')}\n`,
    );
  }
  say(`Installing system packages: ${[...sudo, ...install].join(' ')}`);
  const apt = (args) =>
    spawnSync(
      [...sudo, 'env', 'DEBIAN_FRONTEND=noninteractive', ...args][0],
      [...sudo, 'env', 'DEBIAN_FRONTEND=noninteractive', ...args].slice(1),
      {
        encoding: 'utf8',
        stdio: [process.stdin.isTTY ? 'inherit' : 'ignore', 'pipe', 'pipe'],
        maxBuffer: 64 * 1024 * 1024,
      },
    );
  let done = apt(install);
  if (done.status !== 0) {
    // Package lists may be empty (a fresh image) or old.
    say('Reading package lists: apt-get update');
    apt(['apt-get', 'update']);
    done = apt(install);
  }
  if (done.status !== 0) {
    const last = `${done.stdout ?? ''}${done.stderr ?? ''}`.trim().split('\n').slice(-4).join('\n');
    throw new Stop(
      `The system packages could not be installed:\n${last}\nRun this yourself, then start again:\n\n  sudo ${install.join(' ')}\n`,
      1,
    );
  }
  const still = missing(wanted);
  if (still.length > 0)
    throw new Stop(`After the installation these packages are still missing: ${still.join(', ')}.`, 1);
}

/** sudo without a question; with a terminal it may ask for the password itself. */
function sudoFor() {
  const works = spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' });
  if (works.status === 0) return ['sudo', '-n'];
  if (works.error === undefined && process.stdin.isTTY) return ['sudo'];
  return undefined;
}

/** @param {string} line */
export function say(line) {
  process.stderr.write(`${line}\n`);
}

/**
 * Runs `main`, turning a Stop into its sentence and exit code.
 * @param {() => void | Promise<void>} main
 */
export async function plainly(main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    say(error.message);
    process.exitCode = error.code;
  }
}
