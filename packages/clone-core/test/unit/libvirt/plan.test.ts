import { describe, expect, it } from 'vitest';
import type { OperationRequest } from '../../../src/driver.ts';
import { plan } from '../../../src/drivers/libvirt/plan.ts';
import { identityOptionsSchema } from '../../../src/identity/contract.ts';
import { cloneOf, seededIds } from '../../conformance/workbench.ts';
import { disk, factsOf, GIB, richSource } from './facts.ts';

const source = { uuid: '11111111-2222-4333-8444-555555555555', name: 'rich' };
const request = cloneOf(source, 'clone');
const outline = (of: ReturnType<typeof plan>): string[] =>
  of.steps.map((step) => `${step.kind}: ${step.title}`);
const base = {
  digest: 'd'.repeat(64),
  definition: richSource().definition,
  disks: [
    {
      target: 'vda',
      path: `/store/bases/${'d'.repeat(12)}/vda.qcow2`,
      format: 'qcow2',
      digest: 'e'.repeat(64),
      virtualBytes: 4 * GIB,
      allocatedBytes: GIB,
    },
  ],
};

describe('full clone', () => {
  it.each([
    ['10.0.0.5/24', /10\.0\.0\.5\/24 is outside the network default, where libvirt has 192\.168\.122\.1\/24/],
    ['192.168.122.50/24', undefined],
    ['2001:db8::5/64', undefined], // libvirt has no IPv6 there: someone else may
  ])('with the static address %s on a network of libvirt', (first, warning) => {
    const identity = identityOptionsSchema.parse({ addressing: { type: 'static', first } });
    const inside = {
      kind: 'linux',
      agent: true,
      found: [],
      agents: [],
      seedReader: 'cloud-init',
    } as const;
    const facts = factsOf(
      richSource({ inside: { inside: { ...inside, found: [], agents: [] }, source: {} } }),
    );
    const networks = [{ name: 'default', active: true, subnets: ['192.168.122.1/24'] }];
    const { notes } = plan(
      cloneOf(source, 'clone', { identity, network: 'default' }),
      { ...facts, host: { ...facts.host, networks } },
      seededIds('a'),
    );
    const said = notes.map(({ text }) => text).filter((text) => text.includes('outside the network'));
    expect(said).toEqual(warning === undefined ? [] : [expect.stringMatching(warning)]);
  });

  it('of a stopped guest: defined first, then every disk, firmware', () => {
    const made = plan(request, factsOf(richSource()), seededIds('a'));
    expect(outline(made)).toEqual([
      'define: Define clone',
      'copy-disk: Copy disk vda',
      'copy-disk: Copy disk sda',
      'copy-disk: Copy disk sdb',
      'copy-file: Copy firmware settings',
    ]);
    expect(made).toMatchObject({
      consistency: 'exact',
      strategy: 'convert',
      estimates: { moveBytes: 6 * GIB },
    });
    expect(made.guest?.macs).toHaveLength(3);
  });

  it('of a running guest: one backup of all disks, consistent as the agent allows', () => {
    const running = (agentAnswers: boolean) =>
      plan(request, factsOf(richSource({ state: 'running', agentAnswers })), seededIds('a'));
    expect(outline(running(true))[1]).toBe('backup-disks: Copy 3 disks while rich runs');
    expect(running(true).consistency).toBe('filesystem');
    expect(running(false).consistency).toBe('crash');
    expect(running(true).fingerprint).not.toBe(running(false).fingerprint);
    const step = running(true).steps[1];
    expect(step).toMatchObject({ freeze: true, excluded: ['sdc', 'sdd'] });
  });

  it('reflinks single files where the filesystem shares blocks, and converts chains', () => {
    const whole = disk('vda', '/images/rich.qcow2', 'qcow2', { reflinkable: true });
    const raw = disk('sda', '/images/data.raw', 'raw', { reflinkable: true });
    const chained = {
      ...disk('sdb', '/images/logs.qcow2', 'qcow2', { reflinkable: true }),
      chain: [...whole.chain, ...raw.chain],
    };
    const made = plan(request, factsOf(richSource({ disks: [whole, raw, chained] })), seededIds('a'));
    expect(made.strategy).toBe('convert + reflink');
    expect(
      made.steps.flatMap((step) =>
        step.kind === 'copy-disk' ? [[step.strategy, step.to.split('/').at(-1)]] : [],
      ),
    ).toEqual([
      ['reflink', 'vda.qcow2'],
      ['reflink', 'sda.raw'],
      ['convert', 'sdb.qcow2'],
    ]);
    expect(made.estimates.moveBytes).toBe(2 * GIB);
  });

  it('copies TPM state only when asked, and only of a stopped guest', () => {
    const asked = cloneOf(source, 'clone', { tpm: 'copy' });
    expect(outline(plan(asked, factsOf(richSource()), seededIds('a'))).at(-1)).toBe(
      'copy-tpm: Copy TPM state',
    );
    expect(() => plan(asked, factsOf(richSource({ state: 'running' })), seededIds('a'))).toThrow(
      expect.objectContaining({ code: 'unavailable-mode', field: 'options.tpm' }),
    );
  });

  it('makes only names with the clone’s own UUID in them', () => {
    const made = plan(request, factsOf(richSource()), seededIds('a'));
    const mark = made.guest?.uuid.slice(0, 8) ?? 'none';
    for (const { type, name } of made.creates) if (type !== 'guest') expect(name).toContain(mark);
  });
});

