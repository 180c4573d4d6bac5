/**
 * The sample guest: a small real Linux (kernel, busybox, SSH server, guest agent) built from this machine's own
 * distribution packages, so that a first clone needs no download from anywhere else.
 */
import { OffshootError } from '@offshoot/clone-core/errors';
import { execa } from 'execa';
import { createHash } from 'node:crypto';
import { access, mkdir, readdir, readFile, unlink } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

const here = import.meta.dirname;

/** Programs of the builder and the packages that hold them. */
const programs: Readonly<Record<string, string>> = {
  'apt-get': 'apt',
  'dpkg-deb': 'dpkg',
  'qemu-img': 'qemu-utils',
  mke2fs: 'e2fsprogs',
  debugfs: 'e2fsprogs',
  sfdisk: 'fdisk',
  depmod: 'kmod',
  flock: 'util-linux',
  gzip: 'gzip',
};

/**
 * Path of the sample guest's image in `cacheDir`, built there first (about 10 s) when this version of the builder has
 * not built it yet. Safe to call from several processes at once; the image appears complete or not at all.
 * @param onLine gets a line for each thing the builder does.
 * @throws OffshootError `not-found` when programs are missing (the remedy names their packages), `command-failed`
 * when the build failed, `permission` when the folder can't be written.
 */
export async function ensureSampleImage(cacheDir: string, onLine?: (line: string) => void): Promise<string> {
  const image = join(cacheDir, `sample-${await builderVersion()}.qcow2`);
  if (await exists(image)) return image;
  await requirePrograms();
  await makeFolder(cacheDir);
  await build(image, onLine ?? (() => undefined));
  await removeOlder(cacheDir, image);
  return image;
}

/** Changes with any file of the builder. */
async function builderVersion(): Promise<string> {
  const files = (await readdir(here, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
  const hash = createHash('sha256');
  for (const file of files)
    hash
      .update(file.slice(here.length))
      .update('\0')
      .update(await readFile(file));
  return hash.digest('hex').slice(0, 12);
}

async function build(image: string, onLine: (line: string) => void): Promise<void> {
  const building = execa('bash', [join(here, 'build.sh'), image], {
    stdin: 'ignore',
    env: { LC_ALL: 'C' },
    reject: false,
  });
  for await (const line of building) onLine(line);
  const { failed, stderr } = await building;
  if (!failed) return;
  throw new OffshootError('command-failed', {
    publicMessage: `The sample guest could not be built: ${lastLines(stderr.trim(), 3)}`,
    remedy:
      'Check that apt works on this machine (apt-get update) and that there is 300 MB of free space, then start again.',
    context: { stderr },
  });
}

async function requirePrograms(): Promise<void> {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const missing = new Set<string>();
  for (const [program, holder] of Object.entries(programs)) {
    const found = await Promise.all(folders.map((folder) => exists(join(folder, program))));
    if (!found.includes(true)) missing.add(holder);
  }
  if (missing.size === 0) return;
  throw new OffshootError('not-found', {
    publicMessage: 'Programs that build the sample guest are missing on this machine.',
    remedy: `Run: apt-get install --no-install-recommends ${[...missing].join(' ')}`,
  });
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw new OffshootError('permission', {
      publicMessage: `The folder ${folder} for the sample guest can’t be made.`,
      remedy: 'Give the user that runs Offshoot the right to write there.',
      cause: error,
    });
  }
}

async function removeOlder(folder: string, keep: string): Promise<void> {
  const images = (await readdir(folder)).filter((name) => /^sample-[0-9a-f]{12}\.qcow2$/.test(name));
  for (const name of images) if (join(folder, name) !== keep) await unlink(join(folder, name));
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function lastLines(text: string, count: number): string {
  return text.split('\n').slice(-count).join(' ');
}
