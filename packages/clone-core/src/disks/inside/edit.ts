/** Changes files of a guest that stands still, all or nothing. */
import { randomUUID } from 'node:crypto';
import { OffshootError } from '../../errors.ts';
import type { InsideEdit } from '../../identity/edits.ts';
import type { Shell } from '../../shell/shell.ts';
import { Draft, notDone, verify } from './draft.ts';
import { openRoot, windowOf } from './open.ts';
import { Paths, type Found } from './paths.ts';
import { withDisks, type Session } from './session.ts';
import { MAX_TEXT, type Tree } from './tree.ts';
import type { FileInside, InsideDisk, InsideRoot } from './types.ts';

const MAX_READ = 8 * MAX_TEXT;
/** Standard input is the contents one after another; arguments: a file and its bytes, again and again. */
const SPREAD = 'umask 077; while [ $# -gt 0 ]; do head -c "$2" > "$1" || exit 1; shift 2; done';
/** Once `$1` is safe on the disk it is called `$2`. */
const DECIDE = 'sync -- "$1" && mv -fT -- "$1" "$2" && sync -- "$3"';
const SETTLE = 'if [ -e "$1" ]; then echo decided; else rm -rf -- "$2"; fi';
/** Prints the second of each two files that are not the same. */
const COMPARE = 'while [ $# -gt 0 ]; do cmp -s -- "$1" "$2" || echo "$2"; shift 2; done';
const BASE64 = 'for path; do base64 -w 0 -- "$path"; echo; done';

/** Temporary files of an edit, beside the disk: gone when it has ended, and what `clearInside` removes after a crash. */
export const scratchOf = (disk: Pick<InsideDisk, 'path'>): string => `${disk.path}.inside`;

/** A whole layer of edits under this name goes into the disk, however often the work is cut off. */
const decidedLayer = (disk: InsideDisk): string => `${scratchOf(disk)}/decided.qcow2`;

/**
 * Performs the edits in their order and resolves to the paths that were written or removed, links resolved. They are made in
 * a layer over the disk, which is put into it at the end: a crash leaves the disk as it was, or lets the next call finish
 * it. Throws `busy` when the disk is in use, `source-changed` when `root` is not there any more, `unsupported-disk` when
 * it can't be edited (a name that can't be passed on, a damaged filesystem), `no-space` when the guest's filesystem is full.
 */
export async function editInside(
  shell: Shell,
  disk: InsideDisk,
  root: InsideRoot,
  edits: readonly InsideEdit[],
  options: { signal: AbortSignal; log?: (line: string) => void },
): Promise<{ changed: string[] }> {
  const expected = edits.map((one) => ('path' in one ? one.path : one.pattern));
  return inLayer(shell, disk, root, options, expected, async ({ draft }) => {
    for (const edit of edits) await draft.take(edit);
  });
}

interface Work {
  session: Session;
  tree: Tree;
  paths: Paths;
  draft: Draft;
}

async function inLayer(
  shell: Shell,
  disk: InsideDisk,
  root: InsideRoot,
  { signal, log }: { signal: AbortSignal; log?: (line: string) => void },
  expected: readonly string[],
  decide: (work: Work) => Promise<void>,
): Promise<{ changed: string[] }> {
  await settle(shell, disk, signal);
  const begun = performance.now();
  const scratch = scratchOf(disk);
  try {
    const changed = await withDisks(
      shell,
      { disks: [disk], scratch, shared: false, ...windowOf(root) },
      signal,
      async (session) => {
        const { tree, notEditable } = await openRoot(session, root);
        if (notEditable !== undefined) throw refuse(notEditable);
        const paths = new Paths(tree);
        paths.ahead(['/etc/selinux/config', ...expected]);
        const selinux = (await paths.find('/etc/selinux/config')) !== undefined;
        const draft = new Draft(paths, scratch, selinux);
        await decide({ session, tree, paths, draft });
        await stage(session, draft);
        await tree.apply(draft.actions);
        await verify(paths, new Paths(tree), draft);
        await compare(session, tree, draft);
        return [...draft.changed];
      },
    );
    if (changed.length > 0) {
      const layer = `${scratch}/${disk.target}.qcow2`;
      await shell.run(['sh', '-c', DECIDE, 'sh', layer, decidedLayer(disk), scratch], { signal });
      await commit(shell, disk, signal);
    } else await clearInside(shell, disk);
    log?.(
      `${changed.length} paths changed in ${disk.path}, ${Math.round(performance.now() - begun)} ms: ${changed.join(', ')}`,
    );
    return { changed };
  } catch (thrown) {
    // A layer that is decided stays: half of it may be in the disk already.
    await isDecided(shell, disk);
    throw thrown;
  }
}

