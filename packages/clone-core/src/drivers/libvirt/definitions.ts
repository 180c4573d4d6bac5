/** All definitions of the host, read in one process and kept while they do not change. */
import { OffshootError } from '../../errors.ts';
import { readDomain, type Domain } from './domain-read.ts';
import { memo } from './memo.ts';
import { namesIn, outOf, type Virsh } from './virsh.ts';

/** A definition may change without an event reaching us: read again after this, milliseconds. */
const STALE_MS = 30_000;
/** Definitions asked for in one process. */
const BATCH = 200;
/** The event of a definition that we made ourselves arrives within this, milliseconds. */
const OWN_EVENT_MS = 3000;

const LIST = ['list', '--all', '--uuid', '--name'];

export interface Definitions {
  /** Names of all guests, at most 1 s old. */
  names(): Promise<string[]>;
  /** Of all guests, by UUID; a guest that can't be read is left out. `fresh`: none of them remembered. */
  all(signal: AbortSignal, fresh?: boolean): Promise<Map<string, Domain>>;
  /** Guests that run, as they run: with what was plugged in since. None of them remembered. */
  running(signal: AbortSignal): Promise<Domain[]>;
  /** Something happened to this guest (its UUID or its name), or to any: read again next time. */
  changed(guest?: string): void;
  /** libvirt has taken this definition from us: there is no need to ask what it is. */
  learned(guest: { uuid: string; name: string }, xml: string): void;
}

export function definitions(virsh: Virsh): Definitions {
  const kept = new Map<string, { domain: Domain; at: number }>();
  const learnedAt = new Map<string, number>();
  const never = new AbortController().signal;
  const listed = memo(1000, async () => parseList(await virsh.run(LIST)));
  let ran: readonly string[] = [];
  // What was there the last time is asked for along with what is there now: most often that is all of it.
  const guessed = async (
    list: readonly string[],
    dump: readonly string[],
    guesses: readonly string[],
    signal: AbortSignal,
  ): Promise<{ list: string; dumps: Map<string, string> }> => {
    // Each would be a process of its own there; `batch` is not.
    const some = virsh.alone ? [] : guesses.slice(0, BATCH);
    const [first, ...dumps] = await virsh.ask([list, ...some.map((uuid) => [...dump, uuid])], { signal });
    const found = some.flatMap((uuid, index): [string, string][] => {
      const answer = dumps[index];
      return answer && 'out' in answer ? [[uuid, answer.out]] : [];
    });
    return { list: outOf(first), dumps: new Map(found) };
  };
  const read = async (signal: AbortSignal, fresh: boolean): Promise<Map<string, Domain>> => {
    const now = performance.now();
    const dump = ['dumpxml', '--inactive'];
    const guess = fresh ? await guessed(LIST, dump, [...kept.keys()], signal) : undefined;
    const guests = guess ? parseList(guess.list) : await listed();
    for (const xml of guess?.dumps.values() ?? []) remember(kept, xml, now);
    const uuids = guests.map((guest) => guest.uuid);
    const wanted = uuids.filter((uuid) =>
      guess ? !guess.dumps.has(uuid) : now - (kept.get(uuid)?.at ?? -Infinity) > STALE_MS,
    );
    for (let at = 0; at < wanted.length; at += BATCH) {
      const out = await virsh.batch(
        wanted.slice(at, at + BATCH).map((uuid) => [...dump, uuid]),
        signal,
      );
      for (const xml of domainsIn(out)) remember(kept, xml, now);
    }
    for (const uuid of kept.keys()) if (!uuids.includes(uuid)) kept.delete(uuid);
    return new Map([...kept].map(([uuid, { domain }]) => [uuid, domain]));
  };
  const running = async (signal: AbortSignal): Promise<Domain[]> => {
    const { list, dumps } = await guessed(['list', '--uuid'], ['dumpxml'], ran, signal);
    ran = namesIn(list);
    const found = new Map<string, { domain: Domain; at: number }>();
    for (const uuid of ran) {
      const xml = dumps.get(uuid);
      if (xml !== undefined) remember(found, xml, 0);
    }
    const wanted = ran.filter((uuid) => !dumps.has(uuid));
    for (let at = 0; at < wanted.length; at += BATCH) {
      const words = wanted.slice(at, at + BATCH).map((uuid) => ['dumpxml', uuid]);
      for (const xml of domainsIn(await virsh.batch(words, signal))) remember(found, xml, at);
    }
    return [...found.values()].map(({ domain }) => domain);
  };
  return {
    running,
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

/** Lines of "UUID name". */
function parseList(out: string): { uuid: string; name: string }[] {
  return out.split('\n').flatMap((line) => {
    const found = /^\s*([0-9a-f-]{36})\s+(\S.*?)\s*$/.exec(line);
    return found?.[1] && found[2] ? [{ uuid: found[1], name: found[2] }] : [];
  });
}
