/**
 * ext2, ext3 and ext4 through `debugfs`: in user space, so that a guest's filesystem never meets the host's kernel. Requests
 * go in on standard input; a comment line between them, which debugfs prints, tells their answers apart.
 */
import { randomUUID } from 'node:crypto';
import { posix } from 'node:path';
import { OffshootError } from '../../errors.ts';
import type { Session } from './session.ts';
import { isPlain, MAX_TEXT, requirePlain, type Action, type Entry, type Tree } from './tree.ts';
import type { Volume } from './volumes.ts';

const KINDS: Readonly<Record<number, Entry['kind']>> = {
  0o100000: 'file',
  0o040000: 'folder',
  0o120000: 'link',
};
/** What debugfs of e2fsprogs 1.44 and later writes so that e2fsck finds no fault. */
const EDITABLE = new Set(
  `has_journal ext_attr resize_inode dir_index filetype extent 64bit flex_bg sparse_super sparse_super2 large_file huge_file
   dir_nlink extra_isize metadata_csum metadata_csum_seed uninit_bg large_dir stable_inodes orphan_file orphan_present needs_recovery`.split(
    /\s+/,
  ),
);

/** Prints those that are no files. */
const MISSING = 'for path; do [ -f "$path" ] || echo "$path"; done';

const quoted = (path: string): string => `"${path}"`;

export interface ExtTree extends Tree {
  /** Why it can't be edited, as the end of a sentence. */
  readonly notEditable: string | undefined;
}

/** Thrown where a journal has to be played back and the volume is not all that the session shows. */
export class NeedsWindow extends Error {}

/**
 * A journal that was not played back is, into the layer. Throws `unsupported-disk` when that can't be done, `NeedsWindow`
 * when the session must show the volume alone for it: e2fsck opens a device a second time then, and forgets its offset.
 */
export async function openExt(session: Session, volume: Volume): Promise<ExtTree> {
  const device = `${session.fileOf(volume.target)}?offset=${volume.offset}`;
  const ask = (requests: readonly (readonly string[])[], writable = false): Promise<string[]> =>
    answers(session, device, requests, writable);
  const [head = ''] = await ask([['stats -h']]);
  const features = /^Filesystem features:\s+(.*)$/m.exec(head)?.[1]?.split(/\s+/) ?? [];
  if (features.length === 0) throw damaged('its superblock can’t be read');
  if (features.includes('needs_recovery')) {
    if (volume.offset > 0) throw new NeedsWindow();
    await replay(session, session.fileOf(volume.target));
  }
  return {
    notEditable: notEditable(features, head),
    linksStayInside: true,
    list: (folders) => list(ask, folders),
    links: (paths) => links(ask, paths),
    texts: (paths) => texts(ask, paths),
    fetch: (files) => fetch(session, ask, files),
    apply: (actions) => apply(session, ask, actions),
  };
}

function notEditable(features: readonly string[], head: string): string | undefined {
  const strange = features.filter((feature) => feature !== '' && !EDITABLE.has(feature));
  if (strange.length > 0)
    return `its ext4 filesystem has features that are not known here: ${strange.join(', ')}`;
  if (/^Filesystem state:.*\berrors?\b/m.test(head))
    return 'its filesystem has errors that a check has to repair first';
  return undefined;
}

async function replay(session: Session, device: string): Promise<void> {
  // 0: nothing to do, 1: repaired; both are fine.
  const { code, stdout, stderr } = await session.run(['e2fsck', '-y', '-E', 'journal_only', '--', device], {
    okCodes: [0, 1, 2, 4, 8, 12],
    timeoutMs: 300_000,
  });
  if (code > 1) throw damaged('its journal can’t be played back', `${stdout}${stderr}`);
}

type Ask = (requests: readonly (readonly string[])[], writable?: boolean) => Promise<string[]>;

/** One answer per request; a request is some lines. What failed has an empty one: debugfs' exit code tells nothing. */
async function answers(
  session: Session,
  device: string,
  requests: readonly (readonly string[])[],
  writable: boolean,
): Promise<string[]> {
  const nonce = randomUUID();
  const mark = (index: number): string => `#${nonce} ${index}\n`;
  const input = requests.map((lines, index) => `${mark(index)}${lines.join('\n')}\n`).join('');
  // Reading needs no bitmaps (-c): those of a big disk are hundreds of MiB.
  const { stdout, stderr } = await session.run(['debugfs', writable ? '-w' : '-c', '-f', '-', device], {
    input,
    okCodes: [0, 1],
    timeoutMs: 300_000,
  });
  if (/while trying to open|while reading (inode|block|allocation) bitmap|Filesystem not open/i.test(stderr))
    throw damaged('it can’t be opened', stderr);
  const parts = stdout.split(`#${nonce} `).slice(1);
  return requests.map((lines, index) => {
    const own = parts.find((part) => part.startsWith(`${index}\n`)) ?? '';
    let rest = own.slice(String(index).length + 1);
    // debugfs repeats each request before its answer; with one request per part only the first line is that.
    if (lines.length === 1) rest = rest.slice(`debugfs: ${lines[0] ?? ''}\n`.length);
    return rest;
  });
}

