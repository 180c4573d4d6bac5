/** What a run clones from, and which guests something is being done with. */
import type { Source as CloneSource } from '@offshoot/clone-core/contract';
import type { Random } from './random.ts';
import type { Content } from './sources.ts';
import { patiently, type World } from './world.ts';
import { HOST_ID } from './workers.ts';

export interface Origin {
  name: string;
  source: CloneSource;
  /** What is in it, asked when a clone of it was made. */
  content: () => Content;
  /** Starting a clone of it does not change it: nothing in it boots. */
  inert: boolean;
}

export const nameOf = (world: World, full: string): string => full.slice(world.prefix.length);
export const newName = (world: World): string => `${world.prefix}g${++world.count}`;

/** Guests that the product made and that are on the host now. */
export async function clones(world: World) {
  return patiently(() =>
    world.db.prisma.guest.findMany({
      where: { hostId: HOST_ID, managed: true, state: { in: ['stopped', 'running', 'paused'] } },
      include: { sourceGuest: { select: { state: true } } },
      orderBy: { id: 'asc' },
    }),
  );
}
export type CloneRow = Awaited<ReturnType<typeof clones>>[number];

/** The standing sources as guests of the inventory; what is in them is in the ledger from then on. */
export async function standing(world: World): Promise<Origin[]> {
  const sources = world.sources.standing;
  const rows = await patiently(() =>
    world.db.prisma.guest.findMany({
      where: { uuid: { in: sources.map(({ uuid }) => uuid) } },
      orderBy: { name: 'asc' },
    }),
  );
  return rows.flatMap(({ id, name, uuid }) => {
    const source = sources.find((each) => each.uuid === uuid);
    if (!source) return [];
    if (!world.ledger.guests.has(id)) world.ledger.begin(id, source.content);
    return [originOf(world, { id, name }, !source.agent)];
  });
}

export function originOf(world: World, { id, name }: { id: string; name: string }, inert: boolean): Origin {
  return {
    name,
    source: { type: 'guest', id },
    content: () => world.ledger.guests.get(id)?.now,
    inert,
  };
}

/** A guest that can be cloned now: one of the standing sources, or a clone. */
export async function someGuest(world: World, random: Random): Promise<Origin | undefined> {
  const rows = await clones(world);
  const sources = await standing(world);
  const origins = [
    ...sources.flatMap((origin) => [origin, origin]),
    ...rows.map((row) => originOf(world, row, world.ledger.guests.get(row.id)?.now !== undefined)),
  ];
  return origins.length === 0 ? undefined : random.pick(origins);
}

export async function someVersion(
  world: World,
  random: Random,
  memory: boolean,
): Promise<Origin | undefined> {
  const versions = await patiently(() =>
    world.db.prisma.templateVersion.findMany({
      include: { template: true, base: true },
      orderBy: { id: 'asc' },
    }),
  );
  const suitable = versions.filter(({ base }) => !memory || base.memory !== null);
  if (suitable.length === 0) return undefined;
  const { id, template } = random.pick(suitable);
  const content = world.ledger.templates.get(template.name);
  return {
    name: template.name,
    source: { type: 'template', versionId: id },
    content: () => content,
    inert: content !== undefined,
  };
}

/** Guests that an operation which has not ended writes to or reads from, by their rows' ids. */
export async function guestsInUse(world: World): Promise<Set<string>> {
  const open = await patiently(() =>
    world.db.prisma.operation.findMany({
      where: { finishedAt: null },
      select: { guestId: true, guest: { select: { sourceGuestId: true } } },
    }),
  );
  return new Set(
    open
      .flatMap(({ guestId, guest }) => [guestId, guest?.sourceGuestId])
      .filter((id) => typeof id === 'string'),
  );
}

/** Takes in what became of operations so far. */
export async function settleLedger(world: World): Promise<void> {
  const waiting = world.ledger.waiting;
  if (waiting.length === 0) return;
  const ended = await patiently(() =>
    world.db.prisma.operation.findMany({ where: { id: { in: waiting }, finishedAt: { not: null } } }),
  );
  world.ledger.settle(ended);
}
