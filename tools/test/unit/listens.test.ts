import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { listens } from '../../src/start/libvirt.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'offshoot-listens-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('a socket that a process accepts on listens; none does not', async () => {
  const path = join(folder, 'live');
  expect(await listens(path)).toBe(false);
  const server = createServer().listen(path);
  await once(server, 'listening');
  try {
    expect(await listens(path)).toBe(true);
  } finally {
    server.close();
  }
});

test('the socket that a killed process left behind does not listen', async () => {
  const path = join(folder, 'left');
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await execa(process.execPath, ['-e', script], { reject: false });
  expect((await stat(path)).isSocket()).toBe(true);
  expect(await listens(path)).toBe(false);
});
