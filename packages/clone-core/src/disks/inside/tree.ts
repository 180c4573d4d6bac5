/** A filesystem of a guest, opened. Two kinds do it: `ext.ts` and `mounted.ts`. */
import { OffshootError } from '../../errors.ts';

export interface Entry {
  name: string;
  kind: 'file' | 'folder' | 'link' | 'other';
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
  size: number;
}

/** What is done to a filesystem. Paths are real ones, without a link in them. */
export type Action =
  | { do: 'folder'; path: string; mode: number; label?: string }
  /** `from`: a file of the host. `label`: a path that was there before, whose SELinux label it gets where that is not kept by itself. */
  | { do: 'put'; path: string; from: string; mode: number; uid: number; gid: number; label?: string }
  | { do: 'remove'; path: string }
  /** An empty folder. */
  | { do: 'remove-folder'; path: string };

export interface Tree {
  /** May be asked for folders whose path goes through links: whatever it answers then is of the guest. */
  readonly linksStayInside: boolean;
  /** Of real folders; no entry for what is none. `.` and `..` are left out. Several at once cost little more than one. */
  list(folders: readonly string[]): Promise<ReadonlyMap<string, Entry[]>>;
  links(paths: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /** Beginning of regular files, at most 1 MiB each. */
  texts(paths: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /** Copies whole files out to the host, readable by root alone. */
  fetch(files: readonly { path: string; to: string }[]): Promise<void>;
  /** In their order. What fails is found by looking afterwards: `verify` in draft.ts. */
  apply(actions: readonly Action[]): Promise<void>;
}

export const MAX_TEXT = 1024 * 1024;

/**
 * Whether every program takes this name as it is: no control character, no quote (debugfs knows no escape), nothing that is
 * not UTF-8.
 */
export function isPlain(path: string): boolean {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  return path.startsWith('/') && !/[\u0000-\u001f\u007f"\ufffd]/.test(path) && path.length < 4000;
}

/** Throws `unsupported-disk` for a name that can't be passed on. */
export function requirePlain(path: string): void {
  if (isPlain(path)) return;
  throw new OffshootError('unsupported-disk', {
    publicMessage: `The guest has a file whose name can’t be handled from outside: ${JSON.stringify(path)}.`,
    remedy: 'Rename or remove it in the guest, then try again.',
    context: { path },
  });
}
