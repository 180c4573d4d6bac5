/** Placement, as properties over many fleets, and its words. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { place, whyNot } from '../../../src/placement/place.ts';
import { VCPUS_PER_CORE } from '../../../src/placement/room.ts';
import type { HostState, PlacementQuestion, Seat } from '../../../src/placement/types.ts';

const GIB = 2 ** 30;
const host = (id: string, more: Partial<HostState> = {}): HostState => ({
  id,
  name: id,
  cores: 8,
  busyVcpus: 0,
  load1: 0,
  memoryBytes: 64 * GIB,
  memoryFreeBytes: 64 * GIB,
  storeBytes: 100 * GIB,
  storeFreeBytes: 100 * GIB,
  networks: [{ name: 'default', active: true }],
  holds: 'none',
  ...more,
});
const seat = (index: number, more: Partial<Seat> = {}): Seat => ({
  name: `web-${index + 1}`,
  vcpus: 1,
  memoryBytes: GIB / 8,
  storeBytes: 200 * 1024,
  networks: [],
  ...more,
});
const seats = (count: number, more: Partial<Seat> = {}): Seat[] =>
  Array.from({ length: count }, (_, index) => seat(index, more));
const ask = (hosts: HostState[], wanted: Seat[], more: Partial<PlacementQuestion> = {}) =>
  place({ hosts, seats: wanted, baseBytes: 1.5 * GIB, policy: 'spread', ...more });
const counts = (placement: ReturnType<typeof place>) =>
  Object.fromEntries(placement.shares.map(({ hostId, seats: given }) => [hostId, given.length]));

const anyHost = fc.record({
  cores: fc.integer({ min: 1, max: 16 }),
  busyVcpus: fc.integer({ min: 0, max: 140 }),
  load1: fc.integer({ min: 0, max: 40 }),
  memoryFreeBytes: fc.integer({ min: 0, max: 8 }).map((value) => value * GIB),
  storeFreeBytes: fc.integer({ min: 0, max: 40 }).map((value) => value * GIB),
  networks: fc.subarray(['default', 'lab']).map((names) => names.map((name) => ({ name, active: true }))),
  holds: fc.constantFrom('base' as const, 'coming' as const, 'older' as const, 'none' as const),
  unusable: fc.option(fc.constant('is drained'), { nil: undefined, freq: 5 }),
  receivesNothing: fc.option(fc.constant('its worker takes none'), { nil: undefined, freq: 5 }),
});
const named = (drawn: (typeof anyHost extends fc.Arbitrary<infer T> ? T : never)[]): HostState[] =>
  drawn.map(({ unusable, receivesNothing, ...rest }, index) =>
    host(`h${index}`, {
      ...rest,
      ...(unusable === undefined ? {} : { unusable }),
      ...(receivesNothing === undefined ? {} : { receivesNothing }),
    }),
  );
const fleet = fc.array(anyHost, { maxLength: 6 }).map(named);
const anyNeed = fc.record({
  vcpus: fc.integer({ min: 0, max: 4 }),
  memoryBytes: fc.integer({ min: 0, max: 4 }).map((value) => value * (GIB / 2)),
  storeBytes: fc.integer({ min: 0, max: 10 }).map((value) => value * GIB),
  networks: fc.subarray(['default', 'lab']),
});
const anySeats = fc
  .array(
    fc.record({
      need: anyNeed,
      apart: fc.option(fc.constantFrom('a', 'b'), { nil: undefined }),
      together: fc.option(fc.constantFrom('x', 'y'), { nil: undefined, freq: 6 }),
    }),
    { maxLength: 24 },
  )
  .map((drawn) =>
    drawn.map(({ need, apart, together }, index) =>
      seat(index, {
        ...need,
        ...(apart === undefined ? {} : { apart }),
        ...(together === undefined ? {} : { together }),
      }),
    ),
  );
const policy = fc.constantFrom('spread' as const, 'pack' as const);
const baseBytes = fc.integer({ min: 0, max: 20 }).map((value) => value * GIB);

it('never gives a host more than it has, nor one that can’t be used, lacks a network or can’t get the base; each seat has one host or a reason', () => {
  fc.assert(
    fc.property(fleet, anySeats, baseBytes, policy, (hosts, wanted, bytes, how) => {
      const { shares, others, unplaced } = ask(hosts, wanted, { baseBytes: bytes, policy: how });
      const given = [...shares.flatMap((share) => share.seats), ...unplaced.map((each) => each.seat)];
      expect(given.toSorted((a, b) => a - b)).toEqual(wanted.map((_, index) => index));
      expect([...shares, ...others].map(({ hostId }) => hostId).toSorted()).toEqual(
        hosts.map(({ id }) => id).toSorted(),
      );
      for (const { hostId, seats: indices } of shares) {
        const on = hosts.find(({ id }) => id === hostId) as HostState;
        const mine = indices.map((index) => wanted[index] as Seat);
        const total = (pick: (each: Seat) => number) => mine.reduce((sum, each) => sum + pick(each), 0);
        const brought = on.holds === 'base' || on.holds === 'coming' ? 0 : bytes;
        expect(on.unusable).toBeUndefined();
        expect(total((each) => each.storeBytes) + brought).toBeLessThanOrEqual(on.storeFreeBytes);
        expect(total((each) => each.memoryBytes)).toBeLessThanOrEqual(on.memoryFreeBytes);
        const vcpus = total((each) => each.vcpus);
        if (vcpus > 0) expect(vcpus + on.busyVcpus).toBeLessThanOrEqual(on.cores * VCPUS_PER_CORE);
        for (const { networks } of mine)
          expect(on.networks.map(({ name }) => name)).toEqual(expect.arrayContaining([...networks]));
        if (on.receivesNothing !== undefined) expect(on.holds).toBe('base');
        const apart = mine.flatMap((each) => each.apart ?? []);
        expect(new Set(apart).size).toBe(apart.length);
      }
      for (const group of ['x', 'y']) {
        const members = wanted.flatMap((each, index) => (each.together === group ? [index] : []));
        const homes = new Set(
          members.map((index) => shares.find((share) => share.seats.includes(index))?.hostId),
        );
        expect(homes.size).toBeLessThanOrEqual(1);
      }
    }),
  );
});

it('says the same in whatever order the hosts come', () => {
  fc.assert(
    fc.property(
      fleet.chain((hosts) =>
        fc.tuple(
          fc.constant(hosts),
          fc.shuffledSubarray(hosts, { minLength: hosts.length, maxLength: hosts.length }),
        ),
      ),
      anySeats,
      policy,
      ([hosts, shuffled], wanted, how) => {
        expect(ask(shuffled, wanted, { policy: how })).toEqual(ask(hosts, wanted, { policy: how }));
      },
    ),
  );
});

it('one more host, or more space on one, never leaves more of a class without a place; a place is not refused while a host has room', () => {
  fc.assert(
    fc.property(
      fleet,
      anyHost,
      anyNeed,
      fc.integer({ min: 1, max: 30 }),
      policy,
      fc.nat(5),
      (hosts, extra, need, count, how, which) => {
        const wanted = seats(count, need);
        const left = (with_: HostState[]) => ask(with_, wanted, { policy: how }).unplaced.length;
        const before = left(hosts);
        expect(left([...hosts, ...named([extra]).map((one) => ({ ...one, id: 'new' }))])).toBeLessThanOrEqual(
          before,
        );
        const larger = hosts.map((one, index) =>
          index === which ? { ...one, storeFreeBytes: one.storeFreeBytes + 50 * GIB } : one,
        );
        expect(left(larger)).toBeLessThanOrEqual(before);
        const { shares, unplaced } = ask(hosts, wanted, { policy: how });
        if (unplaced.length === 0) return;
        for (const { id } of hosts) {
          const own = shares.find(({ hostId }) => hostId === id)?.seats ?? [];
          const more = [...own, unplaced[0]?.seat ?? 0];
          expect(
            whyNot({ hosts, seats: wanted, baseBytes: 1.5 * GIB }, [{ hostId: id, seats: more }]),
          ).toBeDefined();
        }
      },
    ),
  );
});

it('what was placed is what hosts can take, when it is asked again at the click', () => {
  fc.assert(
    fc.property(fleet, anySeats, policy, (hosts, wanted, how) => {
      const { shares } = ask(hosts, wanted, { policy: how });
      expect(whyNot({ hosts, seats: wanted, baseBytes: 1.5 * GIB }, shares)).toBeUndefined();
    }),
  );
});

it('spreads a class evenly over hosts that are alike; a few stay where the base is', () => {
  const four = [host('h1', { holds: 'base' }), host('h2'), host('h3'), host('h4')];
  expect(counts(ask(four, seats(30)))).toEqual({ h1: 8, h2: 8, h3: 7, h4: 7 });
  expect(counts(ask(four, seats(1)))).toEqual({ h1: 1 });
  expect(counts(ask(four, seats(3)))).toEqual({ h1: 3 });
  expect(counts(ask(four, seats(4, { apart: 'class' })))).toEqual({ h1: 1, h2: 1, h3: 1, h4: 1 });
  expect(counts(ask(four, seats(12, { together: 'class' })))).toEqual({ h1: 12 });
  expect(counts(ask(four, seats(30), { policy: 'pack' }))).toEqual({ h1: 30 });
  const full = [
    host('h1', { holds: 'base', memoryFreeBytes: GIB }),
    host('h2', { holds: 'older' }),
    host('h3'),
  ];
  expect(counts(ask(full, seats(1)))).toEqual({ h2: 1 });
  const busy = [host('h1', { holds: 'base', load1: 9 }), host('h2')];
  expect(counts(ask(busy, seats(1)))).toEqual({ h2: 1 });
  expect(ask(busy.slice(0, 1), seats(1)).shares[0]?.why).toContain('0 of 8 cores in use, busy (load 9)');
});

it('explains itself', () => {
  const placement = ask(
    [
      host('host-1', { holds: 'base', storeFreeBytes: 41.9 * GIB, busyVcpus: 3 }),
      host('host-2', { unusable: 'is drained' }),
      host('host-3', { networks: [] }),
      host('host-3b', { networks: [{ name: 'default', active: false }] }),
      host('host-4', { storeFreeBytes: GIB }),
      host('host-5', { receivesNothing: 'its worker gives and takes none' }),
      host('host-6', { memoryFreeBytes: GIB / 16 }),
      host('host-7', { busyVcpus: 64 }),
    ],
    seats(1, { networks: ['default'] }),
  );
  expect(placement.shares.map(({ why }) => why)).toEqual([
    'already holds the base; 41 GiB free; 64 GiB of memory free; 3 of 8 cores in use',
  ]);
  expect(placement.others.map(({ hostId, why }) => [hostId, why])).toEqual([
    ['host-2', 'is drained'],
    ['host-3', 'has no network “default”'],
    ['host-3b', 'its network “default” is not active'],
    ['host-4', '1 GiB of its store are free, 1.5 GiB are needed'],
    ['host-5', 'does not have the base, and its worker gives and takes none'],
    ['host-6', '0 GiB of memory are free, 0.1 GiB are needed'],
    ['host-7', 'its guests have 64 processors on 8 cores, and no more than 8 a core are given out'],
  ]);
  const nowhere = ask([host('h1', { unusable: 'is drained' })], seats(2));
  expect(nowhere.unplaced).toEqual([
    { seat: 0, why: 'h1: is drained.' },
    { seat: 1, why: 'h1: is drained.' },
  ]);
});
