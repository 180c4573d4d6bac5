/** Asks running guests, one at a time, what they are inside: what the watch over shared identities lives on. */
import type { AttestedIdentity } from '@offshoot/clone-core/contract/identity';
import { toOffshootError } from '@offshoot/clone-core/errors';
import type { Db } from '@offshoot/db/client';
import {
  attestable,
  isAttestable,
  keepAttestation,
  noteShared,
  type Attestable,
} from '@offshoot/db/identity';
import { isDue } from '@offshoot/db/inventory';
import type { Logger } from 'pino';
import type { ServedHost } from './host.ts';
import { every } from './upkeep.ts';

/** How often it looks whom to ask, milliseconds. */
const LOOK_MS = 5000;
/** A guest that answered is asked again after this long, milliseconds; sooner while its first-boot script runs. */
const AGAIN_MS = 10 * 60_000;
/** First pause before a guest that has more to say is asked again; doubled each time, up to `AGAIN_MS`. Milliseconds. */
const FIRST_PAUSE_MS = 10_000;
/** An agent that takes longer does not answer, milliseconds. */
const PATIENCE_MS = 10_000;

interface Turn {
  /** When to ask next, by performance.now(). */
  next: number;
  pause: number;
}

/**
 * Starts asking; until the signal aborts. A guest that has just started is asked soon, one that answered every ten
 * minutes, one that never answers ever more rarely; never one that an operation is about.
 */
export function keepAttesting(
  db: Db,
  host: Pick<ServedHost, 'id' | 'driver'>,
  onDuty: () => boolean,
  signal: AbortSignal,
  log: Logger,
): { now: () => Promise<void> } {
  const turns = new Map<string, Turn>();
  const look = async (): Promise<void> => {
    if (!onDuty()) return;
    // It is about the guests of all hosts: one worker's work, not everyone's.
    if (await isDue(db, 'shared-identity', LOOK_MS / 1000)) await noteShared(db);
    if (host.driver.attest === undefined) return;
    const running = await attestable(db, host.id);
    const ids = new Set(running.map((guest) => guest.id));
    // Started again, it is asked soon again.
    for (const id of turns.keys()) if (!ids.has(id)) turns.delete(id);
    for (const guest of running) {
      const turn = turns.get(guest.id) ?? { next: 0, pause: FIRST_PAUSE_MS };
      if (performance.now() < turn.next) continue;
      if (signal.aborted || !onDuty()) return;
      const said = await ask(db, host, guest, signal, log);
      const all = said !== undefined && said.firstBoot !== 'running';
      turns.set(guest.id, {
        next: performance.now() + (all ? AGAIN_MS : turn.pause),
        pause: all ? FIRST_PAUSE_MS : Math.min(turn.pause * 2, AGAIN_MS),
      });
    }
  };
  return every(LOOK_MS, 'asking guests who they are', look, signal, log);
}

/** Undefined: it did not answer, or is not to be asked now. */
async function ask(
  db: Db,
  host: Pick<ServedHost, 'id' | 'driver'>,
  guest: Attestable,
  signal: AbortSignal,
  log: Logger,
): Promise<AttestedIdentity | undefined> {
  try {
    if (!(await isAttestable(db, guest.id))) return undefined;
    const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
    const attested = await host.driver.attest?.({ uuid: guest.uuid, name: guest.name }, patience);
    return attested !== undefined && (await keepAttestation(db, guest, attested)) ? attested : undefined;
  } catch (thrown) {
    const error = toOffshootError(thrown);
    // Most guests without an agent end here: no news.
    log.debug({ err: error, context: error.context, guest: guest.name }, 'a guest did not say who it is');
    return undefined;
  }
}
