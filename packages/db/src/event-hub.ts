/** Fans the event log out within one process: one LISTEN connection, one fetch per wake-up. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { StreamEvent } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Db } from './client.ts';
import { latestEventId, readLog, type EventFilter, type LoggedEvent } from './event-log.ts';
import { listen } from './listen.ts';
import { isDatabaseAway } from './transaction.ts';

/** Live events, one by one or as many as there are. Iterate only one of the two. */
export interface EventSubscription extends AsyncIterable<StreamEvent> {
  batches(): AsyncIterable<StreamEvent[]>;
}

export interface EventHub {
  /** Live events that match, in order, none missing while subscribed, from the moment of the call until the abort. */
  subscribe(filter: EventFilter, signal: AbortSignal): EventSubscription;
  close(): Promise<void>;
}

/** Events fetched at once. */
const PAGE = 1000;
/** A subscriber that lags this many events behind is cut off; its client reconnects with its cursor. */
const LONGEST_QUEUE = 20_000;
/** While events keep coming they are read together, this often at most, milliseconds. */
const LEAST_GAP_MS = 20;
/** Looks for events this often even unwoken, milliseconds: a bound on what a lost wake-up could cost. */
const PATROL_MS = 5000;

class Subscription implements EventSubscription {
  private queue: StreamEvent[] = [];
  private wake: (() => void) | undefined;
  private failure: OffshootError | undefined;
  private ended = false;

  constructor(readonly filter: EventFilter) {}

  offer({ event, batchId }: LoggedEvent): void {
    if (this.filter.operationId !== undefined && event.operationId !== this.filter.operationId) return;
    if (this.filter.batchId !== undefined && batchId !== this.filter.batchId) return;
    this.queue.push(event);
    if (this.queue.length > LONGEST_QUEUE) {
      this.fail(
        new OffshootError('timeout', {
          publicMessage: 'The stream fell too far behind.',
          remedy: 'Reload.',
          retryable: true,
        }),
      );
    }
    this.wake?.();
  }

  fail(error: OffshootError): void {
    this.failure ??= error;
    this.wake?.();
  }

  end(): void {
    this.ended = true;
    this.wake?.();
  }

  async *batches(): AsyncGenerator<StreamEvent[]> {
    for (;;) {
      if (this.ended) return;
      if (this.failure) throw this.failure;
      if (this.queue.length > 0) {
        const batch = this.queue;
        this.queue = [];
        yield batch;
        continue;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      this.wake = undefined;
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StreamEvent> {
    for await (const batch of this.batches())
      for (const event of batch) {
        if (this.ended) return;
        yield event;
      }
  }
}

/** See `openEventHub`. */
export async function createHub(db: Db): Promise<EventHub> {
  const subscriptions = new Set<Subscription>();
  const closing = new AbortController();
  let last = await latestEventId(db);
  let fetching: Promise<void> | undefined;
  let again = false;
  let lastRead = -Infinity;

  const drain = async (): Promise<void> => {
    do {
      again = false;
      const rest = lastRead + LEAST_GAP_MS - performance.now();
      if (rest > 0) await sleep(rest);
      lastRead = performance.now();
      const events = await readLog(db, last, {}, PAGE);
      for (const logged of events) {
        last = logged.event.id;
        for (const subscription of subscriptions) subscription.offer(logged);
      }
      if (events.length === PAGE) again = true;
    } while (again && !closing.signal.aborted);
  };
  const wake = (): void => {
    again = true;
    if (fetching || closing.signal.aborted) return;
    fetching = drain()
      .catch((error: unknown) => {
        // Away: the reconnection wakes us again, from the same id. Anything else would repeat for ever: tell everyone.
        if (isDatabaseAway(error) || closing.signal.aborted) return;
        const failure = new OffshootError('internal', {
          publicMessage: 'The event log can’t be read.',
          retryable: true,
          cause: error,
        });
        for (const subscription of subscriptions) subscription.fail(failure);
      })
      .finally(() => {
        fetching = undefined;
      });
  };

  const { ended } = await listen(
    db.url,
    'offshoot_event',
    { onNotify: wake, onConnect: wake },
    closing.signal,
  );
  const patrol = setInterval(wake, PATROL_MS);
  patrol.unref();
  return {
    subscribe(filter, signal) {
      const subscription = new Subscription(filter);
      const stop = (): void => {
        subscriptions.delete(subscription);
        subscription.end();
      };
      if (signal.aborted || closing.signal.aborted) {
        subscription.end();
        return subscription;
      }
      subscriptions.add(subscription);
      signal.addEventListener('abort', stop, { once: true });
      return subscription;
    },
    async close() {
      clearInterval(patrol);
      closing.abort();
      for (const subscription of subscriptions) subscription.end();
      subscriptions.clear();
      await ended;
      await fetching;
    },
  };
}
