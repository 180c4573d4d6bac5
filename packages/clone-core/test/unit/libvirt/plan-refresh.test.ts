import { describe, expect, it } from 'vitest';
import { refreshOptionsSchema, type Generations, type RefreshOptions } from '../../../src/contract.ts';
import type { OperationRequest } from '../../../src/driver.ts';
import { OffshootError } from '../../../src/errors.ts';
import { plan } from '../../../src/drivers/libvirt/plan.ts';
import type { CloneFacts, DiskFacts, LibvirtFacts, SourceFacts } from '../../../src/drivers/libvirt/types.ts';
import { seededIds } from '../../conformance/workbench.ts';
import { disk, factsOf, GIB, golden, richSource } from './facts.ts';

const guest = { uuid: '22222222-2222-4333-8444-555555555555', name: 'copy' };
const folder = '/store/disks/copy';
const generations: Generations = {
  current: 1,
  next: 2,
  list: [
    {
      number: 1,
      at: '2026-01-01T00:00:00.000Z',
      kept: false,
      record: 'offshoot-22222222-2222-1',
      disks: [
        {
          target: 'vda',
          layer: `${folder}/vda.g1.qcow2`,
          own: `${folder}/vda.g1.own.qcow2`,
          sourcePath: '/images/rich.qcow2',
        },
      ],
    },
  ],
};
const clone: CloneFacts = {
  state: 'stopped',
  definition: golden('rich.clone.xml'),
  active: { vda: { path: `${folder}/vda.g1.own.qcow2`, format: 'qcow2', virtualBytes: 4 * GIB } },
  snapshots: [],
  generations: [
    {
      number: 1,
      chains: {
        vda: [
          { path: `${folder}/vda.g1.own.qcow2`, format: 'qcow2' },
          { path: `${folder}/vda.g1.qcow2`, format: 'qcow2' },
        ],
      },
    },
  ],
  ownBytes: 0,
};
const whole = disk('vda', '/images/rich.qcow2', 'qcow2');

interface Case {
  options?: Partial<RefreshOptions>;
  source?: Partial<SourceFacts>;
  disk?: DiskFacts;
  clone?: Partial<CloneFacts>;
  facts?: Partial<LibvirtFacts>;
}

function planned(part: Case) {
  const request: OperationRequest = {
    kind: 'refresh',
    guest,
    source: { uuid: '11111111-2222-4333-8444-555555555555', name: 'rich' },
    owned: generations.list.flatMap(({ disks }) => disks.flatMap(({ layer, own }) => [layer, own])),
    generations,
    options: { ...refreshOptionsSchema.parse({}), ...part.options },
  };
  const source = richSource({ state: 'running', disks: [part.disk ?? whole], ...part.source });
  return plan(
    request,
    factsOf(source, {
      clone: { ...clone, ...part.clone },
      record: { sizes: { vda: 50_000 } },
      records: [],
      ...part.facts,
    }),
    seededIds('a'),
  );
}
const kinds = (part: Case): string[] => planned(part).steps.map(({ kind }) => kind);
const said = (part: Case): string =>
  planned(part)
    .notes.map(({ text }) => text)
    .join(' ');

it('by the record: nothing but what changed, and what it would take', () => {
  expect(kinds({})).toEqual(['fill-layers', 'own-layers', 'redefine']);
  expect(planned({})).toMatchObject({ strategy: 'changed blocks', estimates: { moveBytes: 50_000 } });
});

describe('its identity inside', () => {
  const root = { target: 'vda', filesystem: 'ext4' as const, offset: 0, sizeBytes: GIB };
  const inside = {
    inside: { kind: 'linux' as const, root, agent: true, found: [], agents: [] },
    source: {},
  };
  it('of a clone that wrote nothing there is none', () => {
    expect(said({})).toContain('nothing of its own inside');
  });
  it('of one that did is carried over; where that can’t be, it is said', () => {
    const options = { ownChanges: 'discard' as const };
    expect(kinds({ options, clone: { ownBytes: 1, inside } })).toContain('carry-inside');
    const odd = { ...inside, inside: { ...inside.inside, notEditable: 'its journal is damaged' } };
    expect(said({ options, clone: { ownBytes: 1, inside: odd } })).toContain(
      'because its journal is damaged',
    );
  });
});

describe('a source that is not as it was: what is done is said before', () => {
  it.each<[string, Case, string, string?]>([
    [
      'moved or replaced',
      { disk: disk('vda', '/elsewhere/rich.qcow2', 'qcow2') },
      'disk vda of the source is another file since',
    ],
    ['resized', { disk: { ...whole, virtualBytes: 5 * GIB } }, 'disk vda of the source was resized since'],
    [
      'converted',
      { disk: disk('vda', '/images/rich.raw', 'raw') },
      'disk vda of the source is another file since',
      'The next refresh will compare again, because disk vda of the source is raw',
    ],
    [
      'with snapshots',
      { source: { snapshots: ['before'] }, facts: { record: { problem: 'its change record is gone' } } },
      'its change record is gone',
      'The next refresh will compare again, because the source has snapshots',
    ],
    ['stopped', { source: { state: 'stopped' } }, 'the source is stopped'],
  ])('%s', (_what, part, why, more = '') => {
    expect(planned(part).strategy).toBe('comparison');
    const text = said(part);
    expect(text).toContain(`No valid change record, because ${why}`);
    expect(text).toContain('both sides are read (about 4.0 GiB)');
    expect(text).toContain(more);
  });
});

describe('refused in the preview', () => {
  it.each<[string, Case, object]>([
    [
      'a source that shrank',
      { disk: { ...whole, virtualBytes: 2 * GIB } },
      { code: 'source-changed', field: 'source' },
    ],
    [
      'a disk more',
      { source: { disks: [whole, disk('vdb', '/images/more.qcow2', 'qcow2')] } },
      { code: 'source-changed', field: 'source' },
    ],
    ['a clone that runs', { clone: { state: 'running' } }, { code: 'busy', retryable: true }],
    ['a clone with a snapshot', { clone: { snapshots: ['mine'] } }, { code: 'in-use' }],
    [
      'a disk from another hand',
      { clone: { active: { vda: { path: '/other.qcow2', format: 'qcow2', virtualBytes: 4 * GIB } } } },
      { code: 'source-changed' },
    ],
    ['what it wrote', { clone: { ownBytes: 131_072 } }, { code: 'would-lose', field: 'options.ownChanges' }],
    ['more than fits', { facts: { record: { sizes: { vda: 60 * GIB } } } }, { code: 'no-space' }],
  ])('%s', (_what, part, error) => {
    let thrown: unknown;
    try {
      planned(part);
    } catch (caught) {
      thrown = caught;
    }
    expect(thrown).toBeInstanceOf(OffshootError);
    expect(thrown).toMatchObject(error);
    expect(thrown).toHaveProperty('remedy', expect.stringMatching(/.+/));
  });
});
