import type { DriftDisk, Verification } from '@offshoot/clone-core/contract';
import { describe, expect, it } from 'vitest';
import { driftWords, placesWords } from '../../src/lib/drift.ts';
import { layoutOf } from '../../src/lib/layout.ts';
import { forestOf, SHOWN_SIBLINGS, shownUnder, sumsOf, type Branch } from '../../src/lib/lineage.ts';
import { verdict, verificationWords } from '../../src/lib/verification.ts';
import type { LineageNode } from '../../src/server/lineage.ts';

const guest = (name: string, parent: string | null): LineageNode => ({
  id: `guest:${name}`,
  kind: 'guest',
  guestId: name,
  name,
  state: 'running',
  host: 'h1',
  simulated: false,
  ownedBytes: 10,
  parent,
  edge: parent === null ? null : 'linked',
});
const base: LineageNode = {
  id: 'base:b',
  kind: 'base',
  name: 'Base b',
  host: 'h1',
  simulated: false,
  sharedBytes: 1000,
  standing: 30,
  parent: 'version:v',
  edge: 'stored as',
};
const version: LineageNode = {
  id: 'version:v',
  kind: 'version',
  templateId: 't',
  versionId: 'v',
  name: 't v1',
  parent: 'template:t',
  edge: 'version',
};
const template: LineageNode = {
  id: 'template:t',
  kind: 'template',
  templateId: 't',
  name: 't',
  parent: null,
  edge: null,
};
const clones = (count: number): LineageNode[] =>
  Array.from({ length: count }, (_, index) => guest(`web-${index + 1}`, 'base:b'));
const names = (branches: readonly Branch[]): string[] => branches.map(({ node }) => node.name);

describe('forest', () => {
  it('hangs everything under what it came from, bases before guests, numbers in order', () => {
    const [root, ...others] = forestOf([...clones(11), guest('copy', 'version:v'), base, version, template]);
    expect(others).toEqual([]);
    const under = root?.children[0]?.children ?? [];
    expect(names(under)).toEqual(['Base b', 'copy']);
    expect(names(under[0]?.children ?? []).slice(0, 3)).toEqual(['web-1', 'web-2', 'web-3']);
    expect(names(under[0]?.children ?? []).at(-1)).toBe('web-11');
  });

  it('loses nothing when a parent is missing or rows form a circle', () => {
    const nodes = [guest('lost', 'guest:gone'), guest('a', 'guest:b'), guest('b', 'guest:a')];
    const all: string[] = [];
    const walk = (branch: Branch): void => {
      all.push(branch.node.name);
      branch.children.forEach(walk);
    };
    forestOf(nodes).forEach(walk);
    expect(all.toSorted()).toEqual(['a', 'b', 'lost']);
  });

  it('counts a base’s space once', () => {
    expect(sumsOf([...clones(30), base])).toEqual({
      guests: 30,
      ownedBytes: 300,
      bases: 1,
      sharedBytes: 1000,
    });
  });
});

describe('folding', () => {
  const children = forestOf([...clones(35), { ...base, parent: null }])[0]?.children ?? [];

  it('shows a handful and says how many more there are', () => {
    const shown = shownUnder('base:b', children, new Set());
    expect(shown.branches).toHaveLength(SHOWN_SIBLINGS - 1);
    expect(shown.more).toBe(28);
    expect(shownUnder('base:b', children, new Set(['base:b'])).more).toBe(0);
    expect(shownUnder('base:b', children.slice(0, SHOWN_SIBLINGS), new Set()).more).toBe(0);
  });

  it('never folds away what the page is about', () => {
    const shown = shownUnder('base:b', children, new Set(), 'guest:web-30');
    expect(names(shown.branches)).toContain('web-30');
    expect(shown.more).toBe(27);
  });
});

describe('layout', () => {
  it('places each node once, children right of their parent, in the order of the tree, none over another', () => {
    const copies = Array.from({ length: 5 }, (_, index) => guest(`copy-${index}`, 'version:v'));
    const others = [guest('other', null), guest('other-1', 'guest:other'), guest('other-2', 'guest:other')];
    const roots = forestOf([...clones(500), base, version, template, ...copies, ...others]);
    const folded = layoutOf(roots, new Set());
    expect(folded.nodes).toHaveLength(3 + SHOWN_SIBLINGS + 5 + 3);
    const { nodes, edges } = layoutOf(roots, new Set(['base:b']));
    expect(nodes).toHaveLength(503 + 5 + 3);
    expect(edges).toHaveLength(502 + 5 + 2);
    const at = new Map(nodes.map((node) => [node.id, node]));
    for (const { source, target } of edges)
      expect(at.get(target)?.x ?? 0).toBeGreaterThan(at.get(source)?.x ?? Infinity);
    for (const ids of [clones(500), copies, others.slice(1), [template, ...others.slice(0, 1)]]) {
      const column = ids.map(({ id }) => at.get(id)?.y ?? NaN);
      expect(column).toEqual(column.toSorted((a, b) => a - b));
      expect(new Set(column).size).toBe(column.length);
    }
  });
});

describe('drift in words', () => {
  const GIB = 1024 ** 3;
  const disk = (part: Partial<DriftDisk>): DriftDisk => ({
    target: 'vda',
    virtualBytes: 8 * GIB,
    changedBytes: 0,
    cells: Array.from({ length: 512 }, () => 0),
    ...part,
  });

  it('says how much and where', () => {
    expect(driftWords(disk({}))).toBe('Nothing has changed: all of it comes from the base.');
    const cells = disk({}).cells.with(64, 40).with(65, 100).with(200, 1);
    const changed = disk({ changedBytes: 34 * 1024 ** 2, cells });
    expect(driftWords(changed)).toBe('34 MiB of 8 GiB changed (0.42 %); the rest comes from the base.');
    expect(placesWords(changed)).toBe('2 places: 1 GiB to 1.03 GiB, 3.13 GiB to 3.14 GiB.');
    expect(placesWords(disk({}))).toBe('Nowhere.');
  });
});

describe('a comparison in words', () => {
  const verification = (part: Partial<Verification>): Verification => ({
    at: '2026-11-25T10:42:07Z',
    against: { type: 'base', label: 'sample v1' },
    depth: 'whole',
    equal: true,
    disks: [{ target: 'vda', equal: true, sizeBytes: 1024 ** 3, differingBlocks: 0, differingBytes: 0 }],
    ...part,
  });

  it('says identical only when every byte was compared', () => {
    expect(verdict(verification({}))).toBe('Identical to sample v1');
    const sampled = verification({ depth: 'sample', undetectedShare: 0.0029 });
    expect(verdict(sampled)).toBe('No difference to sample v1 found');
    expect(verificationWords(sampled).join(' ')).toContain('If 0.29 % or more');
  });

  it('says how much differs, where first, and that a clone that ran may differ', () => {
    const differing = verification({
      equal: false,
      disks: [
        {
          target: 'vda',
          equal: false,
          sizeBytes: 8 * 1024 ** 3,
          differingBlocks: 3,
          differingBytes: 3 * 65_536,
          firstDifference: 1.2 * 1024 ** 3,
        },
      ],
    });
    expect(verdict(differing)).toBe('Differs from sample v1: 3 blocks (192 KiB)');
    expect(verificationWords(differing)).toEqual([
      '8 GiB compared, the first difference at 1.2 GiB.',
      'A clone that ran has written to its disks: that it differs is normal.',
    ]);
  });

  it('warns when the base itself is damaged', () => {
    expect(verificationWords(verification({ baseIntact: false })).at(-1)).toContain(
      'NOT as they were sealed',
    );
  });
});
