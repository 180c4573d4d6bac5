/** Keeps the inventory and the host's facts in step with the host. */
import { toOffshootError } from '@offshoot/clone-core/errors';
import type { Db } from '@offshoot/db/client';
import { reportHost, syncGuests, type SeenInventory } from '@offshoot/db/inventory';
import type { Logger } from 'pino';
import type { ServedHost } from './host.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { every } from './upkeep.ts';

const INTERVAL_MS = 5000;
/** A host that does not answer within this is said to be unreachable, milliseconds. */
const PATIENCE_MS = 15_000;
/** Changes that come together are read together, milliseconds. */
const SETTLE_MS = 150;
/** While changes keep coming (thirty clones at once) the host is read this often at most, milliseconds. */
const LEAST_GAP_MS = 1500;
/** Where writing it down takes long, because hundreds of hosts do, the next look is this many times as long away. */
const WRITE_PATIENCE = 10;

/** Pause before watching again, milliseconds. */
const WATCH_AGAIN_MS = 1000;

export interface InventoryLoop {
  /** Something changed: look soon. */
  changed: () => void;
  /** Looks now; resolves when done. */
  now: () => Promise<void>;
}

/** Starts looking, at once, every few seconds and soon after every change that the host tells of. */
export function keepInventory(
  db: Db,
  host: ServedHost,
  onDuty: () => boolean,
  signal: AbortSignal,
  log: Logger,
): InventoryLoop {
  let lastLook = -Infinity;
  let gap = LEAST_GAP_MS;
  let news = false;
  const seen: SeenInventory = {};
  const look = async (): Promise<void> => {
    if (!onDuty()) return;
    lastLook = performance.now();
    const changed = news;
    news = false;
    const since = new Date();
    try {
      const patience = AbortSignal.timeout(PATIENCE_MS);
      const guests = await host.driver.list(patience);
      const listed = performance.now();
      await syncGuests(db, host.id, guests, { since, changed, seen });
      gap = Math.min(INTERVAL_MS, Math.max(LEAST_GAP_MS, (performance.now() - listed) * WRITE_PATIENCE));
      await reportHost(db, host.id, { facts: await host.driver.hostFacts(patience), problem: null });
    } catch (thrown) {
      const error = toOffshootError(thrown);
      log.warn({ err: error, context: error.context }, 'the host could not be read');
      await reportHost(db, host.id, {
        problem: [error.publicMessage, error.remedy].filter(Boolean).join(' '),
      });
    }
  };
  const loop = every(INTERVAL_MS, 'inventory', look, signal, log);
  let soon: NodeJS.Timeout | undefined;
  const changed = (): void => {
    news = true;
    soon ??= setTimeout(
      () => {
        soon = undefined;
        void loop.now();
      },
      Math.max(SETTLE_MS, lastLook + gap - performance.now()),
    );
  };
  signal.addEventListener('abort', () => clearTimeout(soon), { once: true });
  void watch(host, changed, signal, log);
  return { changed, now: loop.now };
}

/** Watches until the signal aborts; begins again when the hypervisor's daemon restarts. */
async function watch(host: ServedHost, changed: () => void, signal: AbortSignal, log: Logger): Promise<void> {
  while (!signal.aborted) {
    try {
      await host.driver.watch(changed, signal);
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, 'watching the host ended; beginning again');
    }
    await sleep(WATCH_AGAIN_MS, undefined, { ref: false });
  }
}
