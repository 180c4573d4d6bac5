import type { ClonePreview, CloneRequest, Lane } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
const later = (): Promise<never> => Promise.reject(new OffshootError('internal', { publicMessage: 'Not built yet.' }));
export interface OperationJob { operationId: string; hostId: string; lane: Lane; attempt?: number }
export interface Queues {
  enqueueOperation(job: OperationJob): Promise<void>;
  preview(hostId: string, request: CloneRequest, timeoutMs?: number): Promise<ClonePreview>;
  counts(hostId: string): Promise<Record<Lane, { waiting: number; active: number }>>;
  ping(): Promise<void>;
  close(): Promise<void>;
}
export function openQueues(_redisUrl: string): Queues {
  return { enqueueOperation: later, preview: later, counts: later, ping: later, close: later };
}
