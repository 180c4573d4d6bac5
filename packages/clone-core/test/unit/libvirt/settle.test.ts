import { expect, it } from 'vitest';
import { settle, type DiskGeneration } from '../../../src/drivers/libvirt/settle.ts';
import { seededIds } from '../../conformance/workbench.ts';

const file = (path: string): { path: string; format: string } => ({ path, format: 'qcow2' });
const generation = (number: number, ...below: string[]): DiskGeneration => ({
  number,
  own: `own${number}`,
  below: below.map(file),
});
const all = (): boolean => true;

it('keeps one state before the newest: the oldest takes in the layer above it', () => {
  const generations = [generation(1, 'a'), generation(2, 'b', 'a'), generation(3, 'c', 'b', 'a')];
  const { actions, layers } = settle(generations, new Set([2, 3]), all);
  expect(actions).toEqual([
    { do: 'remove', path: 'own1' },
    { do: 'fold', layer: 'b', below: 'a' },
  ]);
  expect(Object.fromEntries(layers)).toEqual({ 2: 'b', 3: 'c' });
});

it('a file of another format keeps its name: what stands on a layer says which format that has', () => {
  const raw = { path: 'a', format: 'raw' };
  const generations = [
    { number: 1, own: 'own1', below: [raw] },
    { number: 2, own: 'own2', below: [file('b'), raw] },
    { number: 3, own: 'own3', below: [file('c'), file('b'), raw] },
  ];
  const { actions, layers } = settle(generations, new Set([2, 3]), all);
  expect(actions).toEqual([
    { do: 'remove', path: 'own1' },
    { do: 'merge', layer: 'b', below: 'a', belowFormat: 'raw', dependents: ['c', 'own2'] },
  ]);
  expect(Object.fromEntries(layers)).toEqual({ 2: 'a', 3: 'c' });
});

it('a state that was left behind by a restore goes without a merge', () => {
  const generations = [generation(1, 'a'), generation(2, 'b', 'a'), generation(3, 'c', 'a')];
  const { actions } = settle(generations, new Set([1, 3]), all);
  expect(actions).toEqual([
    { do: 'remove', path: 'own2' },
    { do: 'remove', path: 'b' },
  ]);
});

it('a layer under two states stays while both do', () => {
  const generations = [generation(1, 'a'), generation(2, 'b', 'a'), generation(3, 'c', 'a')];
  const { actions, layers } = settle(generations, new Set([2, 3]), all);
  expect(actions).toEqual([{ do: 'remove', path: 'own1' }]);
  expect(Object.fromEntries(layers)).toEqual({ 2: 'b', 3: 'c' });
});

it('touches nothing that is not the clone’s', () => {
  const generations = [generation(1, 'theirs'), generation(2, 'b', 'theirs')];
  const { actions } = settle(generations, new Set([2]), (path) => path !== 'theirs' && path !== 'own1');
  expect(actions).toEqual([]);
});

/** Content of every file as a set of numbered writes: the nearest file that has a block wins. */
it('whatever is dropped, every state that stays reads the same after each single action', () => {
  for (let seed = 0; seed < 200; seed++) {
    const ids = seededIds(`settle ${seed}`);
    const draw = (below: number): number => parseInt(ids.uuid().slice(0, 8), 16) % below;
    const blocks = new Map<string, Map<number, string>>();
    const backing = new Map<string, string>();
    const parents: string[] = [];
    const generations: DiskGeneration[] = [];
    for (let number = 1; number <= 2 + draw(5); number++) {
      const layer = `layer${number}`;
      const parent = parents[draw(parents.length || 1)];
      if (parent !== undefined) backing.set(layer, parent);
      backing.set(`own${number}`, layer);
      for (const name of [layer, `own${number}`])
        blocks.set(name, new Map(Array.from({ length: 3 }, () => [draw(8), `${name} ${draw(99)}`])));
      parents.push(layer);
      const below: string[] = [];
      for (let at: string | undefined = layer; at !== undefined; at = backing.get(at)) below.push(at);
      generations.push(generation(number, ...below));
    }
    const read = (name: string): string =>
      Array.from({ length: 8 }, (_, block) => {
        for (let at: string | undefined = name; at !== undefined; at = backing.get(at)) {
          const found = blocks.get(at);
          if (!found) throw new Error(`${at} is gone under ${name}`);
          const value = found.get(block);
          if (value !== undefined) return value;
        }
        return '-';
      }).join(' | ');
    // A file of another format below: what stands on a layer can't be told of that by a new name.
    const odd = draw(3) === 0 ? 'layer1' : '';
    for (const { below } of generations) for (const each of below) if (each.path === odd) each.format = 'raw';
    const retained = new Set(generations.map(({ number }) => number).filter(() => draw(2) === 0));
    retained.add(generations.length);
    const before = new Map([...retained].map((number) => [number, read(`own${number}`)]));
    const { actions, layers } = settle(generations, retained, all);
    const same = (): void => {
      for (const [number, content] of before) expect(read(`own${number}`)).toBe(content);
    };
    for (const action of actions) {
      if (action.do === 'remove') blocks.delete(action.path);
      else if (action.do === 'fold') {
        expect(backing.get(action.layer)).toBe(action.below);
        for (const [block, value] of blocks.get(action.layer) ?? [])
          blocks.get(action.below)?.set(block, value);
        same();
        // One file has the other's name and what it stands on, at once.
        blocks.set(action.layer, blocks.get(action.below) ?? new Map());
        const next = backing.get(action.below);
        if (next === undefined) backing.delete(action.layer);
        else backing.set(action.layer, next);
        blocks.delete(action.below);
        backing.delete(action.below);
      } else {
        const [from, into] = [blocks.get(action.layer), blocks.get(action.below)];
        expect(backing.get(action.layer)).toBe(action.below);
        for (const [block, value] of from ?? []) into?.set(block, value);
        same();
        for (const dependent of action.dependents) {
          backing.set(dependent, action.below);
          same();
        }
        blocks.delete(action.layer);
      }
      same();
    }
    for (const number of retained) expect(backing.get(`own${number}`)).toBe(layers.get(number));
  }
});
