import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CapturedBase, MemoryPoint } from '../../../src/contract.ts';
import type { OperationRequest } from '../../../src/driver.ts';
import { memoryObstacle } from '../../../src/drivers/libvirt/memory-limits.ts';
import { plan } from '../../../src/drivers/libvirt/plan.ts';
import { readHead, writeHead } from '../../../src/drivers/libvirt/save-image.ts';
import type { LibvirtFacts, SourceFacts } from '../../../src/drivers/libvirt/types.ts';
import { localShell } from '../../../src/shell/local.ts';
import { options, seededIds } from '../../conformance/workbench.ts';
import { disk, factsOf, GIB } from './facts.ts';

const domain = (devices = '', more = ''): string => `<domain type='qemu'><name>app</name>
  <uuid>11111111-2222-4333-8444-555555555555</uuid><memory unit='MiB'>128</memory><vcpu>1</vcpu>${more}
  <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/images/app.qcow2'/>
  <target dev='vda' bus='virtio'/></disk>
  <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/></interface>
  <interface type='network'><mac address='52:54:00:00:00:02'/><source network='default'/><link state='down'/></interface>
  ${devices}</devices></domain>`;

describe('save image', () => {
  const signal = new AbortController().signal;
  const head = {
    version: 2,
    wasRunning: 1,
    compressed: 0,
    definition: '<domain>Straße</domain>',
    cookie: '<cookie/>',
  };
  let folder: string;
  beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), 'offshoot-save-'))));
  afterAll(() => rm(folder, { recursive: true }));

  const readBack = async (content: Buffer) => {
    const path = join(folder, 'image.sav');
    await writeFile(path, content);
    return readHead(localShell(), path, signal);
  };

  it.each([
    ['with a cookie', '<cookie/>'],
    ['without', ''],
  ])('reads what it wrote, %s', async (_, cookie) => {
    const written = writeHead({ ...head, cookie });
    expect(await readBack(Buffer.concat([written, Buffer.from('the stream')]))).toEqual({
      ...head,
      cookie,
      streamAt: written.length,
    });
  });

  it.each([
    ['an image that libvirt has not finished', 'LibvirtQemudPart'],
    ['something else', 'QFI\u00fb'],
  ])('refuses %s', async (_, magic) => {
    const content = Buffer.alloc(200);
    content.write(magic, 'latin1');
    await expect(readBack(content)).rejects.toMatchObject({ code: 'source-unreadable' });
  });
});

describe('what can’t be taken along with memory', () => {
  it.each([
    ['nothing', '', '', undefined],
    ['a display on any port', "<graphics type='vnc' port='5900' autoport='yes'/>", '', undefined],
    ['a passed-through device', "<hostdev mode='subsystem' type='pci'/>", '', /passed through/],
    ['a TPM', "<tpm model='tpm-crb'><backend type='emulator'/></tpm>", '', /TPM/],
    ['a shared folder', "<filesystem type='mount'/>", '', /folder/],
    ['a vhost-user card', "<interface type='vhostuser'/>", '', /network card/],
    ['shared memory', "<shmem name='x'/>", '', /shares memory/],
    ['a display on one port', "<graphics type='vnc' port='5901'/>", '', /VNC port 5901/],
    [
      'a serial port to a file',
      "<serial type='file'><source path='/var/log/s'/></serial>",
      '',
      /\/var\/log\/s/,
    ],
    ['a fixed vsock address', "<vsock><cid auto='no' address='3'/></vsock>", '', /vsock/],
    [
      'a counter that can’t be saved',
      '',
      "<cpu><feature policy='require' name='invtsc'/></cpu>",
      /processor/,
    ],
  ])('%s', (_, devices, more, expected) => {
    const why = memoryObstacle(domain(devices, more));
    if (expected === undefined) expect(why).toBeUndefined();
    else expect(why).toMatch(expected);
  });
});

const source = (part: Partial<SourceFacts> = {}): SourceFacts => ({
  state: 'running',
  definition: domain(),
  disks: [disk('vda', '/images/app.qcow2', 'qcow2')],
  agentAnswers: true,
  snapshots: [],
  ...part,
});
const guest = { uuid: '11111111-2222-4333-8444-555555555555', name: 'app' };
const folder = `/store/bases/${'d'.repeat(12)}`;
const base: CapturedBase & { memory: MemoryPoint } = {
  digest: 'd'.repeat(64),
  definition: domain(),
  disks: [
    {
      target: 'vda',
      path: `${folder}/vda.qcow2`,
      format: 'qcow2',
      digest: 'e'.repeat(64),
      virtualBytes: 4 * GIB,
      allocatedBytes: GIB,
    },
  ],
  memory: {
    path: `${folder}/memory.sav`,
    digest: 'f'.repeat(64),
    bytes: 60e6,
    memoryBytes: 128 * 1024 ** 2,
    takenAt: '2026-01-01T00:00:00.000Z',
    madeOn: 'tcg on a test',
    resume: JSON.stringify({
      version: 2,
      wasRunning: 1,
      compressed: 0,
      definition: domain(
        "<channel type='unix'><source mode='bind' path='/run/app.sock'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>",
      ),
      cookie: '<cookie/>',
      streamAt: 4096,
    }),
  },
};
const warm = source({
  state: 'template',
  warm: true,
  agentAnswers: false,
  disks: [disk('vda', `${folder}/vda.qcow2`, 'qcow2')],
});
const cloneOf = (from: CapturedBase, part = {}): OperationRequest => ({
  kind: 'clone',
  source: { type: 'base', label: 'app v1', base: from },
  mode: 'memory',
  name: 'web_1',
  options: options({ start: true, ...part }),
  index: 0,
});
const planned = (request: OperationRequest, facts: LibvirtFacts) => plan(request, facts, seededIds('a'));

