/**
 * Paths inside a guest, looked up in its own filesystem: links are followed here, never by a program of the host, so that
 * none leads out of the guest. What is asked for in the same turn goes to the filesystem as one request.
 */
import { OffshootError } from '../../errors.ts';
import type { Entry, Tree } from './tree.ts';

/** As in Linux: more links on one way are a loop. */
const MAX_LINKS = 40;
/** More files that match one pattern are none that anyone meant. */
export const MAX_MATCHES = 20_000;

export interface Found extends Entry {
  /** Without a link in it. */
  path: string;
}

export interface PathOptions {
  /** Upper and lower case are the same (NTFS). */
  ignoreCase?: boolean;
}

export class Paths {
  readonly #folders = new Map<string, Promise<Entry[] | undefined>>();
  readonly #links = new Map<string, Promise<string | undefined>>();
  readonly #list: (path: string) => Promise<Entry[] | undefined>;
  readonly #link: (path: string) => Promise<string | undefined>;
  readonly #text: (path: string) => Promise<string | undefined>;
  readonly #ignoreCase: boolean;

  readonly #ahead: boolean;

  constructor(tree: Pick<Tree, 'linksStayInside' | 'list' | 'links' | 'texts'>, options: PathOptions = {}) {
    this.#ahead = tree.linksStayInside;
    this.#list = together((paths) => tree.list(paths));
    this.#link = together((paths) => tree.links(paths));
    this.#text = together((paths) => tree.texts(paths));
    this.#ignoreCase = options.ignoreCase ?? false;
  }

  /** Entries of a real folder; undefined: there is none. The array is the memory of it: `draft.ts` changes it. */
  entries(folder: string): Promise<Entry[] | undefined> {
    let known = this.#folders.get(folder);
    if (!known) {
      known = this.#list(folder);
      this.#folders.set(folder, known);
    }
    return known;
  }

