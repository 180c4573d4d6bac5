import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/drivers/simulated/random.ts';
import { OffshootError } from '../../src/errors.ts';
import { killCommand, parseAnnouncement, quote, remoteCommand } from '../../src/shell/ssh-quote.ts';

const nasty = [
  '',
  ' ',
  "'",
  "''",
  "'\\''",
  '"',
  '\\',
  '\\\\',
  '$(touch /tmp/no)',
  '`id`',
  '$HOME',
  '${x}',
  '!!',
  '*',
  '?',
  '[a]',
  '~',
  '#',
  '&',
  '|',
  ';',
  '<',
  '>',
  '\n',
  '\r\n',
  '\t',
  '-n',
  '--',
  '=',
  'a=b',
  '{a,b}',
  '\u{1f427}',
  'é',
  '\u202e',
  '\x01',
  '\x7f',
  "\n'\n",
  '%s',
  '\\0',
  '…',
];

/** Words put together at random from nasty pieces. */
function randomWords(count: number): string[] {
  const random = seededRandom(42);
  const pick = (): string => nasty[Math.floor(random() * nasty.length)] ?? '';
  return Array.from({ length: count }, () => Array.from({ length: Math.floor(random() * 8) }, pick).join(''));
}

describe('quote', () => {
  it.each(['dash', 'bash', 'sh'])('%s reads back every word as it was', (shell) => {
    const words = [...nasty, ...randomWords(3000)];
    const stdout = execFileSync(shell, ['-c', `printf '%s\\0' ${words.map(quote).join(' ')}`], {
      encoding: 'utf8',
    });
    expect(stdout.split('\0').slice(0, -1)).toEqual(words);
  });
});

describe('remoteCommand', () => {
  it('passes argv and environment through a login shell as they are, and announces its process', () => {
    const words = [...nasty, ...randomWords(300)];
    const command = remoteCommand(
      ['sh', '-c', 'printf "%s\\0" "$LC_ALL" "$X" "$@"; cat /proc/$$/stat >&2', 'sh', ...words],
      'the-marker',
      { X: "it's $(x)" },
    );
    const output = execFileSync('sh', ['-c', 'exec sh -c "$1" 2>&1', 'sh', command], { encoding: 'utf8' });
    const firstLine = output.slice(0, output.indexOf('\n'));
    const found = parseAnnouncement(firstLine, 'the-marker');
    const rest = output.slice(firstLine.length + 1).split('\0');
    const stat = rest.pop() ?? '';
    expect(rest).toEqual(['C', "it's $(x)", ...words]);
    expect(stat.startsWith(`${found?.pid} `)).toBe(true);
    expect(stat.slice(stat.lastIndexOf(') ') + 2).split(' ')[19]).toBe(found?.startTime);
  });

  it('refuses names of variables that are none', () => {
    expect(() => remoteCommand(['true'], 'm', { 'A B': 'x' })).toThrow(OffshootError);
  });

  it('takes only its own marker’s line for the announcement', () => {
    expect(parseAnnouncement('other 1 S 1', 'm')).toBeUndefined();
    expect(parseAnnouncement('m x S 1', 'm')).toBeUndefined();
    expect(parseAnnouncement('m 12 S 1', 'm')).toBeUndefined();
  });
});

describe('killCommand', () => {
  it('signals no process that has the pid but another start time, and none that is gone', () => {
    for (const target of [
      { pid: process.pid, startTime: '1' },
      { pid: 2 ** 22 + 1, startTime: '1' },
    ]) {
      execFileSync('sh', ['-c', killCommand(target, 'KILL')]);
    }
    expect(process.pid).toBeGreaterThan(0);
  });
});
