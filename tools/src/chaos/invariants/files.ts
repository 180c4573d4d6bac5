/** No orphan: every file of the store belongs to a guest or a base, and everything they own is there. */
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { BaseDisk } from '@offshoot/clone-core/contract';
import { listPathOf } from '@offshoot/clone-core/peers/block-list';
import { foreign } from '../store.ts';
import type { Snapshot } from './snapshot.ts';

/**
 * Made by the worker for itself, not by a plan. What a worker that was killed left of a look into a disk is removed by a
 * later look, when it is old enough to be nobody's.
 */
const isWorkers = (path: string): boolean =>
  /\/(accelerator\.json|\.reflink-probe[^/]*)$|\/\.inside-[0-9a-f-]{36}(\/|$)/.test(path);

export interface StoreContent {
  files: string[];
  /** Folders with nothing in them. */
  empty: string[];
}

/** What is in the store, read by listing it. */
export async function contentOf(store: string): Promise<StoreContent> {
  const entries = await readdir(store, { recursive: true, withFileTypes: true });
  const inside = entries
    .map((entry) => ({ folder: entry.isDirectory(), path: join(entry.parentPath, entry.name) }))
    .filter(({ path }) => !foreign.some((name) => path === join(store, name)) && !isWorkers(path));
  const parents = new Set(inside.map(({ path }) => dirname(path)));
  return {
    files: inside.filter(({ folder }) => !folder).map(({ path }) => path),
    empty: inside.filter(({ folder, path }) => folder && !parents.has(path)).map(({ path }) => path),
  };
}

export function checkFiles({ content, guests, bases, store }: Snapshot): string[] {
  const found: string[] = [];
  const owned = new Set<string>();
  for (const guest of guests)
    for (const path of guest.ownedFiles) {
      owned.add(path);
      if (guest.state !== 'missing' && !content.files.includes(path))
        found.push(`${guest.name} owns ${path}, which is not there`);
    }
  for (const base of bases) {
    const disks = (base.disks as unknown as BaseDisk[]).map(({ path }) => path);
    const memory = base.memory as unknown as { path: string } | null;
    const files = [
      ...disks,
      ...(base.nvramPath === null ? [] : [base.nvramPath]),
      ...(memory === null ? [] : [memory.path]),
    ];
    const manifest = join(dirname(files[0] ?? store), 'base.json');
    for (const path of [...files, manifest]) {
      owned.add(path);
      if (!content.files.includes(path))
        found.push(`base ${base.digest.slice(0, 12)} has ${path}, which is not there`);
    }
    // May be missing: it is made again when it is wanted.
    for (const path of disks) owned.add(listPathOf(path));
  }
  for (const path of content.files) if (!owned.has(path)) found.push(`${path} belongs to nobody`);
  const roots = ['disks', 'bases', 'nvram'].map((name) => join(store, name));
  for (const path of content.empty) if (!roots.includes(path)) found.push(`${path} is an empty folder`);
  return found;
}
