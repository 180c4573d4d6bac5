/** A short run of chaos: real workers, PostgreSQL, Redis and libvirt, a few faults, no violation. */
import { execa } from 'execa';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const main = join(import.meta.dirname, '../../src/chaos/main.ts');
const chaos = (...argv: string[]) =>
  execa(process.execPath, ['--import', 'tsx', main, ...argv], { reject: false, all: true, stdin: 'ignore' });

it('six rounds, no violation', async (context) => {
  if (process.getuid?.() !== 0) context.skip('needs root: it mounts a small filesystem');
  const quick =
    'worker-killed,worker-dismissed,child-killed,postgres-restarted,redis-restarted,redis-flushed,store-full,source-moved,source-written';
  const done = await chaos('--rounds', '6', '--seed', '7', '--no-sample', '--verbose', '--faults', quick);
  expect(done.all).toContain('6 rounds, 0 violations');
  expect(done.exitCode).toBe(0);
});

it('a bad argument is answered in one sentence', async () => {
  const done = await chaos('--rounds', 'many');
  expect(done).toMatchObject({ exitCode: 2, stdout: '' });
  expect(done.stderr.split('\n')[0]).toBe('--rounds is a number.');
});
