import type { StreamEvent } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Db } from './client.ts';
const later = (): Promise<never> => Promise.reject(new OffshootError('internal', { publicMessage: 'Not built yet.' }));
export interface EventFilter { operationId?: string; batchId?: string }
export interface EventHub {
  subscribe(filter: EventFilter, signal: AbortSignal): AsyncIterable<StreamEvent>;
  close(): Promise<void>;
}
export const eventsAfter = (_db: Db, _cursor: string, _filter: EventFilter, _limit = 500): Promise<StreamEvent[]> => later();
export const latestEventId = (_db: Db): Promise<string> => later();
export const openEventHub = (_db: Db): Promise<EventHub> => later();
export async function* streamFrom(_db: Db, hub: EventHub, options: { cursor?: string; filter: EventFilter; signal: AbortSignal }): AsyncGenerator<StreamEvent> {
  yield* hub.subscribe(options.filter, options.signal);
}
