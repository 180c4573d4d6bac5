/** Who was cloned from whom, from the database: templates, versions, bases, guests, as a forest with labelled edges. */
import type { CloneMode, GuestState } from '@offshoot/clone-core/contract';
import { db } from './services.ts';

/** More guests than this are cut off, oldest first kept; the answer says so. */
const MAX_GUESTS = 5000;

interface Common {
  /** Unique in the graph: `guest:…`, `base:…`, `version:…`, `template:…`. */
  id: string;
  /** The node it hangs under; null: it came from nothing that is known. */
  parent: string | null;
  /** How it came from its parent. */
  edge: LineageEdge | null;
  name: string;
}

export type LineageEdge = 'version' | 'stored as' | 'captured as' | CloneMode;

export type LineageNode = Common &
  (
    | { kind: 'template'; templateId: string }
    | { kind: 'version'; templateId: string; versionId: string }
    | {
        kind: 'base';
        host: string;
        simulated: boolean;
        /** Space on the host's store that all who stand on it share. */
        sharedBytes: number;
        /** How many guests stand on it. */
        standing: number;
      }
    | {
        kind: 'guest';
        guestId: string;
        state: GuestState;
        host: string;
        simulated: boolean;
        /** Space that is its own: its overlay, or its whole disks. */
        ownedBytes: number | null;
      }
  );

export interface LineageGraph {
  nodes: LineageNode[];
  /** Guests that are no clone and have none: not shown. */
  unrelated: number;
  /** There are more guests than are shown. */
  truncated: boolean;
}

/** What the graph is about, when not about everything. */
export interface LineageFocus {
  type: 'guest' | 'template';
  id: string;
}

/** The whole lineage, or only the tree that the focus is in. An unknown focus gives an empty graph. */
export async function lineageGraph(focus?: LineageFocus): Promise<LineageGraph> {
  const { prisma } = db();
  const [templates, bases, guests] = await Promise.all([
    prisma.template.findMany({
      orderBy: { name: 'asc' },
      select: {
        id: true,
        name: true,
        versions: { orderBy: { number: 'asc' }, select: { id: true, number: true, baseId: true } },
      },
    }),
    prisma.base.findMany({
      orderBy: { createdAt: 'asc' },
      select: {
        id: true,
        digest: true,
        allocatedBytes: true,
        host: { select: { name: true, simulated: true } },
        _count: { select: { children: true } },
      },
    }),
    prisma.guest.findMany({
      orderBy: { id: 'asc' },
      take: MAX_GUESTS + 1,
      select: {
        id: true,
        name: true,
        state: true,
        mode: true,
        baseId: true,
        sourceGuestId: true,
        templateVersionId: true,
        usedBytes: true,
        host: { select: { name: true, simulated: true } },
        _count: { select: { clones: true } },
      },
    }),
  ]);
  const truncated = guests.length > MAX_GUESTS;
  const shown = guests.slice(0, MAX_GUESTS);
  const related = shown.filter(
    (guest) =>
      guest.baseId !== null ||
      guest.sourceGuestId !== null ||
      guest.templateVersionId !== null ||
      guest._count.clones > 0,
  );
  const versionOfBase = new Map<string, string>();
  for (const { versions } of templates)
    for (const version of versions)
      if (!versionOfBase.has(version.baseId)) versionOfBase.set(version.baseId, version.id);
  const capturedFrom = new Map<string, string>();
  for (const { baseId, sourceGuestId } of related)
    if (baseId !== null && sourceGuestId !== null) capturedFrom.set(baseId, sourceGuestId);
  const nodes: LineageNode[] = [
    ...templates.flatMap((template): LineageNode[] => [
      {
        id: `template:${template.id}`,
        kind: 'template',
        templateId: template.id,
        name: template.name,
        parent: null,
        edge: null,
      },
      ...template.versions.map((version): LineageNode => ({
        id: `version:${version.id}`,
        kind: 'version',
        templateId: template.id,
        versionId: version.id,
        name: `${template.name} v${version.number}`,
        parent: `template:${template.id}`,
        edge: 'version',
      })),
    ]),
    ...bases.map((base): LineageNode => {
      const version = versionOfBase.get(base.id);
      const source = capturedFrom.get(base.id);
      return {
        id: `base:${base.id}`,
        kind: 'base',
        name: `Base ${base.digest.slice(0, 12)}`,
        host: base.host.name,
        simulated: base.host.simulated,
        sharedBytes: Number(base.allocatedBytes),
        standing: base._count.children,
        ...(version !== undefined
          ? { parent: `version:${version}`, edge: 'stored as' }
          : source !== undefined
            ? { parent: `guest:${source}`, edge: 'captured as' }
            : { parent: null, edge: null }),
      };
    }),
    ...related.map((guest): LineageNode => ({
      id: `guest:${guest.id}`,
      kind: 'guest',
      guestId: guest.id,
      name: guest.name,
      state: guest.state as GuestState,
      host: guest.host.name,
      simulated: guest.host.simulated,
      ownedBytes: guest.usedBytes === null ? null : Number(guest.usedBytes),
      parent: parentOf(guest),
      edge: parentOf(guest) === null ? null : (guest.mode as CloneMode | null),
    })),
  ];
  return {
    nodes: focus ? treeOf(nodes, `${focus.type}:${focus.id}`) : nodes,
    unrelated: shown.length - related.length,
    truncated,
  };
}