describe('plans', () => {
  it('a memory point holds the disks, copies them and gives them back', () => {
    const made = planned({ kind: 'capture', guest, label: 'x', memory: true }, factsOf(source()));
    expect(made.steps.map((step) => step.kind)).toEqual([
      'memory-point',
      'copy-disk',
      'rejoin-disks',
      'seal-base',
    ]);
    expect(made.steps[1]).toMatchObject({ expects: [], from: '/images/app.qcow2' });
    expect(made.steps[1]).not.toHaveProperty('stopped');
    expect(made.consistency).toBe('exact');
    const plain = planned({ kind: 'capture', guest, label: 'x' }, factsOf(source()));
    expect(made.fingerprint).not.toBe(plain.fingerprint);
  });

  it('a clone gets an image of its own: nothing in it names its source’s identity or files', () => {
    const made = planned(cloneOf(base), factsOf(warm));
    expect(made.steps.map((step) => step.kind)).toEqual(['define', 'resume-memory', 'attest']);
    const resume = made.steps.find((step) => step.kind === 'resume-memory');
    expect(resume?.head.definition).not.toMatch(/52:54:00:00:00|11111111-2222|app\.qcow2|app\.sock/);
    expect(resume?.head.definition).toContain(made.guest?.uuid ?? 'none');
    expect(resume?.image).toEqual({ from: `${folder}/memory.sav`, bytes: 60e6, streamAt: 4096 });
    const attest = made.steps.find((step) => step.kind === 'attest');
    expect(attest?.awaiting.outcome).toMatchObject({
      way: 'agent',
      policy: 'strict',
      decided: { hostname: 'web-1', machineId: expect.stringMatching(/^[0-9a-f]{32}$/) },
    });
    expect(attest?.awaiting.take?.nics.map(({ was }) => was)).toEqual([
      '52:54:00:00:00:01',
      '52:54:00:00:00:02',
    ]);
    // The second was down in its source, and stays so.
    expect(attest?.awaiting.links).toEqual(made.guest?.macs.slice(0, 1));
    const mark = made.guest?.uuid.slice(0, 8) ?? 'none';
    for (const { type, name } of made.creates) if (type !== 'guest') expect(name).toContain(mark);
    expect(made.removes).toEqual([resume?.to]); // gone once it runs: not the clone's to own
    expect(made.baseDigest).toBe(base.digest);
  });

  it('of a running guest it can be previewed, without a point', () => {
    const request: OperationRequest = {
      kind: 'clone',
      source: { type: 'guest', guest },
      mode: 'memory',
      name: 'x',
      options: options({ start: true }),
      index: 0,
    };
    expect(planned(request, factsOf(source()))).toMatchObject({ strategy: 'memory' });
    expect(planned(request, factsOf(source())).baseDigest).toBeUndefined();
  });

  it('a linked clone of a warm template says that its disks are as after a power cut', () => {
    const made = planned({ ...cloneOf(base), mode: 'linked' } as OperationRequest, factsOf(warm));
    expect(made.consistency).toBe('crash');
    expect(JSON.stringify(made.notes)).toContain('power cut');
  });

  it('removing a warm base takes its memory along', () => {
    const made = planned({ kind: 'remove-base', label: 'app v1', base }, factsOf(source()));
    expect(made.steps[0]).toMatchObject({ files: expect.arrayContaining([`${folder}/memory.sav`]) });
  });

  const { memory: _none, ...cold } = base;
  it.each([
    [
      'a stopped guest',
      { kind: 'capture', guest, label: 'x', memory: true },
      source({ state: 'stopped' }),
      'mode',
    ],
    [
      'an obstacle',
      { kind: 'capture', guest, label: 'x', memory: true },
      source({ memoryObstacle: 'it has a TPM' }),
      'mode',
    ],
    ['a template of disks only', cloneOf(cold), source({ state: 'template' }), 'mode'],
    [
      'memory of another machine',
      cloneOf({ ...base, memory: { ...base.memory, madeOn: 'kvm on another' } }),
      warm,
      'mode',
    ],
    ['other memory', cloneOf(base, { memoryMiB: 256 }), warm, 'options.memoryMiB'],
    ['other processors', cloneOf(base, { vcpus: 2 }), warm, 'options.vcpus'],
    ['not started', cloneOf(base, { start: false }), warm, 'options.start'],
  ] as [string, OperationRequest, SourceFacts, string][])('refuses %s', (_, request, facts, field) => {
    expect(() => planned(request, factsOf(facts))).toThrow(expect.objectContaining({ field }));
  });
});
