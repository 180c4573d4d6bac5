/** What a run does to single guests, and what must be on their disks afterwards. */
import { refreshOptionsSchema, type Generations, type GuestSnapshot } from '@offshoot/clone-core/contract';
import {
  requestDelete,
  requestPromote,
  requestRefresh,
  requestReset,
  requestRestore,
  requestSnapshot,
  requestStart,
  requestStop,
  requestVerify,
} from '@offshoot/db/operations';
import type { OperationRow } from '@offshoot/db/types';
import { click, type Asked, type Click } from './asking.ts';
import type { Known } from './ledger.ts';
import { clones, guestsInUse, nameOf, settleLedger, standing, type CloneRow } from './origins.ts';
import type { Random } from './random.ts';
import { writeSome } from './writes.ts';
import { patiently, type World } from './world.ts';

export interface Action {
  kind: string;
  /** How often it is drawn, with that many clones there. */
  weight(clones: number): number;
  ask(world: World, random: Random): Promise<Asked[]>;
}

const steady = (weight: number) => () => weight;

interface Part {
  /** Guests that it makes sense for. */
  suits?: (row: CloneRow) => boolean;
  /** Those of them that are drawn most often, where there are any. */
  likes?: (row: CloneRow) => boolean;
  /** Also of guests that write by themselves: what is on their disks is not known. */
  unknown?: boolean;
  send(
    world: World,
    row: CloneRow,
    random: Random,
  ): [label: string, send: (clicked: Click) => ReturnType<typeof requestStart>] | undefined;
  /** What is so when it has finished. */
  effect?: (world: World, row: CloneRow, known: Known, operation: OperationRow) => void;
}

function guestAction(kind: string, weight: Action['weight'], part: Part): Action {
  return {
    kind,
    weight,
    async ask(world, random) {
      const suits = part.suits ?? (() => true);
      const known = (row: CloneRow): boolean => world.ledger.guests.get(row.id)?.now !== undefined;
      const rows = (await clones(world)).filter((row) => suits(row) && (part.unknown === true || known(row)));
      if (rows.length === 0) return [];
      const liked = part.likes ? rows.filter(part.likes) : [];
      const row = random.pick(liked.length > 0 && random.chance(0.9) ? liked : rows);
      const wish = part.send(world, row, random);
      if (!wish) return [];
      const asked = await click(world, wish[0], wish[1]);
      const { effect } = part;
      if (effect)
        for (const id of asked.operationIds)
          world.ledger.expect(id, (operation) => {
            const about = world.ledger.guests.get(row.id);
            if (about) effect(world, row, about, operation);
          });
      return [asked];
    },
  };
}

const generationsOf = (row: CloneRow): Generations | undefined =>
  (row.generations as unknown as Generations | null) ?? undefined;
/** Number of the state that a finished refresh or restore put the clone into. */
const currentAfter = (operation: OperationRow): number =>
  (operation.plan as unknown as { generations?: Generations } | null)?.generations?.current ?? 0;

/** The state that a refresh or a restore leaves keeps what was on its disks then. */
function moveTo(known: Known, operation: OperationRow, content: (number: number) => Known['now']): void {
  known.generations.set(known.current, known.now);
  known.current = currentAfter(operation);
  known.now = content(known.current);
}

const ours = (row: CloneRow): string[] =>
  ((row.snapshots as unknown as GuestSnapshot[] | null) ?? [])
    .filter((each) => each.ours)
    .map(({ name }) => name);

const refresh = guestAction('refresh', steady(6), {
  suits: ({ mode, sourceGuestId }) => mode === 'full' && sourceGuestId !== null,
  // Sources that a fault took away leave their clones behind.
  likes: ({ sourceGuest }) => sourceGuest !== null && sourceGuest.state !== 'missing',
  send(world, row, random) {
    const options = refreshOptionsSchema.parse({
      ownChanges: random.pick(['refuse', 'discard', 'discard', 'keep'] as const),
      keepPrevious: random.between(0, 2),
    });
    const source = world.sources.standing.find(({ name }) => name === row.sourceName);
    if (source) world.ledger.noted.add(source.uuid);
    return [
      `refresh ${nameOf(world, row.name)} (${options.ownChanges}, keeps ${options.keepPrevious})`,
      (clicked) => requestRefresh(world.db, { ...clicked, guestId: row.id, options }),
    ];
  },
  effect(world, row, known, operation) {
    const source = row.sourceGuestId === null ? undefined : world.ledger.guests.get(row.sourceGuestId);
    moveTo(known, operation, () => source?.now);
  },
});

const restore = guestAction('restore', steady(1.5), {
  suits: (row) => (generationsOf(row)?.list.length ?? 0) > 1,
  send(world, row, random) {
    const generations = generationsOf(row);
    const others = generations?.list.filter(({ number }) => number !== generations.current) ?? [];
    if (others.length === 0) return undefined;
    const { number } = random.pick(others);
    return [
      `restore ${nameOf(world, row.name)} to ${number}`,
      (clicked) => requestRestore(world.db, { ...clicked, guestId: row.id, to: number }),
    ];
  },
  effect: (_world, _row, known, operation) =>
    moveTo(known, operation, (number) => known.generations.get(number)),
});

