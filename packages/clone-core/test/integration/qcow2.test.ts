/** Chains read, and layers made, without QEMU are what QEMU reads and makes; whatever is odd is QEMU's to judge. */
import { mkdtemp, open, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readChain } from '../../src/disks/chain.ts';
import { storedIn } from '../../src/disks/layers.ts';
import { createOverlay } from '../../src/disks/overlay.ts';
import { localShell } from '../../src/shell/local.ts';
import type { Shell } from '../../src/shell/shell.ts';
import { command } from './libvirt.lab.ts';

const { signal } = new AbortController();
/** Reads no file itself, as over SSH. */
const asking: Shell = Object.fromEntries(
  Object.entries(localShell()).filter(([name]) => name !== 'readAt'),
) as unknown as Shell;
/** Also counts the programs that were started. */
let started = 0;
const local = localShell();
const counting: Shell = {
  ...local,
  run: (argv, options) => {
    started++;
    return local.run(argv, options);
  },
};
let folder: string;
const at = (name: string): string => join(folder, name);
const create = (name: string, ...rest: string[]): Promise<unknown> =>
  command('qemu-img', 'create', '-q', '-f', 'qcow2', ...rest.slice(0, -1), at(name), rest.at(-1) ?? '');
const on = (base: string, format = 'qcow2'): string[] => ['-F', format, '-b', base];

async function patch(name: string, offset: number, bytes: number[]): Promise<void> {
  const file = await open(at(name), 'r+');
  await file.write(Buffer.from(bytes), 0, bytes.length, offset);
  await file.close();
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'offshoot-qcow2-'));
  await create('base', '48M');
  await command('qemu-io', '-f', 'qcow2', '-c', 'write -P 7 0 4M', at('base'));
  await create('middle', ...on(at('base')), '64M');
  await create('top', ...on(at('middle')), '64M');
  await command('qemu-img', 'bitmap', '--add', '-f', 'qcow2', at('top'), 'changes');
  await command('qemu-img', 'create', '-q', '-f', 'raw', at('flat'), '4M');
  await truncate(at('flat'), 4 * 1024 ** 2 + 100);
  await create('on-flat', ...on(at('flat'), 'raw'), '8M');
  await create('small-clusters', '-o', 'cluster_size=4096', ...on(at('base')), '48M');
  await create('lazy', '-o', 'lazy_refcounts=on', '48M');
  await create('old', '-o', 'compat=0.10', '48M');
  await create('relative', ...on('base'), '48M');
  await create('subclusters', '-o', 'extended_l2=on', '48M');
  await create('beside', '-o', `data_file=${at('beside.data')}`, '48M');
  await create('snapped', '48M');
  await command('qemu-img', 'snapshot', '-c', 'one', at('snapped'));
  await create('on-nothing', '-u', ...on(at('gone')), '48M');
  for (const name of ['cut', 'marked', 'garbled', 'looped']) await create(name, ...on(at('base')), '48M');
  await truncate(at('cut'), 70_000);
  await patch('marked', 79, [2]); // an incompatible feature: corrupt
  await patch('garbled', 0, [0, 0, 0, 0]);
  await command('qemu-img', 'rebase', '-u', '-f', 'qcow2', '-F', 'qcow2', '-b', at('looped'), at('looped'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const outcome = async (shell: Shell, name: string, format: string): Promise<unknown> => {
  try {
    return await readChain(shell, { path: at(name), format, label: 'disk' }, signal);
  } catch (thrown) {
    return { code: (thrown as { code?: string }).code, text: String(thrown) };
  }
};

it.each([
  ['base', 0],
  ['top', 0],
  ['on-flat', 0],
  ['small-clusters', 0],
  ['lazy', 0],
  ['flat', 0, 'raw'],
  ['old', 1],
  ['relative', 1],
  ['subclusters', 1],
  ['beside', 1],
  ['snapped', 1],
  ['on-nothing', 1],
  ['cut', 1],
  ['marked', 1],
  ['garbled', 1],
  ['looped', 1],
] as const)('the chain of %s is the one that qemu-img tells, which is started %i times', async (...given) => {
  const [name, programs, format = 'qcow2'] = given;
  started = 0;
  expect(await outcome(counting, name, format)).toEqual(await outcome(asking, name, format));
  expect(started).toBe(programs);
});

it.each([
  [1, 'base', 'qcow2'],
  [5_000_000_000, 'top', 'qcow2'],
  [64 * 1024 ** 4, 'flat', 'raw'],
])('a layer of %i bytes on %s is sound, takes writes, and is empty before', async (bytes, base, format) => {
  const to = at('layer');
  started = 0;
  await createOverlay(counting, { basePath: at(base), baseFormat: format, to, virtualBytes: bytes }, signal);
  expect(started).toBe(0);
  const [mine] = await readChain(asking, { path: to, format: 'qcow2', label: 'layer' }, signal);
  expect(mine?.virtualBytes).toBe(Math.ceil(bytes / 512) * 512);
  await command('qemu-img', 'check', '-q', '-f', 'qcow2', to);
  expect([await storedIn(counting, to, signal), started]).toEqual([0, 0]);
  const last = Math.floor((Math.ceil(bytes / 512) - 1) * 512);
  await command('qemu-io', '-f', 'qcow2', '-c', `write -q -P 9 ${last} 512`, to);
  await command('qemu-img', 'check', '-q', '-f', 'qcow2', to);
  expect(await storedIn(local, to, signal)).toBe(await storedIn(asking, to, signal));
  expect(await storedIn(local, to, signal)).toBeGreaterThan(0);
});

it('a layer shows its base until it is written to', async () => {
  await createOverlay(
    local,
    { basePath: at('top'), baseFormat: 'qcow2', to: at('same'), virtualBytes: 64 * 1024 ** 2 },
    signal,
  );
  await command('qemu-img', 'compare', '-q', at('same'), at('top'));
  await command('qemu-io', '-f', 'qcow2', '-c', 'write -P 8 1M 64k', '-c', 'read -P 7 0 1M', at('same'));
  await expect(command('qemu-img', 'compare', '-q', at('same'), at('top'))).rejects.toThrow();
});

it('a layer of a base that is gone is not made', async () => {
  const wish = { basePath: at('gone'), baseFormat: 'qcow2', to: at('none'), virtualBytes: 4096 };
  await expect(createOverlay(local, wish, signal)).rejects.toMatchObject({ code: 'command-failed' });
  expect(await local.stat(at('none'))).toBeUndefined();
});
