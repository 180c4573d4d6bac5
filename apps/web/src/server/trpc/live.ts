import type { StreamEvent } from '@offshoot/clone-core/contract';
import { latestEventId, streamFrom, type EventFilter } from '@offshoot/db/events';
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
  const filter: EventFilter = {
    ...(input.operationId === undefined ? {} : { operationId: input.operationId }),
    ...(input.batchId === undefined ? {} : { batchId: input.batchId }),
  };
  let from = input.lastEventId ?? undefined;
  if (from !== undefined && input.resetAfter !== undefined) {
    const latest = await latestEventId(db());
    const missed = BigInt(latest) - BigInt(from);
    // A cursor from the future belongs to another database: after a restore, say.
    if (missed > BigInt(input.resetAfter) || missed < 0n) {
      from = latest;
      yield tracked(latest, resetEvent(latest));
    }
  }
  const stream = streamFrom(db(), await hub(), {
    filter,
    signal: signal ?? new AbortController().signal,
    ...(from === undefined ? {} : { cursor: from }),
  });
  for await (const event of stream) {
    if (!input.logs && event.data.type === 'log') continue;
    yield tracked(event.id, event as LiveEvent);
  }
});

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
