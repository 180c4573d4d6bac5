import { describe, expect, it } from 'vitest';
import { OffshootError } from '@offshoot/clone-core/errors';
import { readArguments } from '../../src/chaos/arguments.ts';
import { checkStory } from '../../src/chaos/invariants/operations.ts';
import { randomFrom } from '../../src/chaos/random.ts';

const known = { operations: ['start', 'stop'], faults: ['store-full'] };
const refusal = (...argv: string[]): string => {
  try {
    readArguments(argv, known);
  } catch (error) {
    if (error instanceof OffshootError) return error.publicMessage;
  }
  return 'not refused';
};

describe('arguments of chaos', () => {
  it('are read', () => {
    expect(readArguments(['--rounds', '200', '--seed', '7', '--ops', 'start'], known)).toEqual({
      rounds: 200,
      from: 1,
      seed: 7,
      keep: false,
      verbose: false,
      isolated: false,
      sample: true,
      operations: ['start'],
      faults: undefined,
    });
    expect(readArguments(['--faults', 'none'], known).faults).toEqual([]);
  });
  it.each([
    [['--rounds', 'x'], '--rounds is a number.'],
    [['--rounds', '0'], '--rounds is 1 to 100000.'],
    [['--seed', '1.5'], '--seed is a whole number.'],
    [['--ops', 'fly'], '--ops does not know fly; it knows start, stop.'],
    [['--bogus'], "Unknown option '--bogus'."],
    [['seven'], "Unexpected argument 'seven'."],
  ])('%j: %s', (argv, sentence) => {
    expect(refusal(...argv)).toBe(sentence);
  });
});

describe('a seed', () => {
  const draw = (seed: number, ...path: (string | number)[]): number[] => {
    const random = randomFrom(seed, ...path);
    return Array.from({ length: 50 }, () => random.between(0, 1000));
  };
  it('makes the same choices again, others on another path or seed', () => {
    expect(draw(1, 'round', 1)).toEqual(draw(1, 'round', 1));
    expect(draw(1, 'round', 1)).not.toEqual(draw(1, 'round', 2));
    expect(draw(1, 'round', 1)).not.toEqual(draw(2, 'round', 1));
  });
  it('never picks what has no weight', () => {
    const random = randomFrom(1);
    const from = [
      { weight: 0, value: 'never' },
      { weight: 1, value: 'always' },
    ];
    expect(Array.from({ length: 100 }, () => random.weighted(from))).not.toContain('never');
  });
});

describe('the check of an operation’s events', () => {
  const row = (state: string) => ({ state }) as Parameters<typeof checkStory>[0];
  const story = (...states: string[]) =>
    states.map((state) => ({ data: { type: 'state', state } })) as unknown as Parameters<
      typeof checkStory
    >[1];
  it('takes a whole story', () => {
    expect(checkStory(row('finished'), story('queued', 'running', 'finished'))).toEqual([]);
  });
  it.each([
    ['two ends', 'finished', ['queued', 'running', 'finished', 'failed']],
    ['no end', 'finished', ['queued', 'running']],
    ['another end than the row', 'failed', ['queued', 'running', 'finished']],
    ['no beginning', 'finished', ['running', 'finished']],
  ])('finds %s', (_case, state, states) => {
    expect(checkStory(row(state), story(...states))).not.toEqual([]);
  });
});
