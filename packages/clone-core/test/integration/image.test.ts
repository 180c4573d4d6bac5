/** Image files that can't be imported are refused before anything is copied, naming the field and what to do. */
import { mkdir, mkdtemp, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readImage } from '../../src/disks/image.ts';
import { usersOf } from '../../src/disks/users.ts';
import { localShell } from '../../src/shell/local.ts';
import { command } from './libvirt.lab.ts';

const { signal } = new AbortController();
let folder: string;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'offshoot-image-'));
  await command('qemu-img', 'create', '-q', '-f', 'qcow2', at('whole.qcow2'), '16M');
  await command('qemu-io', '-f', 'qcow2', '-c', 'write -P 7 0 4M', at('whole.qcow2'));
  await command('qemu-img', 'convert', '-O', 'qcow2', at('whole.qcow2'), at('cut.qcow2'));
  await truncate(at('cut.qcow2'), 1024 ** 2);
  await command('qemu-img', 'create', '-q', '-f', 'raw', at('whole.raw'), '4M');
  await command('qemu-img', 'create', '-q', '-f', 'vdi', at('other.vdi'), '4M');
  await command(
    'qemu-img',
    'create',
    '-q',
    '-u',
    '-f',
    'qcow2',
    '-F',
    'qcow2',
    '-b',
    at('gone'),
    at('child'),
    '4M',
  );
  await writeFile(at('empty.img'), '');
  await writeFile(at('note.txt'), 'remember the milk\n');
  await mkdir(at('folder'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it.each(['whole.qcow2', 'whole.raw'])('%s is taken, and not changed', async (name) => {
  const before = await readFile(at(name));
  expect(await readImage(localShell(), at(name), signal)).toMatchObject({ path: at(name) });
  expect((await readFile(at(name))).equals(before)).toBe(true);
});

it.each([
  ['nothing-here', 'source-missing', /There is no file/, /correct the path/],
  ['folder', 'source-unreadable', /is a directory/, /Give the path of an image file/],
  ['empty.img', 'unsupported-disk', /no disk image: it holds 0 bytes/, /Give the path/],
  ['note.txt', 'unsupported-disk', /no disk image/, /Give the path/],
  ['cut.qcow2', 'source-unreadable', /is damaged/, /Copy it to the host again/],
  ['child', 'unsupported-disk', /stands on another file/, /Flatten/],
  ['other.vdi', 'unsupported-disk', /The image is vdi/, /Convert it first/],
])('%s: %s', async (name, code, publicMessage, remedy) => {
  await expect(readImage(localShell(), at(name), signal)).rejects.toMatchObject({
    code,
    field: 'imagePath',
    publicMessage: expect.stringMatching(publicMessage),
    remedy: expect.stringMatching(remedy),
  });
});

it('who stands on a file is found by whatever path it is named', async () => {
  const base = at('whole.qcow2');
  await symlink(folder, at('alias'));
  await mkdir(at('deep'));
  const backing = { relative: '../whole.qcow2', link: `${at('alias')}/whole.qcow2`, plain: base };
  for (const [name, path] of Object.entries(backing))
    await command(
      'qemu-img',
      'create',
      '-q',
      '-f',
      'qcow2',
      '-F',
      'qcow2',
      '-b',
      path,
      at(`deep/${name}.qcow2`),
    );
  await command('qemu-img', 'create', '-q', '-f', 'qcow2', at('deep/none.qcow2'), '4M');
  const disks = [...Object.keys(backing), 'none'].map((owner) => ({
    path: at(`deep/${owner}.qcow2`),
    owner,
  }));
  expect(await usersOf(localShell(), [base, at('gone')], disks, signal)).toEqual([
    'link',
    'plain',
    'relative',
  ]);
});