async function list(ask: Ask, folders: readonly string[]): Promise<ReadonlyMap<string, Entry[]>> {
  const plain = folders.filter(isPlain);
  const told = plain.length === 0 ? [] : await ask(plain.map((path) => [`ls -p ${quoted(path)}`]));
  const result = new Map<string, Entry[]>();
  plain.forEach((path, index) => {
    const entries = (told[index] ?? '').split('\n').flatMap((line) => entryOf(line) ?? []);
    if (entries.some(({ name }) => name === '.'))
      result.set(
        path,
        entries.filter(({ name }) => name !== '.' && name !== '..'),
      );
  });
  return result;
}

/** `/inode/mode/uid/gid/name/size/`; a deleted entry has inode 0, a damaged one lacks fields. */
function entryOf(line: string): Entry | undefined {
  const [empty, inode, octal = '', uid, gid, name = '', size = ''] = line.split('/');
  if (empty !== '' || name === '' || !(Number(inode) > 0)) return undefined;
  const mode = Number.parseInt(octal, 8);
  return {
    name,
    kind: KINDS[mode & 0o170000] ?? 'other',
    mode: mode & 0o7777,
    uid: Number(uid),
    gid: Number(gid),
    size: Number(size) || 0,
  };
}

async function links(ask: Ask, paths: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const plain = paths.filter(isPlain);
  const result = new Map<string, string>();
  const told = await ask(plain.map((path) => [`stat ${quoted(path)}`]));
  const long: string[] = [];
  plain.forEach((path, index) => {
    const fast = /^Fast link dest: "(.*)"$/ms.exec(told[index] ?? '')?.[1];
    if (fast === undefined) long.push(path);
    else result.set(path, fast);
  });
  // A target of 60 bytes and more is in a block.
  for (const [path, target] of await texts(ask, long)) result.set(path, target);
  return result;
}

async function texts(ask: Ask, paths: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const plain = paths.filter(isPlain);
  if (plain.length === 0) return new Map();
  const told = await ask(plain.map((path) => [`cat ${quoted(path)}`]));
  return new Map(plain.map((path, index) => [path, (told[index] ?? '').slice(0, MAX_TEXT)]));
}

async function fetch(
  session: Session,
  ask: Ask,
  files: readonly { path: string; to: string }[],
): Promise<void> {
  if (files.length === 0) return;
  await ask(
    files.map(({ path, to }) => {
      requirePlain(path);
      requirePlain(to);
      return [`dump ${quoted(path)} ${quoted(to)}`];
    }),
  );
  const { stdout } = await session.shell.run(['sh', '-c', MISSING, 'sh', ...files.map(({ to }) => to)], {
    signal: session.signal,
  });
  const missing = files.find(({ to }) => stdout.split('\n').includes(to));
  if (missing) throw damaged(`${missing.path} can’t be read`);
}

async function apply(session: Session, ask: Ask, actions: readonly Action[]): Promise<void> {
  if (actions.length === 0) return;
  const label = (index: number): string => `${session.scratch}/label-${index}`;
  const labelled = actions.flatMap((action, index) =>
    'label' in action && action.label !== undefined ? [[index, action.label] as const] : [],
  );
  if (labelled.length > 0)
    await ask(
      labelled.map(([index, path]) => [`ea_get -f ${quoted(label(index))} ${quoted(path)} security.selinux`]),
    );
  const requests = actions.map((action, index) => {
    requirePlain(action.path);
    const path = quoted(action.path);
    const setLabel =
      'label' in action && action.label !== undefined
        ? [`ea_set -f ${quoted(label(index))} ${path} security.selinux`]
        : [];
    switch (action.do) {
      case 'folder':
        return [`mkdir ${path}`, `sif ${path} mode 0${(0o040000 | action.mode).toString(8)}`, ...setLabel];
      case 'remove':
        return [`rm ${path}`];
      case 'remove-folder':
        return [`rmdir ${path}`];
      case 'put':
        requirePlain(action.from);
        return [
          `rm ${path}`,
          // Only the name is taken as it is: the folder has to be entered.
          `cd ${quoted(posix.dirname(action.path))}`,
          `write ${quoted(action.from)} ${quoted(posix.basename(action.path))}`,
          'cd /',
          `sif ${path} mode 0${(0o100000 | action.mode).toString(8)}`,
          `sif ${path} uid ${action.uid}`,
          `sif ${path} gid ${action.gid}`,
          ...setLabel,
        ];
    }
  });
  await ask(requests, true);
}

const damaged = (what: string, stderr?: string): OffshootError =>
  new OffshootError('unsupported-disk', {
    publicMessage: `The guest’s ext4 filesystem can’t be used from outside: ${what}.`,
    remedy: 'Start the guest, let it check its filesystem, stop it and try again.',
    context: stderr === undefined ? {} : { stderr },
  });
