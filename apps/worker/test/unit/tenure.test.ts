/** A worker that slept longer than its claim lives changes nothing until it knows that the claim is still its own. */
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Shell } from '@offshoot/clone-core/shell';
import { localShell } from '@offshoot/clone-core/shell/local';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { during, fenced, Tenure } from '../../src/tenure.ts';

let folder: string;
let file: string;
let shell: Shell;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['performance', 'Date'] });
  folder = await mkdtemp(join(tmpdir(), 'offshoot-tenure-'));
  file = join(folder, 'copy.qcow2');
  shell = fenced(localShell());
});
afterEach(async () => {
  vi.useRealTimers();
  await rm(folder, { recursive: true, force: true });
});

const lost = new OffshootError('lost-claim', { publicMessage: 'Another worker has it now.' });
const write = (tenure: Tenure): Promise<void> => during(tenure, () => shell.writeFile(file, 'x'));
/** Time for everything that does not wait. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('with a claim confirmed lately it works', async () => {
  const tenure = new Tenure();
  vi.advanceTimersByTime(8000);
  await write(tenure);
  expect(existsSync(file)).toBe(true);
});

it('waking up after ten seconds it waits, and goes on when the claim is confirmed', async () => {
  const tenure = new Tenure();
  vi.advanceTimersByTime(10_000);
  const writing = write(tenure);
  await turn();
  expect(existsSync(file)).toBe(false);
  tenure.confirm(Tenure.now());
  await writing;
  expect(existsSync(file)).toBe(true);
});

it('a confirmation that was asked for before the sleep says nothing', async () => {
  const tenure = new Tenure();
  const before = Tenure.now();
  vi.advanceTimersByTime(10_000);
  const writing = write(tenure);
  tenure.confirm(before);
  await turn();
  expect(existsSync(file)).toBe(false);
  tenure.end(lost);
  await expect(writing).rejects.toBe(lost);
});

it('when another worker took over it changes nothing any more', async () => {
  const tenure = new Tenure();
  vi.advanceTimersByTime(10_000);
  const writing = write(tenure);
  await turn();
  tenure.end(lost);
  await expect(writing).rejects.toBe(lost);
  tenure.confirm(Tenure.now());
  await expect(write(tenure)).rejects.toBe(lost);
  expect(existsSync(file)).toBe(false);
});

it.each(['run', 'mkdir', 'rename', 'remove', 'sync', 'chmod'] as const)('%s is fenced too', async (what) => {
  const tenure = new Tenure();
  tenure.end(lost);
  const calls: Record<typeof what, () => Promise<unknown>> = {
    run: () => shell.run(['true']),
    mkdir: () => shell.mkdir(file),
    rename: () => shell.rename(file, `${file}2`),
    remove: () => shell.remove(file),
    sync: () => shell.sync(file),
    chmod: () => shell.chmod(file, 0o600),
  };
  await expect(during(tenure, calls[what])).rejects.toBe(lost);
});

it('reads, and work that belongs to no operation, pass', async () => {
  const tenure = new Tenure();
  vi.advanceTimersByTime(60_000);
  expect(await during(tenure, () => shell.stat(file))).toBeUndefined();
  await shell.writeFile(file, 'x');
  expect(existsSync(file)).toBe(true);
});
