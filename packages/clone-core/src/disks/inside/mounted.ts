/**
 * XFS, btrfs and NTFS, mounted in a namespace of their own without set-user-id, devices and programs. Every path given here
 * is real (`paths.ts` resolves links inside the guest), and nothing else writes to the filesystem: no link leads out of it.
 */
import { OffshootError } from '../../errors.ts';
import { stderrOf } from '../stderr.ts';
import { notDone } from './draft.ts';
import type { Session } from './session.ts';
import { isPlain, MAX_TEXT, requirePlain, type Action, type Entry, type Tree } from './tree.ts';
import type { InsideRoot } from './types.ts';
import type { Volume } from './volumes.ts';

const KINDS: Readonly<Record<string, Entry['kind']>> = { f: 'file', d: 'folder', l: 'link' };
const FLAGS = 'nosuid,nodev,noexec,noatime';
/** So many arguments at a time. */
const BATCH = 200;

/** `NUL path NUL content` for each; what has a NUL in it loses that. */
const TEXTS = `for path; do printf '\\0%s\\0' "$path"; head -c ${MAX_TEXT} -- "$path" | tr -d '\\000'; done`;
/** Source, target, mode, uid, gid. In place where there is one: it keeps what else it has. One that has other names is replaced. */
const PUT = `
if [ -e "$2" ] && [ "$(stat -c %h -- "$2")" != 1 ]; then rm -- "$2" || exit 1; fi
(umask 077 && cat < "$1" > "$2") && chown -- "$4:$5" "$2" && chmod -- "$3" "$2"`;

type Filesystem = InsideRoot['filesystem'];

/**
 * Mounts the volume on the session's folder; one at a time. Throws `unsupported-disk` when the filesystem is damaged,
 * `permission` when this is not root, `not-found` when the host knows no such filesystem.
 */
export async function openMounted(session: Session, volume: Volume, subvolume?: string): Promise<Tree> {
  const filesystem = volume.type as Filesystem;
  const mounts = await session.mounts();
  const { folder, run } = mounts;
  await run(['umount', '--', folder], { okCodes: [0, 32] });
  const part = volume.size > 0 ? `,offset=${volume.offset},sizelimit=${volume.size}` : '';
  const extra = filesystem === 'xfs' ? ',nouuid' : subvolume === undefined ? '' : `,subvol=${subvolume}`;
  try {
    if (filesystem === 'ntfs')
      // In user space; for reading alone. The session shows only this volume: ntfs-3g knows no offset.
      await mounts.serve(['ntfs-3g', '-o', `ro,no_detach,${FLAGS}`, session.fileOf(volume.target), folder]);
    else
      await run([
        'mount',
        '-t',
        filesystem,
        '-o',
        `loop${part},${FLAGS}${extra}`,
        '--',
        session.fileOf(volume.target),
        folder,
      ]);
  } catch (thrown) {
    throw notMounted(thrown, filesystem);
  }
  const root = folder;
  const inside = (path: string): string => (path === '/' ? root : `${root}${path}`);
  return {
    linksStayInside: false,
    list: async (folders) => {
      const result = new Map<string, Entry[]>();
      for (const some of batches(folders.filter(isPlain))) await listInto(result, run, root, some);
      return result;
    },
    links: async (paths) => {
      const result = new Map<string, string>();
      for (const some of batches(paths)) {
        const { stdout } = await run([
          'find',
          '-P',
          ...some.map(inside),
          '-maxdepth',
          '0',
          '-printf',
          '%H\\0%l\\0',
        ]);
        const words = stdout.split('\0');
        for (let at = 0; at + 1 < words.length; at += 2)
          result.set((words[at] ?? '').slice(root.length), words[at + 1] ?? '');
      }
      return result;
    },
    texts: async (paths) => {
      const result = new Map<string, string>();
      for (const some of batches(paths)) {
        const { stdout } = await run(['sh', '-c', TEXTS, 'sh', ...some.map(inside)]);
        const words = stdout.split('\0').slice(1);
        for (let at = 0; at + 1 < words.length; at += 2)
          result.set((words[at] ?? '').slice(root.length), words[at + 1] ?? '');
      }
      return result;
    },
    fetch: async (files) => {
      for (const { path, to } of files) await run(['install', '-m', '600', '--', inside(path), to]);
    },
    apply: async (actions) => {
      for (const action of actions) {
        try {
          await perform(action, run, inside);
        } catch (thrown) {
          if (/No space left on device|Disk quota exceeded/.test(stderrOf(thrown)))
            throw notDone(action.path);
          throw thrown;
        }
      }
      await run(['sync', '--file-system', root]);
    },
  };
}

async function listInto(
  result: Map<string, Entry[]>,
  run: Session['run'],
  root: string,
  folders: readonly string[],
): Promise<void> {
  const { stdout } = await run(
    [
      'find',
      '-P',
      ...folders.map((path) => `${root}${path === '/' ? '' : path}`),
      '-maxdepth',
      '1',
      '-printf',
      '%H\\0%d\\0%f\\0%y\\0%m\\0%U\\0%G\\0%s\\0',
    ],
    { okCodes: [0, 1] },
  );
  const words = stdout.split('\0');
  for (let at = 0; at + 7 < words.length; at += 8) {
    const [start = '', depth, name = '', type = '', mode = '', uid, gid, size] = words.slice(at, at + 8);
    const folder = start.slice(root.length) || '/';
    if (depth === '0') {
      if (type === 'd') result.set(folder, []);
      continue;
    }
    result.get(folder)?.push({
      name,
      kind: KINDS[type] ?? 'other',
      mode: Number.parseInt(mode, 8),
      uid: Number(uid),
      gid: Number(gid),
      size: Number(size),
    });
  }
}

async function perform(action: Action, run: Session['run'], inside: (path: string) => string): Promise<void> {
  requirePlain(action.path);
  const path = inside(action.path);
  switch (action.do) {
    case 'folder':
      await run(['mkdir', '-m', action.mode.toString(8), '--', path]);
      return;
    case 'remove':
      await run(['rm', '-f', '--', path]);
      return;
    case 'remove-folder':
      await run(['rmdir', '--', path]);
      return;
    case 'put':
      await run([
        'sh',
        '-c',
        PUT,
        'sh',
        action.from,
        path,
        action.mode.toString(8),
        String(action.uid),
        String(action.gid),
      ]);
  }
}

function* batches<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += BATCH) yield all.slice(at, at + BATCH);
}

function notMounted(thrown: unknown, filesystem: string): unknown {
  if (!(thrown instanceof OffshootError) || thrown.code !== 'command-failed') return thrown;
  const said = stderrOf(thrown);
  if (/unknown filesystem type/.test(said))
    return new OffshootError('not-found', {
      publicMessage: `The host’s kernel knows no ${filesystem}.`,
      remedy: `Load its module there: modprobe ${filesystem}`,
      cause: thrown,
    });
  if (/must be superuser|permission denied|not permitted/i.test(said))
    return new OffshootError('permission', {
      publicMessage: `Only root can look into a guest’s ${filesystem} filesystem.`,
      remedy: 'Run the worker as root on that host.',
      cause: thrown,
    });
  return new OffshootError('unsupported-disk', {
    publicMessage: `The guest’s ${filesystem} filesystem can’t be opened.`,
    remedy: 'Start the guest, let it check its filesystem, stop it and try again.',
    context: thrown.context,
    cause: thrown,
  });
}
