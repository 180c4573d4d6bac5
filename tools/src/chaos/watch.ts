/** Follows the event log as a browser does: from a cursor, through every restart, each event once. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isEnded, type OperationEventData, type StreamEvent } from '@offshoot/clone-core/contract';
import type { Db } from '@offshoot/db/client';
import { latestEventId, openEventHub, streamFrom, type EventHub } from '@offshoot/db/events';

export interface OperationEvent extends StreamEvent {
  operationId: string;
  data: OperationEventData;
}

export interface Watch {
  /** Every operation's events, as they arrived. */
  readonly events: readonly OperationEvent[];
  /** The next event that matches, from now on; undefined after the deadline. */
  next(matches: (event: OperationEvent) => boolean, timeoutMs: number): Promise<OperationEvent | undefined>;
  close(): Promise<void>;
}

export async function watchEvents(db: Db): Promise<Watch> {
  const hub = await openEventHub(db);
  const stop = new AbortController();
  const events: OperationEvent[] = [];
  const waiting = new Set<(event: OperationEvent) => void>();
  const done = follow(db, hub, await latestEventId(db), stop.signal, (event) => {
    events.push(event);
    for (const offer of waiting) offer(event);
  });
  return {
    events,
    next(matches, timeoutMs) {
      return new Promise((resolve) => {
        const settle = (event: OperationEvent | undefined): void => {
          clearTimeout(timer);
          waiting.delete(offer);
          resolve(event);
        };
        const timer = setTimeout(() => settle(undefined), timeoutMs);
        const offer = (event: OperationEvent): void => {
          if (matches(event)) settle(event);
        };
        waiting.add(offer);
      });
    },
    async close() {
      stop.abort();
      await hub.close();
      await done;
    },
  };
}

async function follow(
  db: Db,
  hub: EventHub,
  from: string,
  signal: AbortSignal,
  onEvent: (event: OperationEvent) => void,
): Promise<void> {
  let cursor = from;
  while (!signal.aborted) {
    try {
      for await (const event of streamFrom(db, hub, { cursor, filter: {}, signal })) {
        cursor = event.id;
        if (event.operationId !== null) onEvent(event as OperationEvent);
      }
    } catch {
      // PostgreSQL is being restarted: again, from the last event that arrived.
      await sleep(50);
    }
  }
}

export const isEnd = ({ data }: OperationEvent): boolean => data.type === 'state' && isEnded(data.state);
