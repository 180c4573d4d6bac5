/**
 * Which guest goes to which host, and why. Pure: the same question has the same answer, in whatever order the hosts come,
 * and nothing is read or promised here (`packages/db` reserves).
 */
import { obstacle, roomOf, sum, take, VCPUS_PER_CORE, type Room } from './room.ts';
import type { Placement, PlacementQuestion, Seat } from './types.ts';
import { whyChosen } from './words.ts';

/**
 * What bringing the base to one more host weighs, in shares of a batch: a quarter. Of ten clones the host that has the base
 * gets three before the next one is opened; a single one stays there unless the host is a quarter fuller than another.
 */
const TRANSFER = 0.25;
const DELTA = 0.1;
/** Of a smaller batch than this a transfer weighs as of one of this size. */
const SMALL_BATCH = 10;

interface Unit {
  entries: { index: number; seat: Seat }[];
}

/** Decides. Seats are given out in their order; those of a `together` group with the first of it. */
export function place(question: PlacementQuestion): Placement {
  const { baseBytes } = question;
  const rooms = question.hosts.toSorted((a, b) => (a.id < b.id ? -1 : 1)).map(roomOf);
  const unplaced: Placement['unplaced'] = [];
  for (const unit of unitsOf(question.seats)) {
    const seats = unit.entries.map(({ seat }) => seat);
    const fitting = rooms.filter((room) => obstacle(room, seats, baseBytes) === undefined);
    const [best] = fitting
      .map((room) => ({ room, score: scoreOf(room, seats, question) }))
      .toSorted((a, b) => a.score - b.score);
    if (best) take(best.room, unit.entries, baseBytes);
    else
      unplaced.push(
        ...unit.entries.map(({ index }) => ({ seat: index, why: whyNowhere(rooms, seats, baseBytes) })),
      );
  }
  const given = rooms.filter(({ seats }) => seats.length > 0);
  return {
    shares: given.map(({ host, seats }) => ({
      hostId: host.id,
      name: host.name,
      seats: seats.toSorted((a, b) => a - b),
      why: whyChosen(host),
      holds: host.holds,
    })),
    others: rooms.filter(({ seats }) => seats.length === 0).map((room) => otherOf(room, question)),
    unplaced: unplaced.toSorted((a, b) => a.seat - b.seat),
  };
}

/**
 * Whether hosts can take what someone agreed to: all of each share at once. Undefined when they can; otherwise the first
 * host that can't, and why.
 */
export function whyNot(
  question: Omit<PlacementQuestion, 'policy'>,
  shares: readonly { hostId: string; seats: readonly number[] }[],
): { hostId: string; name: string; why: string } | undefined {
  for (const { hostId, seats } of shares) {
    const host = question.hosts.find(({ id }) => id === hostId);
    if (!host) return { hostId, name: hostId, why: 'is not there any more' };
    const wanted = seats.flatMap((index) => question.seats[index] ?? []);
    const why = obstacle(roomOf(host), wanted, question.baseBytes);
    if (why !== undefined) return { hostId, name: host.name, why };
  }
  return undefined;
}

function unitsOf(seats: readonly Seat[]): Unit[] {
  const units: Unit[] = [];
  const groups = new Map<string, Unit>();
  for (const [index, seat] of seats.entries()) {
    const group = seat.together === undefined ? undefined : groups.get(seat.together);
    if (group) {
      group.entries.push({ index, seat });
      continue;
    }
    const unit = { entries: [{ index, seat }] };
    units.push(unit);
    if (seat.together !== undefined) groups.set(seat.together, unit);
  }
  return units;
}

/** How full the host would be, 0 to 1: by what it has least of. Processors count as full at their limit. */
function fill({ host, memoryLeft, storeLeft, vcpusLeft }: Room, seats: readonly Seat[]): number {
  const need = sum(seats);
  const part = (all: number, left: number, taken: number): number =>
    all <= 0 ? 0 : (all - left + taken) / all;
  return Math.max(
    part(host.memoryBytes, memoryLeft, need.memoryBytes),
    part(host.storeBytes, storeLeft, need.storeBytes),
    part(host.cores * VCPUS_PER_CORE, vcpusLeft, need.vcpus),
  );
}

/** The lowest wins; of equals the first by id. */
function scoreOf(room: Room, seats: readonly Seat[], { policy, seats: all }: PlacementQuestion): number {
  const { holds } = room.host;
  const opened = room.seats.length > 0;
  const transfer =
    opened || holds === 'base' || holds === 'coming' ? 0 : holds === 'older' ? DELTA : TRANSFER;
  // As few hosts as will do: one that is opened, then one with the base, then the fullest that it fits on.
  if (policy === 'pack') return (opened ? -10 : 0) + transfer * 10 - fill(room, seats);
  const size = Math.max(all.length, SMALL_BATCH);
  // A host that is at work has less to give than its free memory says; it is not refused for it.
  const atWork = Math.min(1, room.host.load1 / Math.max(1, room.host.cores));
  return (room.seats.length + seats.length) / size + Math.max(fill(room, seats), atWork) + transfer;
}

function otherOf(room: Room, question: PlacementQuestion): Placement['others'][number] {
  const { host } = room;
  const first = question.seats[0];
  const why = first && obstacle(roomOf(host), [first], question.baseBytes);
  if (why !== undefined) return { hostId: host.id, name: host.name, refused: true, why };
  return {
    hostId: host.id,
    name: host.name,
    refused: false,
    why: `not needed: ${question.policy === 'pack' ? 'fewer hosts will do' : 'others suit better'} (${whyChosen(host)})`,
  };
}

function whyNowhere(rooms: readonly Room[], seats: readonly Seat[], baseBytes: number): string {
  if (rooms.length === 0) return 'There is no host to choose from.';
  return rooms
    .map((room) => `${room.host.name}: ${obstacle(room, seats, baseBytes) ?? ''}`)
    .join('. ')
    .concat('.');
}
