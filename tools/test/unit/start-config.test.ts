/** Settings that can't work are refused before anything is started, each with one sentence and its remedy. */
import { chmod, mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readStartConfig } from '../../src/start/config.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'offshoot-config-'));
  await chmod(folder, 0o755);
});
afterEach(() => rm(folder, { recursive: true, force: true }));
const read = (env: Record<string, string>) =>
  readStartConfig({ OFFSHOOT_DATA: join(folder, 'data'), ...env }, []);
const refused = { publicMessage: expect.stringMatching(/^[A-Z].+\.$/), remedy: expect.any(String) };

test('a data folder that can be used is made, open enough for guests to pass through', async () => {
  const config = await read({});
  expect(config.data).toBe(join(folder, 'data'));
  expect((await stat(config.data)).mode & 0o777).toBe(0o711);
});

test('one that other users can’t get to is refused, naming the folder that is closed, and not made', async (context) => {
  if (process.getuid?.() !== 0) context.skip('only root runs guests as another user');
  const closed = join(folder, 'closed');
  await mkdir(closed, { mode: 0o700 });
  await expect(read({ OFFSHOOT_DATA: join(closed, 'data') })).rejects.toMatchObject({
    ...refused,
    code: 'permission',
    remedy: expect.stringContaining(`chmod o+x ${closed}`),
  });
  await expect(stat(join(closed, 'data'))).rejects.toThrow('ENOENT');
});

test('one whose sockets would have too long a path is refused, unless PostgreSQL is one’s own', async () => {
  const long = join(folder, 'l'.repeat(90));
  await expect(read({ OFFSHOOT_DATA: long })).rejects.toMatchObject({ ...refused, code: 'invalid-input' });
  expect((await read({ OFFSHOOT_DATA: long, DATABASE_URL: 'postgresql://db/x' })).data).toBe(long);
});

test('a port that is taken is refused', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const address = server.address();
    const port = typeof address === 'object' ? String(address?.port) : '';
    await expect(read({ PORT: port })).rejects.toMatchObject({ ...refused, code: 'in-use' });
  } finally {
    server.close();
  }
});

test.each([
  [{ PORT: 'abc' }, 'PORT is a number.'],
  [{ PORT: '80.5' }, 'PORT is a whole number.'],
  [{ PORT: '0' }, 'PORT is 1 to 65535.'],
  [{ OFFSHOOT_DATA: 'here' }, 'OFFSHOOT_DATA is an absolute path.'],
])('%o: %s', async (env, words) => {
  await expect(read(env)).rejects.toMatchObject({ publicMessage: words });
});
