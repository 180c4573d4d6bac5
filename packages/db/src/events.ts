/**
 * The event log: appended in the transaction of the change it tells of, read by cursor, followed live through one
 * LISTEN connection per process. Ids are in commit order (the database's trigger sees to it), so a cursor skips none.
 */
import type { StreamEvent } from '@offshoot/clone-core/contract';
import type { Db } from './client.ts';
import { createHub, type EventHub } from './event-hub.ts';
import { eventsAfter, type EventFilter } from './event-log.ts';

export type { EventHub } from './event-hub.ts';
export { appendEvents, eventsAfter, latestEventId, type EventFilter, type NewEvent } from './event-log.ts';

/** Opens the process's one LISTEN connection. Rejects when PostgreSQL can't be reached now; later it reconnects. */
export async function openEventHub(db: Db): Promise<EventHub> {
  return createHub(db);
}

/**
 * Events after `cursor`, then live ones, in order, each once; without a cursor only those from now on. Ends when the
 * signal aborts. After an error, call again with the last id that arrived: nothing is lost or repeated.
 */
export async function* streamFrom(
  db: Db,
  hub: EventHub,
  options: { cursor?: string; filter: EventFilter; signal: AbortSignal },
): AsyncGenerator<StreamEvent> {
  const { filter, signal, cursor } = options;
  const live = hub.subscribe(filter, signal);
  let last = 0n;
  if (cursor !== undefined) {
    last = BigInt(cursor);
    const page = 500;
    for (;;) {
      const events = await eventsAfter(db, last.toString(), filter, page);
      for (const event of events) {
        if (signal.aborted) return;
        last = BigInt(event.id);
        yield event;
      }
      if (events.length < page) break;
    }
  }
  for await (const event of live) {
    if (BigInt(event.id) <= last) continue;
    last = BigInt(event.id);
    yield event;
  }
}
