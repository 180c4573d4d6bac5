import { expect, it, vi } from 'vitest';
import { fillsOf } from '../../src/components/host/Meter.tsx';
import { bringSums } from '../../src/lib/bring.ts';
import { fleetMap, HOST_WIDTH } from '../../src/lib/fleet-map.ts';
import { paced } from '../../src/lib/paced.ts';
import type { BringPreview } from '../../src/server/hosts/bring.ts';
import type { TransferView } from '../../src/server/hosts/transfers.ts';
import { outsideChanges } from '../../src/server/views/changes.ts';

const host = (number: number) => ({ id: `h${number}`, name: `host-${number}` });
const hop = (from: number, to: number): TransferView => ({
  operationId: `${from}>${to}`,
  label: 'sample v2',
  state: 'running',
  from: host(from),
  to: host(to),
  doneBytes: 1,
  totalBytes: 2,
  rate: null,
  secondsLeft: null,
  note: null,
});
const places = (map: ReturnType<typeof fleetMap>) => new Map(map.hosts.map((each) => [each.id, each]));

it('the map puts a chain of transfers from left to right, and no two hosts in one place', () => {
  const hosts = [1, 2, 3, 4, 5, 6].map(host);
  const map = fleetMap(hosts, hosts.length, [hop(2, 4), hop(4, 1)]);
  const at = places(map);
  expect(at.size).toBe(6);
  const x = (id: string): number => at.get(id)?.x ?? Number.NaN;
  expect(x('h4')).toBeGreaterThan(x('h2') + HOST_WIDTH);
  expect(x('h1')).toBeGreaterThan(x('h4') + HOST_WIDTH);
  expect(new Set(map.hosts.map((each) => `${each.x} ${each.y}`)).size).toBe(6);
  // Hosts with nothing on its way stand below those.
  expect(Math.min(...['h3', 'h5', 'h6'].map((id) => at.get(id)?.y ?? 0))).toBeGreaterThan(
    at.get('h2')?.y ?? 0,
  );
});

it('of a large fleet the map draws only hosts that something is on its way to or from, also those on other pages', () => {
  const map = fleetMap([host(1), host(2)], 500, [hop(1, 77)]);
  expect([...places(map).keys()].toSorted()).toEqual(['h1', 'h77']);
  expect(fleetMap([host(1)], 500, []).hosts).toEqual([]);
  // Its source is gone from the portal: nothing to draw an arrow from.
  expect(fleetMap([host(1)], 1, [{ ...hop(1, 1), from: null }]).hops).toEqual([]);
});

const preview: BringPreview = {
  label: 'sample v2',
  bytes: 1000,
  rate: 100,
  hosts: [
    { ...host(1), way: 'here', freeBytes: 5000 },
    { ...host(2), way: 'whole', freeBytes: 5000 },
    { ...host(3), way: 'delta', freeBytes: 500 },
    { ...host(4), way: 'no', why: 'It is silent.', freeBytes: null },
  ],
};

it('bringing to many hosts takes as long as to one, moves each its bytes, and names who has no room', () => {
  expect(bringSums(preview, ['h1', 'h2', 'h3', 'h4'])).toMatchObject({
    hosts: [{ id: 'h2' }, { id: 'h3' }],
    mostBytes: 2000,
    atMost: true,
    seconds: 10,
    full: ['host-3'],
  });
  expect(bringSums(preview, ['h2'])).toMatchObject({ mostBytes: 1000, atMost: false, full: [] });
  expect(bringSums({ ...preview, rate: null }, ['h2']).seconds).toBeNull();
  expect(bringSums(preview, ['h1'])).toMatchObject({ hosts: [], seconds: null });
});

it('changes past Offshoot are told one by one; the order of disks and cards is none', () => {
  const noted = {
    name: 'web',
    vcpus: 1,
    memoryBytes: 1024,
    macs: ['a', 'b'],
    disks: [
      { target: 'vda', path: '/a' },
      { target: 'vdb', path: '/b' },
    ],
  };
  const now = { ...noted, macs: ['b', 'a'], disks: noted.disks.toReversed() };
  expect(outsideChanges(noted, now)).toEqual([]);
  expect(outsideChanges(null, now)).toEqual([]);
  expect(
    outsideChanges(noted, {
      ...now,
      memoryBytes: 2048,
      macs: ['a'],
      disks: [
        { target: 'vda', path: '/a.snap' },
        { target: 'vdc', path: '/c' },
      ],
    }),
  ).toEqual([
    { what: 'memory', was: 1024, now: 2048 },
    { what: 'network cards', was: 'a, b', now: 'a' },
    { what: 'disk', target: 'vda', was: '/a', now: '/a.snap' },
    { what: 'disk', target: 'vdb', was: '/b', now: null },
    { what: 'disk', target: 'vdc', was: null, now: '/c' },
  ]);
  // Offshoot itself replaced the disks a moment ago.
  const { disks: _disks, ...rest } = noted;
  expect(outsideChanges(rest, { ...now, disks: [] })).toEqual([]);
});

it('a list that changes all the time is asked for at once and then in a steady pace, the last change included', () => {
  vi.useFakeTimers();
  try {
    const asked: string[] = [];
    const pace = paced<string>(1000, (key) => asked.push(key));
    for (let turn = 0; turn < 10; turn++) pace.ask('list', 'list');
    pace.ask('one', 'one');
    expect(asked).toEqual(['list', 'one']);
    vi.advanceTimersByTime(1000);
    expect(asked).toEqual(['list', 'one', 'list']);
    vi.advanceTimersByTime(5000);
    expect(asked).toHaveLength(3);
    pace.ask('list', 'list');
    pace.ask('list', 'list');
    pace.stop();
    vi.advanceTimersByTime(5000);
    expect(asked).toHaveLength(4);
  } finally {
    vi.useRealTimers();
  }
});

it('what a host has promised is apart from what it uses', () => {
  const guests = {
    total: 1,
    running: 1,
    vcpus: 1,
    promisedMemoryBytes: 10,
    promisedStoreBytes: 0,
    growBytes: 0,
  };
  expect(fillsOf({ facts: null, guests })).toBeNull();
  const fills = fillsOf({
    facts: {
      hypervisor: 'x',
      accelerator: { name: 'tcg', provenAt: '', detail: '' },
      cpus: 2,
      load1: 9,
      memoryBytes: 100,
      memoryFreeBytes: 60,
      store: { path: '/', filesystem: 'x', reflink: false, totalBytes: 50, freeBytes: 50 },
      networks: [],
    },
    guests,
  });
  expect(fills).toMatchObject([
    { name: 'Processors', used: 2, total: 2, words: 'load 9.0 of 2' },
    { name: 'Memory', used: 40, promised: 10, total: 100 },
    { name: 'Storage', used: 0, total: 50 },
  ]);
});