  /**
   * Asks at once for the folders that these paths and patterns go through, where that is safe: otherwise each level waits for
   * the one above it. A path that turns out to go through a link is asked for again by its real one.
   */
  ahead(patterns: readonly string[]): void {
    if (!this.#ahead) return;
    for (const pattern of patterns) {
      let at = '/';
      for (const segment of segments(pattern)) {
        if (segment === '..') break;
        void this.entries(at).catch(() => undefined); // who really needs it gets the error
        if (segment.includes('*')) break;
        at = join(at, segment);
      }
    }
  }

  /** What a folder is from now on; undefined: gone. */
  remember(folder: string, entries: Entry[] | undefined): void {
    this.#folders.set(folder, Promise.resolve(entries));
  }

  /** Beginning of a regular file by its real path. */
  async text(path: string): Promise<string> {
    return (await this.#text(path)) ?? '';
  }

  /** What is at the path; links on the way are followed, one at its end too when `follow`. */
  async find(path: string, follow = true): Promise<Found | undefined> {
    const end = await this.resolve(path, follow);
    return end.entry ? { ...end.entry, path: end.path } : undefined;
  }

  /** Text of a file; undefined: no regular file there. */
  async read(path: string): Promise<string | undefined> {
    const found = await this.find(path);
    return found?.kind === 'file' ? this.text(found.path) : undefined;
  }

  /**
   * Real path that the path stands for, and what is there. Nothing there: where it would be made, with the first folder
   * that is missing on the way. Throws `unsupported-disk` for a loop of links.
   */
  async resolve(path: string, follow = true): Promise<{ path: string; entry?: Entry; missing?: string }> {
    let at = '/';
    let missing: string | undefined;
    let hops = 0;
    const rest = segments(path).toReversed();
    let entry: Entry | undefined = ROOT;
    while (rest.length > 0) {
      const segment = rest.pop() ?? '';
      if (segment === '..') {
        // Of a folder that is missing, too: nothing is made outside what was asked for.
        at = parent(at);
        entry = at === '/' ? ROOT : { ...ROOT, name: at.slice(at.lastIndexOf('/') + 1) };
        continue;
      }
      const entries: Entry[] | undefined = missing === undefined ? await this.entries(at) : undefined;
      const next = entries?.find(({ name }) => this.#same(name, segment));
      const here = join(at, next?.name ?? segment);
      if (next?.kind === 'link' && (follow || rest.length > 0)) {
        hops++;
        if (hops > MAX_LINKS)
          throw new OffshootError('unsupported-disk', {
            publicMessage: `In the guest, ${path} is a link that leads back to itself.`,
            remedy: 'Repair it in the guest, then try again.',
          });
        const target = await this.#target(here);
        rest.push(...segments(target).toReversed());
        if (target.startsWith('/')) at = '/';
        entry = at === '/' ? ROOT : { ...ROOT, name: at.slice(at.lastIndexOf('/') + 1) };
        continue;
      }
      if (!next && rest.length > 0) missing ??= here;
      at = here;
      entry = next;
    }
    return {
      path: at,
      ...(entry ? { entry } : {}),
      ...(missing === undefined ? {} : { missing }),
    };
  }

  async #target(path: string): Promise<string> {
    let known = this.#links.get(path);
    if (!known) {
      known = this.#link(path);
      this.#links.set(path, known);
    }
    return (await known) ?? '';
  }

  /** A link or its folder was replaced. */
  forgetLink(path: string): void {
    this.#links.delete(path);
  }

  #same(name: string, wanted: string): boolean {
    return name === wanted || (this.#ignoreCase && name.toLowerCase() === wanted.toLowerCase());
  }

  /** What matches: `*` stands for any characters of one segment. A link at the end is the match itself, not its target. */
  async glob(pattern: string): Promise<Found[]> {
    const words = segments(pattern);
    const last = words.pop();
    if (last === undefined) return [];
    let folders: string[] = ['/'];
    // Segments without a star can be resolved as one way.
    let plain: string[] = [];
    const enter = async (): Promise<void> => {
      if (plain.length === 0) return;
      const way = plain.join('/');
      plain = [];
      const ends = await Promise.all(folders.map((folder) => this.resolve(`${folder}/${way}`)));
      folders = [...new Set(ends.flatMap(({ path, entry }) => (entry?.kind === 'folder' ? path : [])))];
    };
    for (const word of words) {
      if (!word.includes('*')) {
        plain.push(word);
        continue;
      }
      await enter();
      const inner = await Promise.all(folders.map((folder) => this.#matches(folder, word)));
      const ends = await Promise.all(inner.flat().map(({ path }) => this.resolve(path)));
      folders = [...new Set(ends.flatMap(({ path, entry }) => (entry?.kind === 'folder' ? path : [])))];
    }
    await enter();
    const found = (await Promise.all(folders.map((folder) => this.#matches(folder, last)))).flat();
    if (found.length > MAX_MATCHES)
      throw new OffshootError('unsupported-disk', {
        publicMessage: `More than ${MAX_MATCHES} files in the guest match ${pattern}.`,
      });
    return found;
  }

  async #matches(folder: string, word: string): Promise<Found[]> {
    const entries = (await this.entries(folder)) ?? [];
    const test = word.includes('*') ? matcher(word) : (name: string): boolean => this.#same(name, word);
    return entries
      .filter(({ name }) => test(name))
      .map((entry) => ({ ...entry, path: join(folder, entry.name) }));
  }

  /** All that is below a real folder, each before what it holds. */
  async below(folder: string): Promise<Found[]> {
    const own = ((await this.entries(folder)) ?? []).map((entry) => ({
      ...entry,
      path: join(folder, entry.name),
    }));
    const inner = await Promise.all(
      own.map(async (entry) => [entry, ...(entry.kind === 'folder' ? await this.below(entry.path) : [])]),
    );
    const all = inner.flat();
    if (all.length > MAX_MATCHES)
      throw new OffshootError('unsupported-disk', {
        publicMessage: `The guest’s folder ${folder} holds more than ${MAX_MATCHES} files.`,
      });
    return all;
  }
}

const ROOT: Entry = { name: '', kind: 'folder', mode: 0o755, uid: 0, gid: 0, size: 0 };

export const join = (folder: string, name: string): string =>
  folder === '/' ? `/${name}` : `${folder}/${name}`;
export const parent = (path: string): string => path.slice(0, path.lastIndexOf('/')) || '/';
const segments = (path: string): string[] =>
  path.split('/').filter((segment) => segment !== '' && segment !== '.');

/** Without a RegExp: the time is linear in the name, whatever the pattern. */
function matcher(word: string): (name: string) => boolean {
  const [first = '', ...rest] = word.split('*');
  const last = rest.pop() ?? '';
  return (name) => {
    if (!name.startsWith(first) || name.length < first.length + last.length || !name.endsWith(last))
      return false;
    let at = first.length;
    for (const piece of rest) {
      const found = name.indexOf(piece, at);
      if (found === -1) return false;
      at = found + piece.length;
    }
    return at <= name.length - last.length;
  };
}

/** Collects what is asked for until the event loop turns, then asks once. */
function together<T>(
  ask: (paths: readonly string[]) => Promise<ReadonlyMap<string, T>>,
): (path: string) => Promise<T | undefined> {
  let waiting: Promise<ReadonlyMap<string, T>> | undefined;
  let paths: string[] = [];
  return async (path) => {
    paths.push(path);
    waiting ??= new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      const asked = [...new Set(paths)];
      paths = [];
      waiting = undefined;
      return ask(asked);
    });
    return (await waiting).get(path);
  };
}
