import { describe, expect, it } from 'vitest';
import { expandNames, guestNameSchema, MAX_COUNT, MAX_NAME_LENGTH } from '../../src/names.ts';

const badNames: [string, unknown][] = [
  ['empty', ''],
  ['too long', 'a'.repeat(MAX_NAME_LENGTH + 1)],
  ['a path', 'a/b'],
  ['the parent folder', '..'],
  ['two dots', 'a..b'],
  ['a dot at the end', 'a.'],
  ['a dot at the start', '.a'],
  ['an option', '-rf'],
  ['a space', 'a b'],
  ['spaces only', '   '],
  ['a double quote', 'a"b'],
  ['a single quote', "a'b"],
  ['a command', '$(reboot)'],
  ['backticks', '`reboot`'],
  ['a newline', 'a\nb'],
  ['a newline at the end', 'a\n'],
  ['a NUL', 'a\0b'],
  ['XML', '</name><name>x'],
  ['an entity', 'a&amp;b'],
  ['emoji', 'web-🐧'],
  ['letters that look alike', 'wеb'],
  ['a colon', 'a:b'],
  ['a comma', 'a,b'],
  ['a number', 7],
  ['null', null],
  ['nothing', undefined],
  ['a list', ['a']],
  ['an object', { toString: () => 'a' }],
];

describe('guestNameSchema', () => {
  it.each(['a', 'web-07', 'A.b_c-9', '0', 'a'.repeat(MAX_NAME_LENGTH)])('takes %s', (name) => {
    expect(guestNameSchema.parse(name)).toBe(name);
  });

  it.each(badNames)('refuses %s in words', (_, name) => {
    const { success, error } = guestNameSchema.safeParse(name);
    expect(success).toBe(false);
    expect(error?.issues[0]?.message).toMatch(/^[A-Z].*\.$/);
  });
});

describe('expandNames', () => {
  it.each([
    ['web', 1, ['web']],
    ['  web ', 1, ['web']],
    ['web', 3, ['web-1', 'web-2', 'web-3']],
    ['web-{01..30}', 3, ['web-01', 'web-02', 'web-03']],
    ['web-{8..11}', 4, ['web-8', 'web-9', 'web-10', 'web-11']],
    ['{1..2}-db', 2, ['1-db', '2-db']],
    ['web-{007..009}.lab', 2, ['web-007.lab', 'web-008.lab']],
  ])('%s × %i', (pattern, count, names) => {
    expect(expandNames(pattern, count)).toEqual({ names });
  });

  it('pads a plain name to the width of the count', () => {
    const { names } = expandNames('seat', 10);
    expect([names[0], names[9]]).toEqual(['seat-01', 'seat-10']);
  });

  it.each([0, -1, 1.5, NaN, Infinity])('refuses the count %d', (count) => {
    expect(expandNames('web', count)).toEqual({ names: [], problem: 'Make at least 1.' });
  });

  it.each([MAX_COUNT + 1, 10_000, 1e9])('refuses the count %d at once', (count) => {
    expect(expandNames('web', count)).toEqual({
      names: [],
      problem: `At most ${MAX_COUNT} guests in one request.`,
    });
  });

  it.each([
    ['web-{5..1}', 1, 'runs backwards'],
    ['web-{1..3}', 4, 'holds 3 names, 4 are asked for'],
    ['web-{1..2}-{1..2}', 2, 'letter or digit'],
    ['web-{a..c}', 2, 'letter or digit'],
    ['$(reboot)', 2, 'letter or digit'],
    ['', 1, 'Give it a name'],
    ['a'.repeat(62), 2, 'at most 63'],
  ])('refuses %s × %i in words', (pattern, count, words) => {
    const { names, problem } = expandNames(pattern, count);
    expect(names).toEqual([]);
    expect(problem).toContain(words);
  });

  it('gives as many different names as asked for, all of which may be used', () => {
    const { names } = expandNames('web-{001..500}', MAX_COUNT);
    expect(new Set(names).size).toBe(MAX_COUNT);
    for (const name of names) expect(guestNameSchema.safeParse(name).success).toBe(true);
  });
});