describe('linked clone', () => {
  const linked: OperationRequest = {
    ...request,
    mode: 'linked',
    source: { type: 'base', label: 'sample v1', base },
  };
  const template = richSource({
    state: 'template',
    disks: [disk('vda', base.disks[0]?.path ?? '', 'qcow2')],
  });

  it('is an overlay and a definition', () => {
    const made = plan(linked, factsOf(template), seededIds('a'));
    expect(outline(made).slice(0, 2)).toEqual([
      'create-overlays: Create disk on its base',
      'define: Define clone',
    ]);
    expect(made).toMatchObject({ baseDigest: base.digest, estimates: { moveBytes: 0 }, strategy: 'overlay' });
  });

  it('of a guest can be previewed, without a base', () => {
    const made = plan({ ...request, mode: 'linked' }, factsOf(richSource()), seededIds('a'));
    expect(made.baseDigest).toBeUndefined();
    expect(made.steps[0]).toMatchObject({ kind: 'create-overlays', base: '' });
  });
});

describe('refusals', () => {
  it.each([
    ['a taken name', cloneOf(source, 'rich'), {}, { code: 'name-taken', field: 'name' }],
    [
      'an unknown network',
      cloneOf(source, 'x', { network: 'nope' }),
      {},
      { code: 'invalid-input', field: 'options.network' },
    ],
    ['a disk that does not fit', request, { freeBytes: GIB }, { code: 'no-space' }],
  ])('%s', (_, wanted, store, expected) => {
    const facts = factsOf(richSource());
    Object.assign(facts.host.store, store);
    expect(() => plan(wanted, facts, seededIds('a'))).toThrow(expect.objectContaining(expected));
  });

  it('a base whose files are not in the store is not removed', () => {
    const foreign = { ...base, disks: base.disks.map((each) => ({ ...each, path: '/images/rich.qcow2' })) };
    expect(() =>
      plan({ kind: 'remove-base', label: 'x', base: foreign }, factsOf(richSource()), seededIds('a')),
    ).toThrow(expect.objectContaining({ code: 'not-allowed' }));
  });
});

it('deletes files before the definition, so that what is left can be deleted again', () => {
  const made = plan(
    { kind: 'delete', guest: source, owned: ['/store/disks/x-1/vda.qcow2'] },
    factsOf(richSource()),
    seededIds('a'),
  );
  expect(made.steps.map((step) => step.kind)).toEqual(['stop', 'remove-files', 'undefine']);
});
