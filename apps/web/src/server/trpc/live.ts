import { setTimeout as sleep } from 'node:timers/promises';
import type { StreamEvent } from '@offshoot/clone-core/contract';
import { batchesFrom, latestEventId, type EventFilter } from '@offshoot/db/events';
import { tracked } from '@trpc/server';
import { z } from 'zod';
import { db, hub } from '../services.ts';
import { procedure } from './init.ts';

/** Sent instead of a long replay: what the browser holds is too old to patch, so it asks again. */
export type LiveEvent = Omit<StreamEvent, 'data'> & { data: StreamEvent['data'] | { type: 'reset' } };

const cursor = z.string().regex(/^\d{1,18}$/, 'A cursor is the id of an event.');

const input = z.object({
  /** Id of the last event seen: the stream goes on right after it. Without it, from now. */
  lastEventId: cursor.nullish(),
  operationId: z.uuid().optional(),
  batchId: z.uuid().optional(),
  /** Leave log lines out: only an operation's page shows them. */
  logs: z.boolean().default(true),
  /** When more events than this were missed, send one `reset` instead of all of them. */
  resetAfter: z.int().min(1).optional(),
});

/** Events in order, without gap or repetition across reconnects: each carries its id, which comes back as `lastEventId`. */
export const onEvent = procedure.input(input).subscription(async function* ({ input, signal }) {
  for await (const batch of batches(input, signal)) for (const event of batch) yield tracked(event.id, event);
});

/** While events keep coming, a tab is told of them this often at most, milliseconds; of the first at once. */
const GATHER_MS = 100;

/**
 * As `onEvent`, several at a time with the id of the last: what a tab follows that shows all hosts, where hundreds come each
 * second. Of one step's progress within a handful only the last is told.
 */
export const onEvents = procedure.input(input).subscription(async function* ({ input, signal }) {
  for await (const batch of batches(input, signal)) {
    const last = batch.at(-1);
    if (last) yield tracked(last.id, latestProgress(batch));
    // What comes meanwhile is one batch.
    await sleep(GATHER_MS);
  }
});

async function* batches(
  { lastEventId, operationId, batchId, logs, resetAfter }: z.output<typeof input>,
  signal = new AbortController().signal,
): AsyncGenerator<LiveEvent[]> {
  const filter: EventFilter = {
    ...(operationId === undefined ? {} : { operationId }),
    ...(batchId === undefined ? {} : { batchId }),
  };
  let from = lastEventId ?? undefined;
  if (from !== undefined && resetAfter !== undefined) {
    const latest = await latestEventId(db());
    const missed = BigInt(latest) - BigInt(from);
    // A cursor from the future belongs to another database: after a restore, say.
    if (missed > BigInt(resetAfter) || missed < 0n) {
      from = latest;
      yield [resetEvent(latest)];
    }
  }
  const stream = batchesFrom(db(), await hub(), {
    filter,
    signal,
    ...(from === undefined ? {} : { cursor: from }),
  });
  for await (const batch of stream) {
    const wanted = logs ? batch : batch.filter(({ data }) => data.type !== 'log');
    if (wanted.length > 0) yield wanted;
  }
}

/** Without the progress of a step of which later progress is in the list too. */
function latestProgress(events: readonly LiveEvent[]): LiveEvent[] {
  const later = new Set<string>();
  return events
    .toReversed()
    .filter(({ operationId, data }) => {
      if (data.type !== 'progress') return true;
      const step = `${operationId} ${data.index}`;
      if (later.has(step)) return false;
      later.add(step);
      return true;
    })
    .toReversed();
}

function resetEvent(id: string): LiveEvent {
  return {
    id,
    at: new Date().toISOString(),
    operationId: null,
    hostId: null,
    guestId: null,
    data: { type: 'reset' },
  };
}
