/** The answering side: what a worker runs for one host. */
import { queueName, type Lane } from '@offshoot/clone-core/contract';
import { toOffshootError } from '@offshoot/clone-core/errors';
import { Worker, type Job } from 'bullmq';
import type { ClonePreview, CloneRequest } from '@offshoot/clone-core/contract';
import { patientRedis } from './connection.ts';
import type { JobData, PreviewReply } from './jobs.ts';

export interface LaneServer {
  hostId: string;
  lane: Lane;
  /** How many jobs of the lane run at once. */
  concurrency: number;
  /** Performs the operation, or finds that there is nothing to do. A rejection is the operation's row's business too: it is only logged here. */
  operation(operationId: string): Promise<void>;
  preview(request: CloneRequest): Promise<ClonePreview>;
  onError: (error: Error) => void;
}

/**
 * Serves one lane until `close`, which stops taking jobs at once and waits for the running ones. Survives restarts of
 * Redis. A job that Redis thinks stalled is delivered again; the operation's claim decides who performs it.
 */
export function serveLane(redisUrl: string, server: LaneServer): { close(): Promise<void> } {
  const connection = patientRedis(redisUrl);
  connection.on('error', server.onError);
  const worker = new Worker<JobData, PreviewReply | null>(
    queueName(server.hostId, server.lane),
    async (job: Job<JobData>): Promise<PreviewReply | null> => {
      if ('operationId' in job.data) {
        await server.operation(job.data.operationId);
        return null;
      }
      try {
        return { preview: await server.preview(job.data.request) };
      } catch (error) {
        return { error: toOffshootError(error).toPublic() };
      }
    },
    {
      connection: connection,
      concurrency: server.concurrency,
      maxStalledCount: 1_000_000,
    },
  );
  worker.on('error', server.onError);
  worker.on('failed', (_job, error) => server.onError(error));
  return {
    async close() {
      await worker.close();
      connection.disconnect();
    },
  };
}
