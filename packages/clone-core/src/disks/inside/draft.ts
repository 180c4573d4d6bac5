/** Edits become actions on a filesystem: all is looked up and decided first, then done in one go. */
import { OffshootError } from '../../errors.ts';
import type { InsideEdit } from '../../identity/edits.ts';
import { join, parent, type Found, type Paths } from './paths.ts';
import { MAX_TEXT, requirePlain, type Action, type Entry } from './tree.ts';

/** A file for the guest, whose content is in a file of the host. */
export interface Staged {
  name: string;
  content: string | Buffer;
}

export class Draft {
  readonly actions: Action[] = [];
  /** Contents to be put into the scratch folder under these names. */
  readonly staged: Staged[] = [];
  readonly changed = new Set<string>();
  /** What the edits so far make of a file, by its real path. */
  readonly #contents = new Map<string, string>();
  /** Paths that were not there before. */
  readonly #made = new Set<string>();

  /** `scratch`: folder of the host that the staged files will be in. */
  constructor(
    readonly paths: Paths,
    readonly scratch: string,
    readonly selinux: boolean,
  ) {}

  /** Throws `unsupported-disk` when the guest has something in the way, `invalid-input` for a wrong edit. */
  async take(edit: InsideEdit): Promise<void> {
    if (edit.type === 'write') {
      const content = Buffer.from(edit.content, edit.encoding === 'base64' ? 'base64' : 'utf8');
      await this.#write(edit.path, content, { mode: edit.mode, uid: edit.uid ?? 0, gid: edit.gid ?? 0 });
    } else if (edit.type === 'line') await this.#line(edit);
    else if (edit.type === 'replace') await this.#replace(edit);
    else if (edit.type === 'remove')
      for (const found of await this.#matching(edit.pattern)) await this.remove(found);
    else
      for (const found of await this.#matching(edit.pattern)) {
        const file = found.kind === 'link' ? await this.paths.find(found.path) : found;
        if (file?.kind === 'file' && file.size > 0) await this.#write(file.path, '', file);
      }
  }

  async #replace({ pattern, from, to }: InsideEdit & { type: 'replace' }): Promise<void> {
    for (const found of await this.#matching(pattern)) {
      const file = found.kind === 'link' ? await this.paths.find(found.path) : found;
      if (file?.kind !== 'file') continue;
      const before = await this.#text(file);
      const test = new RegExp(from.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`), 'giu');
      const after = before.replaceAll(test, () => to);
      if (after !== before) await this.#write(file.path, after, file);
    }
  }

  async #text(file: Found): Promise<string> {
    const known = this.#contents.get(file.path);
    if (known !== undefined) return known;
    if (file.size >= MAX_TEXT) throw refuse(`In the guest, ${file.path} is too big to change a part of it`);
    const text = await this.paths.text(file.path);
    // Text that was read as something else would be written back damaged.
    if (text.includes('\ufffd')) throw refuse(`In the guest, ${file.path} is no text in UTF-8`);
    return text;
  }

  async #matching(pattern: string): Promise<Found[]> {
    requireAbsolute(pattern);
    return this.paths.glob(pattern);
  }

  async #line({ path, match, line, add }: InsideEdit & { type: 'line' }): Promise<void> {
    requireAbsolute(path);
    const file = await this.paths.find(path);
    if (file?.kind !== 'file') return;
    const before = await this.#text(file);
    const test = new RegExp(match, 'u');
    const lines = before.split('\n');
    const end = lines.at(-1) === '' ? lines.pop() : undefined;
    const matched = lines.some((one) => test.test(one));
    const after = lines.map((one) => (test.test(one) ? line : one));
    if (!matched && add) after.push(line);
    if (end !== undefined || (!matched && add)) after.push('');
    const text = after.join('\n');
    if (text !== before) await this.#write(file.path, text, file);
  }

  async #write(
    path: string,
    content: string | Buffer,
    owner: { mode: number; uid: number; gid: number },
  ): Promise<void> {
    const name = `put-${this.staged.length}`;
    const real = await this.put(path, `${this.scratch}/${name}`, Buffer.byteLength(content), owner);
    this.staged.push({ name, content });
    this.#contents.set(real, content.toString());
  }

  /** A file of the host, of so many bytes, becomes one of the guest. Resolves to its real path. */
  async put(
    path: string,
    from: string,
    size: number,
    { mode, uid, gid }: { mode: number; uid: number; gid: number },
  ): Promise<string> {
    requireAbsolute(path);
    const end = await this.paths.resolve(path);
    requirePlain(end.path);
    if (end.entry && end.entry.kind !== 'file') throw refuse(`In the guest, ${end.path} is no file`);
    await this.#folders(parent(end.path));
    const folder = await this.paths.entries(parent(end.path));
    if (!folder) throw refuse(`In the guest, ${parent(end.path)} is no folder`);
    if (!end.entry) this.#made.add(end.path);
    this.actions.push({ do: 'put', path: end.path, from, mode, uid, gid, ...this.#label(end.path) });
    const entry: Entry = {
      name: end.path.slice(end.path.lastIndexOf('/') + 1),
      kind: 'file',
      mode,
      uid,
      gid,
      size,
    };
    const at = folder.findIndex(({ name }) => name === entry.name);
    if (at === -1) folder.push(entry);
    else folder[at] = entry;
    this.changed.add(end.path);
    return end.path;
  }

  /** Of itself, or of the nearest folder above that was there before. */
  #label(path: string): { label?: string } {
    if (!this.selinux) return {};
    let label = path;
    while (label !== '/' && this.#made.has(label)) label = parent(label);
    return { label };
  }

  /** Makes the real folder and those above it. */
  async #folders(path: string): Promise<void> {
    if (path === '/' || (await this.paths.entries(path))) return;
    const above = parent(path);
    await this.#folders(above);
    const entries = await this.paths.entries(above);
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (!entries || entries.some((entry) => entry.name === name))
      throw refuse(`In the guest, ${path} is no folder`);
    this.#made.add(path);
    this.actions.push({ do: 'folder', path, mode: 0o755, ...this.#label(path) });
    entries.push({ name, kind: 'folder', mode: 0o755, uid: 0, gid: 0, size: 0 });
    this.paths.remember(path, []);
  }

  async remove(found: Found): Promise<void> {
    requirePlain(found.path);
    if (found.kind === 'folder') {
      const below = await this.paths.below(found.path);
      for (const one of below.toReversed()) this.#removeOne(one);
      for (const { kind, path } of below) if (kind === 'folder') this.paths.remember(path, undefined);
      this.paths.remember(found.path, undefined);
    }
    this.#removeOne(found);
    const folder = await this.paths.entries(parent(found.path));
    const at = folder?.findIndex(({ name }) => name === found.name) ?? -1;
    if (at >= 0) folder?.splice(at, 1);
    this.changed.add(found.path);
  }

  #removeOne({ kind, path }: Found): void {
    requirePlain(path);
    if (kind === 'link') this.paths.forgetLink(path);
    this.#contents.delete(path);
    this.actions.push({ do: kind === 'folder' ? 'remove-folder' : 'remove', path });
  }
}

/** What the folders that were touched must hold now; throws when the filesystem has something else. */
export async function verify(expected: Paths, real: Paths, draft: Draft): Promise<void> {
  const folders = [...new Set(draft.actions.map(({ path }) => parent(path)))];
  await Promise.all(
    folders.map(async (folder) => {
      const [wanted, found] = await Promise.all([expected.entries(folder), real.entries(folder)]);
      const told = new Map((found ?? []).map((entry) => [entry.name, entry]));
      for (const entry of wanted ?? []) {
        const there = told.get(entry.name);
        told.delete(entry.name);
        if (there && there.kind === entry.kind && (entry.kind !== 'file' || same(there, entry))) continue;
        throw notDone(join(folder, entry.name));
      }
      const [extra] = told.keys();
      if (extra !== undefined) throw notDone(join(folder, extra));
    }),
  );
}

const same = (one: Entry, other: Entry): boolean =>
  one.size === other.size && one.mode === other.mode && one.uid === other.uid && one.gid === other.gid;

function requireAbsolute(path: string): void {
  if (path.startsWith('/') && !path.split('/').includes('..')) return;
  throw new OffshootError('invalid-input', {
    publicMessage: `${path} is no absolute path inside a guest.`,
    context: { path },
  });
}

const refuse = (what: string): OffshootError =>
  new OffshootError('unsupported-disk', {
    publicMessage: `${what}, so it can’t be changed from outside.`,
    remedy: 'Look at it in the guest, then try again.',
  });

/** The filesystem is full, or worse. Nothing has reached the disk. */
export const notDone = (path: string): OffshootError =>
  new OffshootError('no-space', {
    publicMessage: `${path} could not be changed in the guest’s filesystem: it is full or damaged. The disk is as it was.`,
    remedy: 'Make room in the source’s filesystem, or let it check itself, then try again.',
    context: { path },
  });
