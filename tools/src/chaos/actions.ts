/** The operations that a run asks for. */
import {
  cloneRequestSchema,
  importRequestSchema,
  type CloneMode,
  type Source as CloneSource,
} from '@offshoot/clone-core/contract';
import {
  requestCapture,
  requestClone,
  requestDelete,
  requestImport,
  requestRemoveBase,
  requestReset,
  requestStart,
  requestStop,
  requestVerify,
} from '@offshoot/db/operations';
import { randomUUID } from 'node:crypto';
import { click, type Asked } from './asking.ts';
import { Violation } from './violation.ts';
import type { Random } from './random.ts';
import type { Content } from './sources.ts';
import { patiently, type World } from './world.ts';
import { HOST_ID } from './workers.ts';

export interface Action {
  kind: string;
  /** How often it is drawn, with that many clones there. */
  weight(clones: number): number;
  ask(world: World, random: Random): Promise<Asked[]>;
}

/** More than this and the checks of a round take longer than its operations. */
const ENOUGH = 9;
const making = (weight: number) => (clones: number) => (clones >= ENOUGH ? 0.2 : weight);
const ending = (weight: number) => (clones: number) =>
  clones >= ENOUGH ? weight * 6 : clones > 2 ? weight : 0.2;
const steady = (weight: number) => () => weight;

const newName = (world: World): string => `${world.prefix}g${++world.count}`;

interface Origin {
  name: string;
  source: CloneSource;
  content: Content;
  /** Starting a clone of it does not change it: nothing in it boots. */
  inert: boolean;
}

const nameOf = (world: World, full: string): string => full.slice(world.prefix.length);

/** A guest that can be cloned now: one of the standing sources, or a clone. */
async function someGuest(world: World, random: Random): Promise<Origin | undefined> {
  const rows = await clones(world);
  const sources = world.sources.standing;
  const known = await patiently(() =>
    world.db.prisma.guest.findMany({
      where: { uuid: { in: sources.map(({ uuid }) => uuid) } },
      orderBy: { name: 'asc' },
    }),
  );
  const origins: Origin[] = [
    ...known.flatMap(({ id, name, uuid }) => {
      const source = sources.find((each) => each.uuid === uuid);
      const origin = {
        name,
        source: { type: 'guest' as const, id },
        content: source?.content,
        inert: source?.agent === false,
      };
      return [origin, origin];
    }),
    ...rows.map(({ id, name }) => {
      const content = world.ledger.guests.get(id);
      return { name, source: { type: 'guest' as const, id }, content, inert: content !== undefined };
    }),
  ];
  return origins.length === 0 ? undefined : random.pick(origins);
}

export async function clones(world: World) {
  return patiently(() =>
    world.db.prisma.guest.findMany({
      where: { hostId: HOST_ID, managed: true, state: { in: ['stopped', 'running', 'paused'] } },
      orderBy: { id: 'asc' },
    }),
  );
}

async function someVersion(world: World, random: Random): Promise<Origin | undefined> {
  const versions = await patiently(() =>
    world.db.prisma.templateVersion.findMany({ include: { template: true }, orderBy: { id: 'asc' } }),
  );
  if (versions.length === 0) return undefined;
  const version = random.pick(versions);
  const content = world.ledger.templates.get(version.template.name);
  return {
    name: version.template.name,
    source: { type: 'template', versionId: version.id },
    content,
    inert: content !== undefined,
  };
}

/** Asks for clones and notes what must be in them. */
export async function askClones(
  world: World,
  origin: Origin,
  mode: CloneMode,
  names: readonly string[],
  start: boolean,
  key?: string,
): Promise<Asked> {
  const request = cloneRequestSchema.parse({
    source: origin.source,
    mode,
    names,
    options: { start: start && origin.inert, waitForAgent: false },
  });
  const count = names.length === 1 ? '' : ` ×${names.length}`;
  const asked = await click(
    world,
    `clone ${mode}${count} of ${nameOf(world, origin.name)}`,
    (clicked) => requestClone(world.db, { ...clicked, request }),
    key,
  );
  const rows = await patiently(() =>
    world.db.prisma.operation.findMany({ where: { id: { in: asked.operationIds }, kind: 'clone' } }),
  );
  for (const { guestId } of rows) if (guestId !== null) world.ledger.guests.set(guestId, origin.content);
  return asked;
}

function cloneAction(
  kind: string,
  weight: number,
  find: (world: World, random: Random) => Promise<Origin | undefined>,
  mode: CloneMode,
): Action {
  return {
    kind,
    weight: making(weight),
    async ask(world, random) {
      const origin = await find(world, random);
      const count = random.weighted([
        { weight: 7, value: 1 },
        { weight: 2, value: 2 },
        { weight: 1, value: 3 },
      ]);
      const start = random.chance(0.2);
      if (!origin) return [];
      const names = Array.from({ length: count }, () => newName(world));
      return [await askClones(world, origin, mode, names, start)];
    },
  };
}