function parentOf(guest: {
  baseId: string | null;
  sourceGuestId: string | null;
  templateVersionId: string | null;
}): string | null {
  if (guest.baseId !== null) return `base:${guest.baseId}`;
  if (guest.sourceGuestId !== null) return `guest:${guest.sourceGuestId}`;
  return guest.templateVersionId === null ? null : `version:${guest.templateVersionId}`;
}

/** The node with all it came from and all that came from it or its ancestors' other children. */
function treeOf(nodes: readonly LineageNode[], id: string): LineageNode[] {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const rootOf = (start: LineageNode): string => {
    const seen = new Set<string>();
    let at = start;
    for (;;) {
      const parent = at.parent === null || seen.has(at.id) ? undefined : byId.get(at.parent);
      if (!parent) return at.id;
      seen.add(at.id);
      at = parent;
    }
  };
  const focused = byId.get(id);
  if (!focused) return [];
  const root = rootOf(focused);
  return nodes.filter((node) => rootOf(node) === root);
}

export interface Dependent {
  id: string;
  name: string;
  state: GuestState;
  mode: CloneMode | null;
}

/** What depends on something that is to be deleted. */
export interface BlastRadius {
  /** These stand on its disks: they block it. */
  blocking: Dependent[];
  /** These were cloned from it and go on without it. */
  orphaned: Dependent[];
  /** More than the named ones. */
  moreBlocking: number;
  moreOrphaned: number;
  /** Template versions that go with it, by label: the same content is stored once. */
  versions: string[];
}

/** Names of dependents that are answered; the rest is a number. */
const NAMED = 50;
const dependent = { id: true, name: true, state: true, mode: true } as const;

/** Of guests: their clones outside the lot. No clone stands on a guest's own disks: linked ones stand on a base of their own. */
export async function blastOfGuests(ids: readonly string[]): Promise<BlastRadius> {
  const where = { sourceGuestId: { in: [...ids] }, id: { notIn: [...ids] } };
  const [rows, count] = await Promise.all([
    db().prisma.guest.findMany({ where, select: dependent, orderBy: { name: 'asc' }, take: NAMED }),
    db().prisma.guest.count({ where }),
  ]);
  return {
    blocking: [],
    moreBlocking: 0,
    orphaned: rows.map(asDependent),
    moreOrphaned: count - rows.length,
    versions: [],
  };
}

/** Of a base: guests on it block; full clones of its versions go on without it. */
export async function blastOfBase(baseId: string): Promise<BlastRadius> {
  const standing = {
    OR: [{ baseId }, { state: 'creating', templateVersion: { baseId } }],
  };
  const copied = { templateVersion: { baseId }, mode: 'full', state: { not: 'creating' } };
  const [blocking, blockingCount, orphaned, orphanedCount, versions] = await Promise.all([
    db().prisma.guest.findMany({ where: standing, select: dependent, orderBy: { name: 'asc' }, take: NAMED }),
    db().prisma.guest.count({ where: standing }),
    db().prisma.guest.findMany({ where: copied, select: dependent, orderBy: { name: 'asc' }, take: NAMED }),
    db().prisma.guest.count({ where: copied }),
    db().prisma.templateVersion.findMany({
      where: { baseId },
      select: { number: true, template: { select: { name: true } } },
      orderBy: [{ template: { name: 'asc' } }, { number: 'asc' }],
    }),
  ]);
  return {
    blocking: blocking.map(asDependent),
    moreBlocking: blockingCount - blocking.length,
    orphaned: orphaned.map(asDependent),
    moreOrphaned: orphanedCount - orphaned.length,
    versions: versions.map(({ number, template }) => `${template.name} v${number}`),
  };
}

const asDependent = (row: { id: string; name: string; state: string; mode: string | null }): Dependent => ({
  id: row.id,
  name: row.name,
  state: row.state as GuestState,
  mode: row.mode as CloneMode | null,
});
