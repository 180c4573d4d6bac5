import { describe, expect, it } from 'vitest';
import type { OperationRequest } from '../../../src/driver.ts';
import { movedDefinition } from '../../../src/drivers/libvirt/moving/definition.ts';
import { plan } from '../../../src/drivers/libvirt/plan.ts';
import type { MoveFacts } from '../../../src/drivers/libvirt/types.ts';
import { seededIds } from '../../conformance/workbench.ts';
import { disk, factsOf, GIB } from './facts.ts';

const DIGEST = 'd'.repeat(64);
const guest = { uuid: '11111111-2222-4333-8444-555555555555', name: 'web' };
const own = '/store/disks/web-1/vda.qcow2';
const nvram = '/store/nvram/web_VARS.fd';
const seed = '/store/disks/web-1/seed.iso';
const below = `/store/bases/${DIGEST.slice(0, 12)}/vda.qcow2`;
const definition = `<domain type='qemu' id='7'><name>web</name><uuid>${guest.uuid}</uuid><memory unit='KiB'>131072</memory>
<metadata><offshoot:identity xmlns:offshoot="https://offshoot.invalid/identity/1">{"drive":{"path":"${seed}"}}</offshoot:identity></metadata>
<os><nvram>${nvram}</nvram></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${own}' index='1'/><backingStore type='file'><source file='${below}'/></backingStore><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><source file='${seed}'/><target dev='sda'/><readonly/></disk>
<interface type='network'><mac address='52:54:00:00:00:01'/><source network='lab' portid='x'/></interface></devices></domain>`;
const chained = (...paths: string[]) =>
  disk('vda', paths[0] ?? own, 'qcow2', {
    chain: paths.map((path) => ({
      path,
      format: 'qcow2',
      virtualBytes: 4 * GIB,
      size: 1000,
      allocated: 1000,
      modifiedMs: 5,
      externalData: false,
    })),
  });
const base = {
  digest: DIGEST,
  definition,
  disks: [
    {
      target: 'vda',
      path: below,
      format: 'qcow2',
      digest: DIGEST,
      virtualBytes: 4 * GIB,
      allocatedBytes: GIB,
    },
  ],
};
const request: OperationRequest = {
  kind: 'migrate',
  guest,
  target: { hostId: 'h2', name: 'host-2' },
  owned: [own, nvram, seed],
  generations: false,
  base,
};
const there = {
  store: '/there',
  freeBytes: 50 * GIB,
  networks: [
    { name: 'lab', active: true },
    { name: 'off', active: false },
  ],
  machine: 'tcg on a test',
  accelerator: 'tcg',
  missing: [],
  system: true,
} as const;
const facts = (part: Partial<MoveFacts> = {}, look: object = {}) => {
  const source = {
    state: 'stopped' as const,
    definition,
    disks: [chained(own, below)],
    agentAnswers: false,
    snapshots: [],
  };
  const move: MoveFacts = {
    source,
    extras: [nvram, seed].map((path) => ({ path, size: 500, modifiedMs: 6 })),
    saved: false,
    records: [],
    ...part,
    there: { ...there, networks: [...there.networks], missing: [], ...look },
  };
  return { ...factsOf(source), move };
};
const running = (more: Partial<MoveFacts> = {}): Partial<MoveFacts> => {
  const { source } = facts().move;
  return { source: { ...source, state: 'running' }, live: definition, ...more };
};
const kinds = (made: ReturnType<typeof plan>) =>
  made.steps.map(({ kind, irreversible, commits }) => [kind, irreversible ?? commits ?? false]);

