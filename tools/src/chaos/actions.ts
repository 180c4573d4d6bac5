/** The operations that a run asks for: clones, templates and bases; what is done to guests is in guest-actions.ts. */
import { cloneRequestSchema, importRequestSchema, type CloneMode } from '@offshoot/clone-core/contract';
import { requestCapture, requestClone, requestImport, requestRemoveBase } from '@offshoot/db/operations';
import { randomUUID } from 'node:crypto';
import { click, type Asked } from './asking.ts';
import { guestActions, type Action } from './guest-actions.ts';
import { clones, nameOf, newName, someGuest, someVersion, standing, type Origin } from './origins.ts';
import { Violation } from './violation.ts';
import type { Random } from './random.ts';
import { patiently, type World } from './world.ts';
import { HOST_ID } from './workers.ts';

/** More than this and the checks of a round take longer than its operations. */
const ENOUGH = 9;
const making = (weight: number) => (there: number) => (there >= ENOUGH ? 0.2 : weight);

interface Wish {
  mode: CloneMode;
  names: readonly string[];
  start?: boolean;
  refreshable?: boolean;
  key?: string;
}

/** Seconds: more than a guest of a busy machine takes, less than a round may. */
const AGENT_SECONDS = 45;

/** Asks for clones and notes what must be in them. */
export async function askClones(world: World, origin: Origin, wish: Wish): Promise<Asked> {
  const { mode, names, start = false, refreshable = false, key } = wish;
  const memory = mode === 'memory';
  const request = cloneRequestSchema.parse({
    source: origin.source,
    mode,
    names,
    options: memory
      ? { agentTimeoutSeconds: AGENT_SECONDS }
      : { start: start && origin.inert, waitForAgent: false, refreshable },
  });
  const count = names.length === 1 ? '' : ` ×${names.length}`;
  const how = refreshable ? 'refreshable' : mode;
  const asked = await click(
    world,
    `clone ${how}${count} of ${nameOf(world, origin.name)}`,
    (clicked) => requestClone(world.db, { ...clicked, request }),
    key,
  );
  const { ledger } = world;
  const rows = await patiently(() =>
    world.db.prisma.operation.findMany({ where: { id: { in: asked.operationIds } } }),
  );
  for (const { id, kind, guestId, afterId } of rows) {
    if (kind === 'capture') ledger.expect(id, () => void ledger.captured.set(id, origin.content()));
    if (kind !== 'clone' || guestId === null) continue;
    // The disks of a clone with memory are written to by what runs in it.
    const content = (): ReturnType<Origin['content']> =>
      memory ? undefined : afterId === null ? origin.content() : ledger.captured.get(afterId);
    ledger.expect(id, () => ledger.begin(guestId, content(), refreshable ? 1 : 0));
  }
  return asked;
}

const someCount = (random: Random): number =>
  random.weighted([
    { weight: 7, value: 1 },
    { weight: 2, value: 2 },
    { weight: 1, value: 3 },
  ]);
const names = (world: World, count: number): string[] => Array.from({ length: count }, () => newName(world));

function cloneAction(
  kind: string,
  weight: number,
  find: (world: World, random: Random) => Promise<Origin | undefined>,
  part: { mode: CloneMode; refreshable?: boolean },
): Action {
  return {
    kind,
    weight: making(weight),
    async ask(world, random) {
      const origin = await find(world, random);
      const count = someCount(random);
      const start = random.chance(0.2) && part.refreshable !== true;
      return origin ? [await askClones(world, origin, { ...part, start, names: names(world, count) })] : [];
    },
  };
}

/** Clones that are brought up to date later, most of them of sources that change. */
const refreshable = cloneAction(
  'clone-refreshable',
  3,
  async (world, random) => {
    const moving = world.sources.standing.filter((source) => source.moving).map(({ name }) => name);
    const known = (await standing(world)).filter(({ name }) => moving.includes(name));
    const one = random.chance(0.75) && known.length > 0 ? random.pick(known) : await someGuest(world, random);
    const row = one && world.sources.standing.find(({ name }) => name === one.name);
    if (row) world.ledger.noted.add(row.uuid);
    return one;
  },
  { mode: 'full', refreshable: true },
);

