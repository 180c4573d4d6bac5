/** Disks written for other hypervisors and taken in again, by the real qemu-img and tar; and files that are not what they say. */
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readChain } from '../../src/disks/chain.ts';
import { readImage } from '../../src/disks/image.ts';
import { packOva } from '../../src/disks/ova/archive.ts';
import type { OperationResult } from '../../src/contract.ts';
import type { StepContext, StepHandler } from '../../src/driver.ts';
import {
  dropUnpackedStep,
  exportDiskStep,
  finishExportStep,
  unpackOvaStep,
} from '../../src/drivers/libvirt/steps/export.ts';
import type { ExportDiskStep, FinishExportStep, LibvirtStep } from '../../src/drivers/libvirt/types.ts';
import { Virsh } from '../../src/drivers/libvirt/virsh.ts';
import { localShell } from '../../src/shell/local.ts';
import { command } from './libvirt.lab.ts';

const { signal } = new AbortController();
const shell = localShell();
let folder: string;
const at = (name: string): string => join(folder, name);
let result: OperationResult = {};
const context = {
  signal,
  operationId: 'o',
  log: () => undefined,
  note: () => undefined,
  result: (part: OperationResult) => (result = { ...result, ...part }),
} as unknown as StepContext;
async function run<S extends LibvirtStep>(handler: StepHandler<S>, step: S): Promise<void> {
  for await (const _progress of handler.run(step, context));
}
const exported = (format: ExportDiskStep['format'], to: string): ExportDiskStep => ({
  id: '1',
  kind: 'export-disk',
  title: '',
  target: 'vda',
  from: at('top.qcow2'),
  fromFormat: 'qcow2',
  to,
  format,
  bytes: 1,
  expects: [],
});
const write = (format: ExportDiskStep['format'], to: string): Promise<void> =>
  run(exportDiskStep(shell, new Virsh(shell, 'test:///default')), exported(format, to));