describe('moving a guest', () => {
  it('stopped: files, definition there, and only then is it gone here', () => {
    const made = plan(request, facts(), seededIds('a'));
    expect(kinds(made)).toEqual([
      ['receive-guest', false],
      ['define-there', false],
      ['remove-files', true],
      ['undefine', true],
    ]);
    const at = made.moves?.owned[0]?.replace('/vda.qcow2', '');
    expect(at).toMatch(/^\/there\/disks\/web-[0-9a-f]{8}$/);
    expect(made.moves).toEqual({
      hostId: 'h2',
      baseDigest: DIGEST,
      owned: [`${at}/vda.qcow2`, `${at}/web_VARS.fd`, `${at}/seed.iso`],
    });
    expect(made.steps[0]).toMatchObject({
      files: [
        {
          from: own,
          file: 'vda.qcow2',
          onto: { path: `/there/bases/${DIGEST.slice(0, 12)}/vda.qcow2`, format: 'qcow2' },
        },
        { from: nvram, file: 'web_VARS.fd' },
        { from: seed, file: 'seed.iso' },
      ],
      prepare: [],
    });
    expect(made.steps[2]).toMatchObject({ paths: [own, nvram, seed], folders: ['/store/disks/web-1'] });
  });

  it('running: room there, then live; only the top of what stands on a base travels', () => {
    const made = plan(
      request,
      facts(running(), { base: [{ target: 'vda', path: '/there/b', format: 'qcow2' }] }),
      seededIds('a'),
    );
    expect(kinds(made).map(([kind]) => kind)).toEqual([
      'receive-guest',
      'migrate-live',
      'remove-files',
      'undefine',
    ]);
    expect(made.steps[0]).toMatchObject({
      prepare: [{ file: 'vda.qcow2', virtualBytes: 4 * GIB, onto: { path: '/there/b' } }],
    });
    expect(made.steps[1]).toMatchObject({ storage: 'inc', commits: true, bytes: 2000 + 134_217_728 });
    expect(made.notes.map(({ text }) => text).join(' ')).not.toContain('goes there first');
  });

  it('states of its own become one file, and that is told', () => {
    const layered = facts({
      source: { ...facts().move.source, disks: [chained(own, '/store/disks/web-1/layer-1.qcow2', below)] },
    });
    const made = plan({ ...request, generations: true }, layered, seededIds('a'));
    expect(kinds(made).map(([kind]) => kind)).toEqual([
      'copy-disk',
      'receive-guest',
      'define-there',
      'remove-files',
      'undefine',
    ]);
    expect(made.notes.find(({ level }) => level === 'warn')?.text).toContain(
      'earlier states stay behind and are deleted',
    );
    expect(made.moves).not.toHaveProperty('baseDigest');
  });

  it('the same guest is the same fingerprint, whether its base has come by then or not', () => {
    const before = plan(request, facts(running()), seededIds('a')).fingerprint;
    const after = plan(
      request,
      facts(running(), { base: [{ target: 'vda', path: '/there/b', format: 'qcow2' }], freeBytes: 20 * GIB }),
      seededIds('b'),
    );
    expect(after.fingerprint).toBe(before);
    expect(plan({ ...request, network: 'lab' }, facts(running()), seededIds('a')).fingerprint).not.toBe(
      before,
    );
  });

  it.each<[string, Partial<MoveFacts>, object, string, string]>([
    [
      'a processor that is not there',
      {},
      { processor: 'its processor can’t be had there: no avx512f' },
      'unavailable-mode',
      'web can’t run on host-2: its processor',
    ],
    ['no such network', {}, { networks: [] }, 'unavailable-mode', 'host-2 has no network lab.'],
    [
      'a network that is off',
      {},
      { networks: [{ name: 'lab', active: false }] },
      'unavailable-mode',
      'The network lab of host-2 is not active.',
    ],
    ['its name is taken', {}, { taken: 'name' }, 'name-taken', 'host-2 has a guest named web already.'],
    [
      'its UUID is taken',
      {},
      { taken: 'uuid' },
      'name-taken',
      'host-2 has a guest with the UUID of web already.',
    ],
    [
      'no room, counting its base',
      {},
      { freeBytes: GIB },
      'no-space',
      'web needs 1.0 GiB on host-2, where 1.0 GiB are free.',
    ],
    [
      'a medium that is not there',
      {},
      { missing: ['/iso/tools.iso'] },
      'unavailable-mode',
      'web uses what is not on host-2: /iso/tools.iso.',
    ],
    ['saved memory', { saved: true }, {}, 'busy', 'The memory of web is saved on disk'],
    [
      'clones refreshed from it',
      { records: ['r1'] },
      {},
      'in-use',
      'Clones on this host are refreshed from web',
    ],
    [
      'a device passed through',
      running({ unmovable: 'it has a device of the host passed through' }),
      {},
      'unavailable-mode',
      'web can’t go while it runs: it has a device',
    ],
    [
      'the host’s own processor, of another kind there',
      running({ live: definition.replace('<devices>', "<cpu mode='host-passthrough'/><devices>") }),
      { machine: 'kvm on another' },
      'unavailable-mode',
      'own processor (tcg on a test), which host-2 does not have',
    ],
  ])('refused: %s', (_what, part, look, code, message) => {
    const refused = (): unknown => plan(request, facts(part, look), seededIds('a'));
    expect(refused).toThrow(message);
    expect(refused).toThrow(expect.objectContaining({ code }));
  });

  it('its definition there: every path of its own, in notes too, and nothing else', () => {
    const xml = movedDefinition(
      definition,
      new Map([
        [own, '/t/a'],
        [nvram, '/t/b'],
        [seed, '/t/c'],
      ]),
      'other',
    );
    for (const part of [
      'file="/t/a"',
      '<nvram>/t/b</nvram>',
      'file="/t/c"',
      '"path":"/t/c"',
      'network="other"',
      '52:54:00:00:00:01',
    ])
      expect(xml.replaceAll("'", '"')).toContain(part);
    expect(xml).not.toMatch(/backingStore|portid|index=|id="7"/);
  });
});