/** A running guest with an agent takes 128 MiB each, and a share of the processors. */
const ENOUGH_WITH_MEMORY = 2;

/** Of the running sample guest, or of a warm template: the clone goes on where that is. */
const memoryClone: Action = {
  kind: 'clone-memory',
  weight: making(1.2),
  async ask(world, random) {
    const fromTemplate = random.chance(0.4);
    const there = (await clones(world)).filter(({ mode }) => mode === 'memory').length;
    const source = world.sources.standing.find(({ agent }) => agent);
    if (there >= ENOUGH_WITH_MEMORY || !source) return [];
    const template = fromTemplate ? await someVersion(world, random, true) : undefined;
    const origin = template ?? (await standing(world)).find(({ name }) => name === source.name);
    return origin ? [await askClones(world, origin, { mode: 'memory', names: names(world, 1) })] : [];
  },
};

/** The same click arrives twice at once: one batch, told twice. */
const sameClick: Action = {
  kind: 'same-click',
  weight: making(1),
  async ask(world, random) {
    const origin = await someGuest(world, random);
    const mode = random.pick(['full', 'linked'] as const);
    if (!origin) return [];
    const wish = { mode, names: names(world, 1), key: randomUUID() };
    const both = await Promise.all([askClones(world, origin, wish), askClones(world, origin, wish)]);
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
    const wish = { mode: 'full', names: names(world, 1) } as const;
    const both = await Promise.all(
      origins.map(async (origin) => (origin ? askClones(world, origin, wish) : undefined)),
    );
    const asked = both.filter((one) => one !== undefined);
    if (asked.filter(({ refused }) => refused === undefined).length > 1)
      throw new Violation('one name', `two got the name ${wish.names.join()}`);
    return asked;
  },
};

function captureAction(
  kind: string,
  weight: number,
  memory: boolean,
  find: (world: World, random: Random) => Promise<Origin | undefined>,
): Action {
  return {
    kind,
    weight: making(weight),
    async ask(world, random) {
      const origin = await find(world, random);
      if (origin?.source.type !== 'guest') return [];
      const { id } = origin.source;
      const template = `${world.prefix}t${++world.count}`;
      const asked = await click(
        world,
        `capture of ${nameOf(world, origin.name)}${memory ? ' with memory' : ''}`,
        (clicked) =>
          requestCapture(world.db, {
            ...clicked,
            guestId: id,
            template: { name: template, description: '' },
            memory,
          }),
      );
      for (const operationId of asked.operationIds)
        world.ledger.expect(
          operationId,
          () => void world.ledger.templates.set(template, memory ? undefined : origin.content()),
        );
      return [asked];
    },
  };
}

const warmTemplate = captureAction('capture-memory', 0.4, true, async (world) => {
  const source = world.sources.standing.find(({ agent }) => agent);
  return (await standing(world)).find(({ name }) => name === source?.name);
});

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
  weight: () => 0.8,
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

const version = (world: World, random: Random): Promise<Origin | undefined> =>
  someVersion(world, random, false);

export const actions: readonly Action[] = [
  cloneAction('clone-full', 4, someGuest, { mode: 'full' }),
  cloneAction('clone-linked', 3, someGuest, { mode: 'linked' }),
  cloneAction('clone-template', 3, version, { mode: 'linked' }),
  cloneAction('clone-template-full', 1, version, { mode: 'full' }),
  refreshable,
  memoryClone,
  sameClick,
  sameName,
  captureAction('capture', 1, false, someGuest),
  warmTemplate,
  importing,
  removeBase,
  ...guestActions(ENOUGH),
];