/** The same click arrives twice at once: one batch, told twice. */
const sameClick: Action = {
  kind: 'same-click',
  weight: making(1),
  async ask(world, random) {
    const origin = await someGuest(world, random);
    const mode = random.pick(['full', 'linked'] as const);
    if (!origin) return [];
    const name = newName(world);
    const key = randomUUID();
    const both = await Promise.all([
      askClones(world, origin, mode, [name], false, key),
      askClones(world, origin, mode, [name], false, key),
    ]);
    const [one, other] = both.map(({ operationIds, refused }) => refused ?? operationIds.join());
    if (one !== other) throw new Violation('one click', `the same click was answered ${one} and ${other}`);
    const [first] = both;
    return first ? [{ ...first, label: `${first.label}, clicked twice` }] : [];
  },
};

/** Two people want one name: one gets it, the other is told. */
const sameName: Action = {
  kind: 'same-name',
  weight: making(1),
  async ask(world, random) {
    const origins = [await someGuest(world, random), await someGuest(world, random)];
    const name = newName(world);
    const both = await Promise.all(
      origins.map(async (origin) => (origin ? askClones(world, origin, 'full', [name], false) : undefined)),
    );
    const asked = both.filter((one) => one !== undefined);
    if (asked.filter(({ refused }) => refused === undefined).length > 1)
      throw new Violation('one name', `two got the name ${name}`);
    return asked;
  },
};

function guestAction(
  kind: string,
  weight: Action['weight'],
  ask: (world: World, guest: { id: string; name: string }) => Promise<Asked>,
  suits: (guest: { mode: string | null }) => boolean = () => true,
): Action {
  return {
    kind,
    weight,
    async ask(world, random) {
      // A clone that boots writes to its disk, and what must be in it is not known any more: left stopped.
      const rows = (await clones(world)).filter(
        (row) => suits(row) && (kind === 'delete' || world.ledger.guests.get(row.id) !== undefined),
      );
      return rows.length === 0 ? [] : [await ask(world, random.pick(rows))];
    },
  };
}

const capture: Action = {
  kind: 'capture',
  weight: making(1),
  async ask(world, random) {
    const origin = await someGuest(world, random);
    if (origin?.source.type !== 'guest') return [];
    const { id } = origin.source;
    const template = `${world.prefix}t${++world.count}`;
    world.ledger.templates.set(template, origin.content);
    return [
      await click(world, `capture of ${nameOf(world, origin.name)}`, (clicked) =>
        requestCapture(world.db, { ...clicked, guestId: id, template: { name: template, description: '' } }),
      ),
    ];
  },
};

const importing: Action = {
  kind: 'import',
  weight: making(0.7),
  async ask(world) {
    const template = `${world.prefix}t${++world.count}`;
    world.ledger.templates.set(template, world.sources.image.content);
    const request = importRequestSchema.parse({
      template,
      hostId: HOST_ID,
      imagePath: world.sources.image.path,
      memoryMiB: 64,
    });
    return [await click(world, 'import', (clicked) => requestImport(world.db, { ...clicked, request }))];
  },
};

/** Refused while something stands on it, which is drawn too. */
const removeBase: Action = {
  kind: 'remove-base',
  weight: steady(0.8),
  async ask(world, random) {
    const bases = await patiently(() => world.db.prisma.base.findMany({ orderBy: { id: 'asc' } }));
    if (bases.length === 0) return [];
    const base = random.pick(bases);
    return [
      await click(world, `remove base ${base.digest.slice(0, 6)}`, (clicked) =>
        requestRemoveBase(world.db, { ...clicked, baseId: base.id }),
      ),
    ];
  },
};

export const actions: readonly Action[] = [
  cloneAction('clone-full', 4, someGuest, 'full'),
  cloneAction('clone-linked', 3, someGuest, 'linked'),
  cloneAction('clone-template', 3, someVersion, 'linked'),
  cloneAction('clone-template-full', 1, someVersion, 'full'),
  sameClick,
  sameName,
  guestAction('start', steady(1), (world, { id, name }) =>
    click(world, `start ${nameOf(world, name)}`, (clicked) =>
      requestStart(world.db, { ...clicked, guestId: id, waitForAgent: false }),
    ),
  ),
  guestAction('stop', steady(1), (world, { id, name }) =>
    click(world, `stop ${nameOf(world, name)}`, (clicked) =>
      requestStop(world.db, { ...clicked, guestId: id, force: true }),
    ),
  ),
  guestAction('verify', steady(0.7), (world, { id, name }) =>
    click(world, `verify ${nameOf(world, name)}`, (clicked) =>
      requestVerify(world.db, { ...clicked, guestId: id, depth: 'whole' }),
    ),
  ),
  guestAction(
    'reset',
    steady(1),
    (world, { id, name }) =>
      click(world, `reset ${nameOf(world, name)}`, (clicked) =>
        requestReset(world.db, { ...clicked, guestId: id, waitForAgent: false }),
      ),
    ({ mode }) => mode === 'linked',
  ),
  guestAction('delete', ending(2), (world, guest) => askDelete(world, guest)),
  capture,
  importing,
  removeBase,
];

export function askDelete(world: World, { id, name }: { id: string; name: string }): Promise<Asked> {
  return click(world, `delete ${nameOf(world, name)}`, (clicked) =>
    requestDelete(world.db, { ...clicked, guestId: id }),
  );
}