const nameIn = (operation: OperationRow): string =>
  (operation.request as unknown as { name?: string }).name ?? '';

const snapshot = guestAction('snapshot', steady(1.2), {
  unknown: true,
  send(world, row) {
    const name = `s${++world.count}`;
    return [
      `snapshot ${name} of ${nameOf(world, row.name)}`,
      (clicked) => requestSnapshot(world.db, { ...clicked, guestId: row.id, kind: 'snapshot', name }),
    ];
  },
  effect: (_world, _row, known, operation) => void known.snapshots.set(nameIn(operation), known.now),
});

const revert = guestAction('revert', steady(1.2), {
  unknown: true,
  suits: (row) => ours(row).length > 0,
  send(world, row, random) {
    const name = random.pick(ours(row));
    return [
      `revert ${nameOf(world, row.name)} to ${name}`,
      (clicked) => requestSnapshot(world.db, { ...clicked, guestId: row.id, kind: 'revert', name }),
    ];
  },
  effect(_world, _row, known, operation) {
    known.now = known.snapshots.get(nameIn(operation));
  },
});

const removeSnapshot = guestAction('remove-snapshot', steady(1), {
  unknown: true,
  suits: (row) => ours(row).length > 0,
  send(world, row, random) {
    const name = random.pick(ours(row));
    return [
      `remove-snapshot ${name} of ${nameOf(world, row.name)}`,
      (clicked) => requestSnapshot(world.db, { ...clicked, guestId: row.id, kind: 'remove-snapshot', name }),
    ];
  },
  effect: (_world, _row, known, operation) => void known.snapshots.delete(nameIn(operation)),
});

const reset = guestAction('reset', steady(1.2), {
  suits: ({ mode }) => mode === 'linked',
  send: (world, row) => [
    `reset ${nameOf(world, row.name)}`,
    (clicked) => requestReset(world.db, { ...clicked, guestId: row.id, waitForAgent: false }),
  ],
  effect(_world, _row, known) {
    known.now = known.cloned;
  },
});

const promote = guestAction('promote', steady(1.2), {
  unknown: true,
  suits: ({ baseId }) => baseId !== null,
  send: (world, row) => [
    `promote ${nameOf(world, row.name)}`,
    (clicked) => requestPromote(world.db, { ...clicked, guestId: row.id }),
  ],
});

/** A guest writes to its own disk, or a source to its: what nothing else is being done with. */
const write: Action = {
  kind: 'write',
  weight: steady(4),
  async ask(world, random) {
    const moving = world.sources.standing.filter((source) => source.moving);
    await standing(world);
    const rows = await patiently(() =>
      world.db.prisma.guest.findMany({
        where: { OR: [{ managed: true }, { uuid: { in: moving.map(({ uuid }) => uuid) } }] },
        orderBy: { id: 'asc' },
      }),
    );
    const there = rows.filter(
      ({ id, state, uuid }) =>
        uuid !== null &&
        (state === 'stopped' || state === 'running') &&
        world.ledger.guests.get(id)?.now !== undefined,
    );
    if (there.length === 0) return [];
    const row = random.pick(there);
    // Looked up first: what ends after this is not known to be ended.
    const inUse = await guestsInUse(world);
    await settleLedger(world);
    const known = world.ledger.guests.get(row.id);
    if (inUse.has(row.id) || !known?.now || row.uuid === null) return [];
    known.now = await writeSome(world, row.uuid, known.now, random);
    return [{ label: `write to ${nameOf(world, row.name)}`, operationIds: [] }];
  },
};

export function askDelete(world: World, { id, name }: { id: string; name: string }): Promise<Asked> {
  return click(world, `delete ${nameOf(world, name)}`, (clicked) =>
    requestDelete(world.db, { ...clicked, guestId: id }),
  );
}

const deletion: Part = {
  unknown: true,
  send: (world, row) => [
    `delete ${nameOf(world, row.name)}`,
    (clicked) => requestDelete(world.db, { ...clicked, guestId: row.id }),
  ],
};

/** With more than `enough` clones most of what is drawn is a deletion. */
export const guestActions = (enough: number): Action[] => [
  guestAction('start', steady(1), {
    send: (world, row) => [
      `start ${nameOf(world, row.name)}`,
      (clicked) => requestStart(world.db, { ...clicked, guestId: row.id, waitForAgent: false }),
    ],
  }),
  guestAction('stop', steady(1.5), {
    suits: ({ state }) => state !== 'stopped',
    send: (world, row) => [
      `stop ${nameOf(world, row.name)}`,
      (clicked) => requestStop(world.db, { ...clicked, guestId: row.id, force: true }),
    ],
  }),
  guestAction('verify', steady(0.7), {
    send: (world, row) => [
      `verify ${nameOf(world, row.name)}`,
      (clicked) => requestVerify(world.db, { ...clicked, guestId: row.id, depth: 'whole' }),
    ],
  }),
  write,
  refresh,
  restore,
  snapshot,
  revert,
  removeSnapshot,
  reset,
  promote,
  guestAction('delete', (there) => (there >= enough ? 12 : there > 2 ? 2 : 0.2), deletion),
];
