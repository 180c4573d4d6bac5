/** Facts as `inspect` gives them, for tests of plans. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DiskFacts, LibvirtFacts, SourceFacts } from '../../../src/drivers/libvirt/types.ts';

export const golden = (name: string): string =>
  readFileSync(join(import.meta.dirname, 'golden', name), 'utf8');

export const GIB = 1024 ** 3;

export function disk(target: string, path: string, format: string, part: Partial<DiskFacts> = {}): DiskFacts {
  const size = 2 * GIB;
  const chain = [
    { path, format, virtualBytes: 4 * GIB, size, allocated: size, modifiedMs: 1000, externalData: false },
  ];
  return {
    target,
    path,
    type: 'file',
    format,
    virtualBytes: 4 * GIB,
    allocatedBytes: size,
    chain,
    reflinkable: false,
    ...part,
  };
}

export const richSource = (part: Partial<SourceFacts> = {}): SourceFacts => ({
  state: 'stopped',
  definition: golden('rich.source.xml'),
  disks: [
    disk('vda', '/images/rich.qcow2', 'qcow2'),
    disk('sda', '/images/data.raw', 'raw'),
    disk('sdb', '/images/logs.qcow2', 'qcow2'),
  ],
  agentAnswers: false,
  snapshots: [],
  nvram: { path: '/var/lib/libvirt/qemu/nvram/rich_VARS.fd', size: 540672, modifiedMs: 1, type: 'file' },
  tpm: { statePath: '/var/lib/libvirt/swtpm/11111111-2222-4333-8444-555555555555', exists: true },
  ...part,
});

export const factsOf = (source: SourceFacts, part: Partial<LibvirtFacts> = {}): LibvirtFacts => ({
  host: {
    hypervisor: 'QEMU 7.2.22, libvirt 9.0.0',
    accelerator: { name: 'tcg', provenAt: '2026-01-01T00:00:00.000Z', detail: 'test' },
    cpus: 2,
    load1: 0,
    memoryBytes: 8 * GIB,
    memoryFreeBytes: 4 * GIB,
    store: { path: '/store', filesystem: 'ext4', reflink: false, totalBytes: 100 * GIB, freeBytes: 50 * GIB },
    networks: [{ name: 'default', active: true }],
  },
  takenNames: ['rich'],
  takenMacs: [],
  at: '2026-01-01T00:00:00.000Z',
  libvirtVersion: 9_000_000,
  store: '/store',
  accelerator: 'tcg',
  machine: 'tcg on a test',
  chainBudget: 8,
  source,
  ...part,
});
