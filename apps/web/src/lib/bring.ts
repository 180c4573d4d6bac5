/** What bringing a template version to hosts moves, in numbers. Pure. */
import type { BringChoice, BringPreview } from '../server/hosts/bring.ts';

export interface BringSums {
  /** Hosts that it goes to. */
  hosts: BringChoice[];
  /** Bytes that go over the network at most: a host with an older version takes only what changed. */
  mostBytes: number;
  /** Some of it may be less, as above. */
  atMost: boolean;
  /** All take it at the same time, each from the one before: as long as one of them. Null: no rate is known. */
  seconds: number | null;
  /** Names of hosts without the room. */
  full: string[];
}

/** Of the chosen hosts. */
export function bringSums(preview: BringPreview, chosen: readonly string[]): BringSums {
  const hosts = preview.hosts.filter(
    (host) => chosen.includes(host.id) && (host.way === 'whole' || host.way === 'delta'),
  );
  return {
    hosts,
    mostBytes: hosts.length * preview.bytes,
    atMost: hosts.some((host) => host.way === 'delta'),
    seconds: preview.rate === null || hosts.length === 0 ? null : preview.bytes / preview.rate,
    full: hosts
      .filter((host) => host.freeBytes !== null && host.freeBytes < preview.bytes)
      .map(({ name }) => name),
  };
}