/** Puts a decided layer into the disk; other things of a run that was cut off are removed. */
async function settle(shell: Shell, disk: InsideDisk, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (await isDecided(shell, disk, signal)) await commit(shell, disk, signal);
}

/** Removes what is not decided. */
async function isDecided(shell: Shell, disk: InsideDisk, signal?: AbortSignal): Promise<boolean> {
  const { stdout } = await shell.run(
    ['sh', '-c', SETTLE, 'sh', decidedLayer(disk), scratchOf(disk)],
    signal ? { signal } : {},
  );
  return stdout.trim() === 'decided';
}

async function commit(shell: Shell, disk: InsideDisk, signal: AbortSignal): Promise<void> {
  // Flushes the disk before it ends.
  await shell.run(['qemu-img', 'commit', '-q', '-d', '-f', 'qcow2', '--', decidedLayer(disk)], {
    signal,
    timeoutMs: 0,
    dieWithParent: true,
  });
  await clearInside(shell, disk);
}

async function stage({ shell, signal }: Session, { staged, scratch }: Draft): Promise<void> {
  if (staged.length === 0) return;
  const contents = staged.map(({ content }) => Buffer.from(content));
  await shell.run(
    [
      'sh',
      '-c',
      SPREAD,
      'sh',
      ...staged.flatMap(({ name }, index) => [
        `${scratch}/${name}`,
        String(contents[index]?.byteLength ?? 0),
      ]),
    ],
    { signal, input: Buffer.concat(contents) },
  );
}

/** Reads back what was put: debugfs gives a file its size even when its content found no room. */
async function compare(session: Session, tree: Tree, draft: Draft): Promise<void> {
  const puts = new Map(
    draft.actions.flatMap((action) => (action.do === 'put' ? [[action.path, action.from]] : [])),
  );
  const there = await Promise.all([...puts.keys()].map(async (path) => draft.paths.find(path, false)));
  const copies = there.flatMap((found, index) =>
    found?.kind === 'file' ? [{ path: found.path, to: `${session.scratch}/back-${index}` }] : [],
  );
  await tree.fetch(copies);
  const { stdout } = await session.shell.run(
    ['sh', '-c', COMPARE, 'sh', ...copies.flatMap(({ path, to }) => [puts.get(path) ?? '', to])],
    { signal: session.signal },
  );
  const differing = copies.find(({ to }) => stdout.split('\n').includes(to));
  if (differing) throw notDone(differing.path);
}

/**
 * Files that match the patterns (as in `InsideEdit`), at most 1 MiB each and 8 MiB in all. Throws as `editInside`, but works
 * while the disk is in use too. Not for secrets: what is read passes through the caller's memory.
 */
export async function readInside(
  shell: Shell,
  disk: InsideDisk,
  root: InsideRoot,
  patterns: readonly string[],
  { store, signal }: { store: string; signal: AbortSignal },
): Promise<FileInside[]> {
  const scratch = `${store}/.inside-${randomUUID()}`;
  try {
    return await withDisks(
      shell,
      { disks: [disk], scratch, shared: true, ...windowOf(root) },
      signal,
      async (session) => {
        const { tree } = await openRoot(session, root);
        const files = await filesOf(new Paths(tree), patterns);
        let bytes = 0;
        for (const { path, size } of files) {
          bytes += size;
          if (size > MAX_TEXT || bytes > MAX_READ) throw refuse(`${path} is too big to be read`);
        }
        const copies = await copyOut(session, tree, files, 'read');
        if (copies.length === 0) return [];
        const { stdout } = await shell.run(['sh', '-c', BASE64, 'sh', ...copies.map(({ to }) => to)], {
          signal,
        });
        const contents = stdout.split('\n');
        return copies.map(({ path, mode, uid, gid }, index) => ({
          path,
          content: contents[index] ?? '',
          mode,
          uid,
          gid,
        }));
      },
    );
  } finally {
    await shell.run(['rm', '-rf', '--', scratch]);
  }
}

