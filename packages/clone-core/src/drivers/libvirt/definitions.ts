/** All definitions of the host, read in one process and kept while they do not change. */
import { OffshootError } from '../../errors.ts';
import { readDomain, type Domain } from './domain-read.ts';
import { memo } from './memo.ts';
import type { Virsh } from './virsh.ts';

/** A definition may change without an event reaching us: read again after this, milliseconds. */
const STALE_MS = 30_000;
/** Definitions asked for in one process. */
const BATCH = 200;
/** The event of a definition that we made ourselves arrives within this, milliseconds. */
const OWN_EVENT_MS = 3000;

export interface Definitions {
  /** Names of all guests, at most 1 s old. */
  names(): Promise<string[]>;
  /** Of all guests, by UUID; a guest that can't be read is left out. `fresh`: none of them remembered. */
  all(signal: AbortSignal, fresh?: boolean): Promise<Map<string, Domain>>;
  /** Something happened to this guest (its UUID or its name), or to any: read again next time. */
  changed(guest?: string): void;
  /** libvirt has taken this definition from us: there is no need to ask what it is. */
  learned(guest: { uuid: string; name: string }, xml: string): void;
}

export function definitions(virsh: Virsh): Definitions {
  const kept = new Map<string, { domain: Domain; at: number }>();
  const learnedAt = new Map<string, number>();
  const never = new AbortController().signal;
  const listed = memo(1000, async () => parseList(await virsh.run(['list', '--all', '--uuid', '--name'])));
  const read = async (signal: AbortSignal, fresh: boolean): Promise<Map<string, Domain>> => {
    const guests = fresh
      ? parseList(await virsh.run(['list', '--all', '--uuid', '--name'], { signal }))
      : await listed();
    const now = performance.now();
    const uuids = guests.map((guest) => guest.uuid);
    const wanted = uuids.filter((uuid) => fresh || now - (kept.get(uuid)?.at ?? -Infinity) > STALE_MS);
    for (let at = 0; at < wanted.length; at += BATCH) {
      const out = await virsh.batch(
        wanted.slice(at, at + BATCH).map((uuid) => ['dumpxml', '--inactive', uuid]),
        signal,
      );
      for (const xml of domainsIn(out)) remember(kept, xml, now);
    }
    for (const uuid of kept.keys()) if (!uuids.includes(uuid)) kept.delete(uuid);
    return new Map([...kept].map(([uuid, { domain }]) => [uuid, domain]));
  };
  return {
    names: async () => (await listed()).map((guest) => guest.name),
    all: (signal, fresh = false) => read(fresh ? signal : never, fresh),
    changed: (guest) => {
      const now = performance.now();
      for (const [uuid, known] of kept) {
        if (guest === undefined || uuid === guest) known.at = -Infinity;
        // The event of our own definition comes a moment after it.
        else if (known.domain.name === guest) {
          if (now - (learnedAt.get(uuid) ?? -Infinity) < OWN_EVENT_MS) return;
          known.at = -Infinity;
        }
      }
      listed.forget();
    },
    learned: (guest, xml) => {
      const now = performance.now();
      for (const [uuid, at] of learnedAt) if (now - at > OWN_EVENT_MS) learnedAt.delete(uuid);
      learnedAt.set(guest.uuid, now);
      remember(kept, xml, now);
      listed.amend((guests) => [...guests.filter(({ uuid }) => uuid !== guest.uuid), guest]);
    },
  };
}

function remember(kept: Map<string, { domain: Domain; at: number }>, xml: string, at: number): void {
  try {
    const domain = readDomain(xml);
    kept.set(domain.uuid, { domain, at });
  } catch (thrown) {
    // One definition that can't be read must not hide the others; inspecting that guest says what is wrong.
    if (!(thrown instanceof OffshootError)) throw thrown;
  }
}

/** The definitions in what a batch put out. */
export const domainsIn = (out: string): string[] => out.match(/<domain type=[\s\S]*?\n<\/domain>/g) ?? [];

/** Guests that run, as they run: with what was plugged in since. */
export async function runningDomains(virsh: Virsh, signal: AbortSignal): Promise<Domain[]> {
  const uuids = (await virsh.run(['list', '--uuid'], { signal })).split(/\s+/).filter((word) => word !== '');
  const found = new Map<string, { domain: Domain; at: number }>();
  for (let at = 0; at < uuids.length; at += BATCH) {
    const words = uuids.slice(at, at + BATCH).map((uuid) => ['dumpxml', uuid]);
    for (const xml of domainsIn(await virsh.batch(words, signal))) remember(found, xml, at);
  }
  return [...found.values()].map(({ domain }) => domain);
}

/** Lines of "UUID name". */
function parseList(out: string): { uuid: string; name: string }[] {
  return out.split('\n').flatMap((line) => {
    const found = /^\s*([0-9a-f-]{36})\s+(\S.*?)\s*$/.exec(line);
    return found?.[1] && found[2] ? [{ uuid: found[1], name: found[2] }] : [];
  });
}
