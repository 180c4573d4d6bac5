/** Proves that the linter's "who may import whom" really refuses: each case is written into a copy of the layout. */
import { execa } from 'execa';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../../..');
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'offshoot-imports-'));
  await cp(join(root, '.oxlintrc.json'), join(folder, '.oxlintrc.json'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function lint(files: Readonly<Record<string, string>>): Promise<{ ok: boolean; output: string }> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  const done = await execa(join(root, 'node_modules/.bin/oxlint'), ['--deny-warnings', '.'], {
    cwd: folder,
    all: true,
    reject: false,
  });
  return { ok: done.exitCode === 0, output: done.all };
}

const importing = (name: string) => `import { thing } from '${name}';\nexport const used = thing;\n`;

describe('refused', () => {
  it.each([
    [
      'clone-core imports the database',
      'packages/clone-core/src/x.ts',
      '@offshoot/db/client',
      'imports no workspace package',
    ],
    ['clone-core imports the queue', 'packages/clone-core/src/x.ts', 'bullmq', 'knows no queue'],
    [
      'the loop names a driver',
      'packages/clone-core/src/execute.ts',
      './drivers/libvirt/driver.ts',
      'know interfaces only',
    ],
    [
      'db imports the queue',
      'packages/db/src/x.ts',
      '@offshoot/queue/jobs',
      'imports only types, schemas and what is pure',
    ],
    [
      'db imports a driver',
      'packages/db/src/x.ts',
      '@offshoot/clone-core/drivers',
      'imports only types, schemas and what is pure',
    ],
    ['worker imports web', 'apps/worker/src/x.ts', '@offshoot/web/server', 'never import each other'],
    ['web imports worker', 'apps/web/src/server/x.ts', '@offshoot/worker/main', 'never import each other'],
    ['web imports a driver', 'apps/web/src/server/x.ts', '@offshoot/clone-core/drivers', 'holds no driver'],
    [
      'the browser imports the database',
      'apps/web/src/components/x.tsx',
      '@offshoot/db/client',
      'browser side imports only',
    ],
    [
      'a package is reached by its path',
      'tools/src/x.ts',
      '../../packages/db/src/client.ts',
      'subpath it exports',
    ],
  ])('%s', async (_case, path, name, reason) => {
    const { ok, output } = await lint({ [path]: importing(name) });
    expect(ok).toBe(false);
    expect(output).toContain(reason);
  });

  it('a cycle', async () => {
    const { ok, output } = await lint({
      'packages/clone-core/src/a.ts': `import { b } from './b.ts';\nexport const a = () => b;\n`,
      'packages/clone-core/src/b.ts': `import { a } from './a.ts';\nexport const b = () => a;\n`,
    });
    expect(ok).toBe(false);
    expect(output).toContain('no-cycle');
  });
});

describe('allowed', () => {
  it.each([
    ['db imports the contract', 'packages/db/src/x.ts', '@offshoot/clone-core/contract'],
    ['the browser imports the contract', 'apps/web/src/components/x.tsx', '@offshoot/clone-core/contract'],
    ['the worker imports a driver', 'apps/worker/src/x.ts', '@offshoot/clone-core/drivers'],
  ])('%s', async (_case, path, name) => {
    expect(await lint({ [path]: importing(name) })).toMatchObject({ ok: true });
  });
});