/** Regular files that match; a link's target by its own path. */
async function filesOf(paths: Paths, patterns: readonly string[]): Promise<Found[]> {
  paths.ahead(patterns);
  const matches = (await Promise.all(patterns.map((pattern) => paths.glob(pattern)))).flat();
  const files = await Promise.all(
    matches.map(async (found) => (found.kind === 'link' ? paths.find(found.path) : found)),
  );
  const real = new Map(files.flatMap((file) => (file?.kind === 'file' ? [[file.path, file]] : [])));
  return [...real.values()];
}

async function copyOut(
  { scratch }: Session,
  tree: Tree,
  files: readonly Found[],
  prefix: string,
): Promise<(Found & { to: string })[]> {
  const copies = files.map((file, index) => ({ ...file, to: `${scratch}/${prefix}-${index}` }));
  await tree.fetch(copies);
  return copies;
}

/**
 * Copies the files that match from one guest's filesystem into another's, with owner and mode, on the host: their content
 * passes through no log, plan or message. Files of `to` that match and are not in `from` are removed; those that are
 * the same already are not touched. `first`: edits of `to` before that. `added`: patterns whose files are carried over too, while
 * others of `to` that match stay. All or nothing and repeatable as `editInside`; resolves to the
 * paths that are as in `from` now.
 */
export async function carryInside(
  shell: Shell,
  from: { disk: InsideDisk; root: InsideRoot },
  to: { disk: InsideDisk; root: InsideRoot },
  patterns: readonly string[],
  options: {
    signal: AbortSignal;
    log?: (line: string) => void;
    first?: readonly InsideEdit[];
    added?: readonly string[];
  },
): Promise<{ carried: string[] }> {
  const { added = [] } = options;
  const carried: string[] = [];
  await inLayer(
    shell,
    to.disk,
    to.root,
    options,
    [...patterns, ...added],
    async ({ session, tree, paths, draft }) => {
      const scratch = `${session.scratch}/from`;
      for (const edit of options.first ?? []) await draft.take(edit);
      const theirs = await filesOf(paths, patterns);
      await withDisks(
        shell,
        { disks: [from.disk], scratch, shared: true, ...windowOf(from.root) },
        options.signal,
        async (source) => {
          const opened = await openRoot(source, from.root);
          const files = await filesOf(new Paths(opened.tree), [...patterns, ...added]);
          const copies = await copyOut(source, opened.tree, files, 'carry');
          const same = await equalOf(session, tree, theirs, copies);
          for (const file of copies)
            if (same.has(file.path)) carried.push(file.path);
            else carried.push(await draft.put(file.path, file.to, file.size, file));
        },
      );
      const kept = new Set(carried);
      for (const file of theirs) if (!kept.has(file.path)) await draft.remove(file);
    },
  );
  return { carried };
}

/** Paths of those that are there already, the same in content, owner and mode: they are left alone. */
async function equalOf(
  session: Session,
  tree: Tree,
  theirs: readonly Found[],
  copies: readonly (Found & { to: string })[],
): Promise<Set<string>> {
  const pairs = copies.flatMap((copy) => {
    const there = theirs.find(
      ({ path, size, mode, uid, gid }) =>
        path === copy.path &&
        size === copy.size &&
        mode === copy.mode &&
        uid === copy.uid &&
        gid === copy.gid,
    );
    return there ? [{ copy, there }] : [];
  });
  if (pairs.length === 0) return new Set();
  const fetched = await copyOut(
    session,
    tree,
    pairs.map(({ there }) => there),
    'there',
  );
  const { stdout } = await session.shell.run(
    ['sh', '-c', COMPARE, 'sh', ...pairs.flatMap(({ copy }, index) => [copy.to, fetched[index]?.to ?? ''])],
    { signal: session.signal },
  );
  const differing = new Set(stdout.split('\n'));
  return new Set(fetched.flatMap(({ path, to }) => (differing.has(to) ? [] : [path])));
}

/** Removes what an edit that was cut off left beside the disk. For undoing: the disk itself is thrown away then. */
export async function clearInside(shell: Shell, disk: Pick<InsideDisk, 'path'>): Promise<void> {
  await shell.run(['rm', '-rf', '--', scratchOf(disk)]);
}

const refuse = (why: string): OffshootError =>
  new OffshootError('unsupported-disk', {
    publicMessage: `The guest’s files can’t be changed from outside: ${why}.`,
    remedy: 'Put that right in the guest, or clone it without an identity of its own.',
  });
