import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readDomain } from '../../../src/drivers/libvirt/domain-read.ts';
import { rewriteDomain, type Rewrite } from '../../../src/drivers/libvirt/domain-xml.ts';
import { OffshootError } from '../../../src/errors.ts';
import { golden } from './facts.ts';

const rewrite: Rewrite = {
  name: 'clone',
  uuid: '99999999-8888-4777-8666-555555555555',
  genid: '12121212-3434-4565-8787-909090909090',
  macs: ['52:54:00:aa:aa:01', '52:54:00:aa:aa:02', '52:54:00:aa:aa:03'],
  disks: {
    vda: { path: '/store/disks/clone/vda.qcow2', format: 'qcow2' },
    sda: { path: '/store/disks/clone/sda.qcow2', format: 'qcow2' },
    sdb: { path: '/store/disks/clone/sdb.qcow2', format: 'qcow2' },
  },
  nvramPath: '/store/nvram/clone_VARS.fd',
};
const rich = golden('rich.source.xml');
const goldenPath = (name: string): string => join(import.meta.dirname, 'golden', name);

describe('rewriting a definition', () => {
  it('gives a new identity and changes nothing else', async () => {
    await expect(rewriteDomain(rich, rewrite)).toMatchFileSnapshot(goldenPath('rich.clone.xml'));
  });

  it('changes CPUs, memory and network when asked', async () => {
    const changed = rewriteDomain(rich, { ...rewrite, vcpus: 3, memoryMiB: 3072, network: 'lab' });
    await expect(changed).toMatchFileSnapshot(goldenPath('rich.resized.xml'));
  });

  it('leaves no name of the source’s own behind', () => {
    const clone = rewriteDomain(rich, rewrite);
    for (const mark of [
      '11111111-2222',
      'aaaaaaaa-bbbb',
      '52:54:00:00:00',
      'vnet7',
      '/images/',
      'rich_VARS',
      'domain-3-rich',
      '09b11c53',
    ])
      expect(clone).not.toContain(mark);
    expect(clone).toContain('passwd="geheim"');
  });

  it('keeps CPUs that NUMA cells fix, and says so', () => {
    const numa = rich.replace(
      "<topology sockets='1' dies='1' cores='2' threads='2'/>",
      "<numa><cell id='0' cpus='0-3' memory='1048576'/></numa>",
    );
    expect(() => rewriteDomain(numa, { ...rewrite, vcpus: 8 })).toThrow(
      expect.objectContaining({ code: 'invalid-input', field: 'options.vcpus' }),
    );
  });

  it.each([
    ['a DOCTYPE', `<!DOCTYPE domain [<!ENTITY x SYSTEM "file:///etc/passwd">]>${rich}`],
    ['text', 'no definition'],
    ['another root', '<network/>'],
    ['a torn one', rich.slice(0, 300)],
  ])('refuses %s', (_, xml) => {
    expect(() => rewriteDomain(xml, rewrite)).toThrow(OffshootError);
  });
});

describe('reading a definition', () => {
  it('knows disks, NICs, firmware and what a clone would share', () => {
    const domain = readDomain(rich);
    expect(domain).toMatchObject({
      name: 'rich',
      vcpus: 2,
      memoryBytes: 1024 ** 3,
      nvram: { path: '/var/lib/libvirt/qemu/nvram/rich_VARS.fd' },
      hasEmulatedTpm: true,
      hasNuma: false,
    });
    expect(domain.disks.map((disk) => [disk.target, disk.device, disk.format, disk.path])).toEqual([
      ['vda', 'disk', 'qcow2', '/images/rich.qcow2'],
      ['sda', 'disk', 'raw', '/images/data.raw'],
      ['sdb', 'disk', 'qcow2', '/images/logs.qcow2'],
      ['sdc', 'cdrom', 'raw', '/isos/install.iso'],
      ['sdd', 'cdrom', 'raw', undefined],
    ]);
    expect(domain.warnings.join('\n')).toMatch(
      /VNC port 5901[\s\S]*passed through[\s\S]*serial number[\s\S]*QEMU arguments/,
    );
  });
});
