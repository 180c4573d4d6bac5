import { describe, expect, it } from 'vitest';
import {
  formatAgo,
  formatBytes,
  formatDuration,
  formatLeft,
  formatProgress,
  formatRate,
} from '../../src/lib/format.ts';
import { localPath } from '../../src/lib/local-path.ts';

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

describe('formatting', () => {
  it.each([
    [0, '0 B'],
    [512, '512 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [193 * 1024, '193 KiB'],
    [1.5 * GiB, '1.5 GiB'],
    [812 * MiB, '812 MiB'],
    [1023.9 * MiB, '1 GiB'],
    [100 * GiB, '100 GiB'],
    [-1, '–'],
    [Number.NaN, '–'],
  ])('%d bytes read %s', (bytes, words) => expect(formatBytes(bytes)).toBe(words));

  it('puts done and total in one unit', () => {
    expect(formatProgress(1.1 * GiB, 1.7 * GiB)).toBe('1.1 / 1.7 GiB');
    expect(formatProgress(0, 971 * MiB)).toBe('0 / 971 MiB');
  });

  it.each([
    [0.01, '0.0 s'],
    [0.42, '0.4 s'],
    [9.96, '10 s'],
    [59.6, '1 min'],
    [200, '3 min 20 s'],
    [3600, '1 h'],
    [7500, '2 h 5 min'],
    [-1, '–'],
  ])('%d seconds read %s', (seconds, words) => expect(formatDuration(seconds)).toBe(words));

  it('rates, time left and ages', () => {
    expect(formatRate(12 * MiB)).toBe('12 MiB/s');
    expect(formatLeft(0.4)).toBe('under 1 s');
    expect(formatLeft(185)).toBe('3 min');
    expect(formatAgo(new Date(0), 2000)).toBe('just now');
    expect(formatAgo(new Date(0), 125_000)).toBe('2 min ago');
  });
});

describe('where to go after signing in', () => {
  it.each(['/guests?x=1', '/'])('keeps %s', (path) => expect(localPath(path)).toBe(path));
  it.each([
    'https://evil.example',
    '//evil.example',
    '/\\evil.example',
    '/\t/evil.example',
    '/login',
    undefined,
    ['/a', '/b'],
  ])('refuses %s', (path) => expect(localPath(path)).toBe('/'));
});
