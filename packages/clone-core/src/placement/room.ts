/** Whether a host can take something, and why not. */
import type { HostState, Need, Seat } from './types.ts';
import { gib } from './words.ts';

/**
 * Guests' processors per core that a host is given at most. Guests idle most of the time; OpenStack's own limit is 16 (older)
 * or 4 (newer releases).
 */
export const VCPUS_PER_CORE = 8;

/** What is left of a host while seats are given out. */
export interface Room {
  host: HostState;
  memoryLeft: number;
  storeLeft: number;
  vcpusLeft: number;
  groups: Set<string>;
  /** Indices of what it was given. */
  seats: number[];
}

export const roomOf = (host: HostState): Room => ({
  host,
  memoryLeft: host.memoryFreeBytes,
  storeLeft: host.storeFreeBytes,
  vcpusLeft: host.cores * VCPUS_PER_CORE - host.busyVcpus,
  groups: new Set(host.groups),
  seats: [],
});

const hasBase = (host: HostState): boolean => host.holds === 'base';

/** Space for the base, when this seat would be the first that needs it there. */
export const opening = (room: Room, baseBytes: number): number =>
  room.seats.length > 0 || hasBase(room.host) || room.host.holds === 'coming' ? 0 : baseBytes;

/** What several seats take together. */
export function sum(needs: readonly Need[]): Need {
  return {
    vcpus: needs.reduce((total, need) => total + need.vcpus, 0),
    memoryBytes: needs.reduce((total, need) => total + need.memoryBytes, 0),
    storeBytes: needs.reduce((total, need) => total + need.storeBytes, 0),
    networks: [...new Set(needs.flatMap((need) => need.networks))],
  };
}

/** Why the host can't take these seats (together); undefined: it can. */
export function obstacle(room: Room, seats: readonly Seat[], baseBytes: number): string | undefined {
  const { host } = room;
  if (host.unusable !== undefined) return host.unusable;
  const need = sum(seats);
  for (const wanted of need.networks) {
    const found = host.networks.find(({ name }) => name === wanted);
    if (!found) return `has no network “${wanted}”`;
    if (!found.active && need.vcpus > 0) return `its network “${wanted}” is not active`;
  }
  if (!hasBase(host) && host.receivesNothing !== undefined)
    return `does not have the base, and ${host.receivesNothing}`;
  const store = need.storeBytes + opening(room, baseBytes);
  if (store > room.storeLeft) return `${gib(room.storeLeft)} of its store are free, ${gib(store)} are needed`;
  if (need.memoryBytes > room.memoryLeft)
    return `${gib(room.memoryLeft)} of memory are free, ${gib(need.memoryBytes)} are needed`;
  if (need.vcpus > room.vcpusLeft)
    return `its guests have ${host.cores * VCPUS_PER_CORE - room.vcpusLeft} processors on ${host.cores} cores, and no more than ${VCPUS_PER_CORE} a core are given out`;
  const groups = seats.flatMap(({ apart }) => (apart === undefined ? [] : [apart]));
  if (groups.some((group) => room.groups.has(group)) || new Set(groups).size < groups.length)
    return 'has one already, and they are to be on hosts of their own';
  return undefined;
}

/** Gives the host the seats. */
export function take(room: Room, entries: readonly { index: number; seat: Seat }[], baseBytes: number): void {
  room.storeLeft -= opening(room, baseBytes);
  for (const { index, seat } of entries) {
    room.seats.push(index);
    room.storeLeft -= seat.storeBytes;
    room.memoryLeft -= seat.memoryBytes;
    room.vcpusLeft -= seat.vcpus;
    if (seat.apart !== undefined) room.groups.add(seat.apart);
  }
}
