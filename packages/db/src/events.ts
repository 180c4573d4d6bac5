/**
 * The event log: appended in the transaction of the change it tells of, read by cursor, followed live through one
 * LISTEN connection per process. Ids are in commit order (the database's trigger sees to it), so a cursor skips none.
 */
import type { StreamEvent } from '@offshoot/clone-core/contract';
import type { Db } from './client.ts';
import { createHub, type EventHub } from './event-hub.ts';
import { eventsAfter, type EventFilter } from './event-log.ts';

export type { EventHub } from './event-hub.ts';
export { onDisk } from './transaction.ts';
export { appendEvents, eventsAfter, latestEventId, type EventFilter, type NewEvent } from './event-log.ts';

/** Opens the process's one LISTEN connection. Rejects when PostgreSQL can't be reached now; later it reconnects. */
export async function openEventHub(db: Db): Promise<EventHub> {
  return createHub(db);
}

export interface StreamOptions {
  /** Id of the last event seen; left out: only events from now on. */
  cursor?: string;
  filter: EventFilter;
  signal: AbortSignal;
}

/**
 * Events after `cursor`, then live ones, in order, each once; without a cursor only those from now on. Ends when the
 * signal aborts. After an error, call again with the last id that arrived: nothing is lost or repeated.
 */
export async function* streamFrom(
  db: Db,
  hub: EventHub,
  options: StreamOptions,
): AsyncGenerator<StreamEvent> {
  for await (const batch of batchesFrom(db, hub, options))
    for (const event of batch) {
      if (options.signal.aborted) return;
      yield event;
    }
}

/** As `streamFrom`, as many at a time as there are; never an empty list. */
export async function* batchesFrom(
  db: Db,
  hub: EventHub,
  { cursor, filter, signal }: StreamOptions,
): AsyncGenerator<StreamEvent[]> {
  const live = hub.subscribe(filter, signal);
  let last = 0n;
  if (cursor !== undefined) {
    last = BigInt(cursor);
    const page = 500;
    for (;;) {
      const events = await eventsAfter(db, last.toString(), filter, page);
      if (signal.aborted) return;
      last = BigInt(events.at(-1)?.id ?? last);
      if (events.length > 0) yield events;
      if (events.length < page) break;
    }
  }
  for await (const batch of live.batches()) {
    const news = batch.filter(({ id }) => BigInt(id) > last);
    last = BigInt(news.at(-1)?.id ?? last);
    if (news.length > 0) yield news;
  }
}
