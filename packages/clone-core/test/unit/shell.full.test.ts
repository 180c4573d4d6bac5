/** A filesystem without room for another folder. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { localShell } from '../../src/shell/local.ts';

const run = promisify(execFile);

it.for(['one', 'one/two/three'])('making %s says that there is no space', async (path, context) => {
  if (process.getuid?.() !== 0) context.skip('only root may mount');
  const folder = await mkdtemp(join(tmpdir(), 'offshoot-full-'));
  await run('mount', ['-t', 'tmpfs', '-o', 'nr_inodes=1', 'tmpfs', folder]);
  try {
    await expect(localShell().mkdir(join(folder, path))).rejects.toMatchObject({ code: 'no-space' });
  } finally {
    await run('umount', [folder]);
    await rm(folder, { recursive: true });
  }
});
