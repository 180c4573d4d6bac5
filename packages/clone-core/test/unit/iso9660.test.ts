import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { cdImage } from '../../src/disks/iso9660.ts';

const run = promisify(execFile);
const files = [
  { name: 'user-data', content: `#cloud-config\n${'é'.repeat(3000)}\n` },
  { name: 'meta-data', content: 'instance-id: one\n' },
  { name: 'empty', content: '' },
];

it('others read what was written: label, names, content', async (context) => {
  const folder = await mkdtemp(join(tmpdir(), 'offshoot-iso-'));
  try {
    const image = join(folder, 'cd.iso');
    await writeFile(image, cdImage('cidata', files, new Date('2026-05-04T03:02:01Z')));
    const { stdout } = await run('blkid', ['-p', '-o', 'export', image]);
    expect(stdout).toContain('LABEL=cidata');
    expect(stdout).toContain('TYPE=iso9660');
    expect(stdout).toContain('UUID=2026-05-04-03-02-01-00');
    const there = await run('xorriso', ['-version']).catch(() => undefined);
    if (!there) return context.skip('xorriso is not here to read it');
    await run('xorriso', ['-osirrox', 'on', '-indev', image, '-extract', '/', join(folder, 'out')]);
    for (const { name, content } of files)
      expect(await readFile(join(folder, 'out', name), 'utf8')).toBe(content);
  } finally {
    await run('chmod', ['-R', 'u+w', folder]);
    await rm(folder, { recursive: true });
  }
});

it('refuses more files than its folder holds', () => {
  const many = Array.from({ length: 60 }, (_, n) => ({ name: `file-number-${n}`, content: '' }));
  expect(() => cdImage('cidata', many, new Date(0))).toThrow(expect.objectContaining({ code: 'internal' }));
});