const finishing = (out: string, disk: string, ova?: FinishExportStep['ova']): FinishExportStep => ({
  id: '2',
  kind: 'finish-export',
  title: '',
  folder: out,
  files: [{ path: disk, virtualBytes: 64 * 1024 ** 2, allocatedBytes: 1 }],
  bytes: 1,
  ...(ova ? { ova } : {}),
});

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'offshoot-export-'));
  await command('qemu-img', 'create', '-q', '-f', 'qcow2', at('base.qcow2'), '64M');
  await command('qemu-io', '-f', 'qcow2', '-c', 'write -P 7 0 9M', at('base.qcow2'));
  const on = ['-F', 'qcow2', '-b', at('base.qcow2')];
  await command('qemu-img', 'create', '-q', '-f', 'qcow2', ...on, at('top.qcow2'));
  await command('qemu-io', '-f', 'qcow2', '-c', 'write -P 9 30M 3M', '-c', 'write -z 1M 1M', at('top.qcow2'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('to other hypervisors and back', () => {
  it.each(['qcow2', 'raw', 'vmdk', 'vhdx'] as const)(
    '%s: the same content, whole, with its checksum',
    async (format) => {
      const out = at(`as-${format}`);
      const disk = join(out, `web-vda.${format}`);
      await write(format, disk);
      await run(finishExportStep(shell), finishing(out, disk));
      const [file] = result.exported?.files ?? [];
      expect(file).toMatchObject({ path: disk });
      await command('sh', '-c', `cd "${out}" && sha256sum --check --strict --quiet SHA256SUMS`);
      // As an import reads it: nothing below it, all of it there.
      expect(await readImage(shell, disk, signal)).toMatchObject({ format, virtualBytes: 64 * 1024 ** 2 });
      await command('qemu-img', 'compare', '-q', '-f', format, '-F', 'qcow2', disk, at('top.qcow2'));
    },
  );

  it('OVA: a ustar with the description first, checksums, and a stream-optimized disk; undone it leaves nothing', async () => {
    const out = at('as-ova');
    const disk = join(out, 'web-vda.vmdk');
    const ova = { path: join(out, 'web.ova'), name: 'web', vcpus: 1, memoryMiB: 128, networks: ['lab'] };
    await write('vmdk', disk);
    const step = finishing(out, disk, ova);
    await run(finishExportStep(shell), step);
    expect((await readdir(out)).toSorted()).toEqual(['SHA256SUMS', 'web.ova']);
    const members = (await command('tar', '-tf', ova.path)).split('\n').filter(Boolean);
    expect(members).toEqual(['web.ovf', 'web.mf', 'web-vda.vmdk']);
    const image = await readImage(shell, ova.path, signal);
    expect(image.disks).toMatchObject([{ file: 'web-vda.vmdk', capacityBytes: 64 * 1024 ** 2 }]);
    const taken = {
      id: '1',
      kind: 'unpack-ova' as const,
      title: '',
      from: ova.path,
      folder: at('unpacked'),
      disks: image.disks ?? [],
    };
    await run(unpackOvaStep(shell), taken);
    await command(
      'qemu-img',
      'compare',
      '-q',
      '-f',
      'vmdk',
      '-F',
      'qcow2',
      at('unpacked/web-vda.vmdk'),
      at('top.qcow2'),
    );
    await run(dropUnpackedStep(shell), {
      id: '2',
      kind: 'drop-unpacked',
      title: '',
      folder: at('unpacked'),
      files: [at('unpacked/web-vda.vmdk')],
    });
    await finishExportStep(shell).undo(step, context);
    await exportDiskStep(shell, new Virsh(shell, '')).undo(exported('vmdk', disk), context);
    expect(await readdir(folder)).not.toContain('as-ova');
    expect(await readdir(folder)).not.toContain('unpacked');
  });
});

describe('files that are not what they say', () => {
  const refusal = async (path: string): Promise<string> =>
    readImage(shell, path, signal).then(
      () => 'taken',
      (error: { publicMessage: string; field?: string }) => `${error.field ?? ''}: ${error.publicMessage}`,
    );
  const ovaOf = async (name: string, change: string, ...tar: string[]): Promise<string> => {
    const parts = at(`parts-${name}`);
    await command('sh', '-c', `mkdir "${parts}" && cd "${parts}" && cp ../good/* . && ${change}`);
    await command(
      'tar',
      '-C',
      parts,
      '-cf',
      at(`${name}.ova`),
      ...(tar.length > 0 ? tar : ['web.ovf', 'web.mf', 'web-vda.vmdk']),
    );
    return at(`${name}.ova`);
  };

  beforeAll(async () => {
    const disk = at('good/web-vda.vmdk');
    await write('vmdk', disk);
    await run(
      finishExportStep(shell),
      finishing(at('good'), disk, {
        path: at('good/web.ova'),
        name: 'web',
        vcpus: 1,
        memoryMiB: 1,
        networks: [],
      }),
    );
    await command('sh', '-c', `cd "${at('good')}" && tar -xf web.ova && rm web.ova SHA256SUMS`);
    await writeFile(at('secret'), 'x'.repeat(2 * 1024 ** 2));
  });

  it('a disk that names another file of the host: refused before that is opened', async () => {
    await command(
      'qemu-img',
      'create',
      '-q',
      '-u',
      '-f',
      'qcow2',
      '-F',
      'raw',
      '-b',
      '/etc/shadow',
      at('outside.qcow2'),
      '8M',
    );
    await command(
      'qemu-img',
      'create',
      '-q',
      '-f',
      'qcow2',
      '-o',
      `data_file=${at('data.raw')}`,
      at('split.qcow2'),
      '8M',
    );
    await command(
      'qemu-img',
      'create',
      '-q',
      '-f',
      'vmdk',
      '-o',
      'subformat=monolithicFlat',
      at('flat.vmdk'),
      '8M',
    );
    await command('qemu-img', 'create', '-q', '-f', 'vmdk', at('below.vmdk'), '8M');
    await command(
      'qemu-img',
      'create',
      '-q',
      '-f',
      'vmdk',
      '-b',
      at('below.vmdk'),
      '-F',
      'vmdk',
      at('child.vmdk'),
    );
    await writeFile(
      at('descriptor.img'),
      `# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 4096 FLAT "${at('secret')}" 0\n`,
    );
    const extent = `version=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicSparse"\nRW 4096 FLAT "${at('secret')}" 0\n`;
    const twice = `#createType="monolithicFlat"\n${extent}`;
    await writeFile(at('commented.img'), `#\n \n${twice}`);
    const header = Buffer.alloc(64 * 1024);
    header.write('KDMV');
    header.writeUInt32LE(1, 4);
    header.writeBigUInt64LE(1n, 28); // where its description is, and no size of its own
    header.writeBigUInt64LE(20n, 36);
    header.write(`# Disk DescriptorFile\n${twice}`, 512);
    await writeFile(at('unsized.vmdk'), header);
    for (const name of ['commented.img', 'unsized.vmdk']) {
      const [file] = await readChain(shell, { path: at(name), label: 'image' }, signal);
      expect(file).toMatchObject({ format: 'vmdk', externalData: true }); // QEMU itself would read the secret
    }
    for (const name of ['outside.qcow2', 'split.qcow2', 'child.vmdk'])
      expect(await refusal(at(name))).toContain('stands on another file');
    expect(await refusal(at('flat.vmdk'))).toContain('called a vmdk file, and its content is none');
    expect(await refusal(at('descriptor.img'))).toContain('only the description of a VMDK');
    expect(await refusal(at('commented.img'))).toContain('only the description of a VMDK');
    expect(await refusal(at('unsized.vmdk'))).toContain('whose content may be in other files');
  });

  it('a name that is not the content’s, and a damaged VHDX', async () => {
    await command('cp', at('secret'), at('lies.vhdx'));
    expect(await refusal(at('lies.vhdx'))).toBe(
      `imagePath: ${at('lies.vhdx')} is called a vhdx file, and its content is none.`,
    );
    await command('qemu-img', 'convert', '-O', 'vhdx', at('top.qcow2'), at('cut.vhdx'));
    await truncate(at('cut.vhdx'), 3 * 1024 ** 2);
    expect(await refusal(at('cut.vhdx'))).toMatch(/^imagePath: /);
  });

  it('an OVA whose names lead elsewhere, that holds links, or is cut short', async () => {
    const climbing = await ovaOf(
      'climbing',
      'true',
      '--transform=s,^web-vda,../../web-vda,',
      '-P',
      'web.ovf',
      'web-vda.vmdk',
    );
    expect(await refusal(climbing)).toContain('a file in it is named ../../web-vda.vmdk');
    await symlink(at('secret'), at('good/link'));
    const linked = await ovaOf('linked', 'rm web-vda.vmdk && ln -s /etc/shadow web-vda.vmdk');
    expect(await refusal(linked)).toContain('it holds more than plain files');
    await rm(at('good/link'));
    const cut = await ovaOf('cut', 'true');
    await truncate(cut, 20_000);
    expect(await refusal(cut)).toContain('it is damaged or cut short');
    const bare = await ovaOf('bare', 'true', 'web-vda.vmdk');
    expect(await refusal(bare)).toContain('it has no description');
    const half = await ovaOf('half', 'true', 'web.ovf', 'web.mf');
    expect(await refusal(half)).toContain('its disk web-vda.vmdk is not in it');
  });

  it('an OVA whose checksums are not those of its description, are cut short, or are none', async () => {
    const said = async (name: string, change: string): Promise<string> => refusal(await ovaOf(name, change));
    expect(await said('edited', 'echo "<!-- -->" >> web.ovf')).toContain(
      'web.ovf in it does not have the checksum that is written beside it',
    );
    // Its bytes have the checksum, in whatever encoding they are.
    const latin =
      "printf '<!-- \\351 -->' >> web.ovf; s=$(sha256sum web.ovf | cut -d' ' -f1); sed -i \"s/(web.ovf)= .*/(web.ovf)= $s/\" web.mf";
    expect(await said('latin', latin)).not.toContain('checksum');
    expect(await said('unlisted', 'sed -i "/web.ovf/d" web.mf')).toContain(
      'its list of checksums does not have web.ovf',
    );
    for (const [name, change] of [
      ['cut-sum', 's/^\\(SHA256(web-vda.vmdk)= .\\{8\\}\\).*/\\1/'],
      ['no-sum', 's/^\\(SHA256(web-vda.vmdk)=\\).*/\\1/'],
      ['odd-sum', 's/^SHA256(web-vda/CRC32(web-vda/'],
    ] as const)
      expect(await said(name, `sed -i '${change}' web.mf`)).toContain('its list of checksums can’t be read');
  });

  it('a store that fills up while an OVA is unpacked, or packed, is said to be full', async () => {
    const small = at('small');
    await mkdir(small);
    await command('mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', small);
    try {
      const ova = await ovaOf('roomy', 'true');
      const { disks = [] } = await readImage(shell, ova, signal);
      const full = { code: 'no-space', remedy: expect.stringContaining('Free space') };
      const step = { id: '1', kind: 'unpack-ova' as const, title: '', from: ova, folder: small, disks };
      await expect(run(unpackOvaStep(shell), step)).rejects.toMatchObject(full);
      await rm(join(small, 'web-vda.vmdk'), { force: true });
      const files = [{ name: 'web-vda.vmdk', bytes: 1 }];
      await expect(packOva(shell, join(small, 'x.ova'), at('good'), files, signal)).rejects.toMatchObject(
        full,
      );
    } finally {
      await command('umount', small);
    }
  });

  it.each([
    [
      'a wrong checksum',
      'sed -i "s/vda.vmdk)= 0/vda.vmdk)= 1/;t;s/vda.vmdk)= ./vda.vmdk)= 0/" web.mf',
      'does not have the checksum',
    ],
    [
      'a disk that stands on a file of the host',
      'rm web.mf web-vda.vmdk; qemu-img create -q -u -f qcow2 -F raw -b /etc/shadow d 8M; mv d web-vda.vmdk',
      'its content is none',
    ],
  ])('an OVA with %s: nothing of it is kept', async (what, change, message) => {
    const name = what.replaceAll(' ', '-');
    const files = change.includes('rm web.mf') ? ['web.ovf', 'web-vda.vmdk'] : [];
    const ova = await ovaOf(name, change, ...files);
    const { disks = [] } = await readImage(shell, ova, signal);
    const step = {
      id: '1',
      kind: 'unpack-ova' as const,
      title: '',
      from: ova,
      folder: at(`un-${name}`),
      disks,
    };
    await expect(run(unpackOvaStep(shell), step)).rejects.toThrow(message);
    await unpackOvaStep(shell).undo(step, context);
    expect(await readdir(folder)).not.toContain(`un-${name}`);
    expect((await readFile(at('secret'), 'utf8')).length).toBe(2 * 1024 ** 2);
  });
});
