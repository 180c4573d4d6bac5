/** The answering side: what a worker runs for one host. */
import { queueName, type Lane } from '@offshoot/clone-core/contract';
import { OffshootError, toOffshootError } from '@offshoot/clone-core/errors';
import { Worker, type Job, type Processor } from 'bullmq';
import { patientRedis } from './connection.ts';
import { previewQueueName, type OperationData, type ReadReply, type Reads } from './jobs.ts';

export interface LaneServer {
  hostId: string;
  lane: Lane;
  /** How many jobs of the lane run at once. */
  concurrency: number;
  /** Performs the operation, or finds that there is nothing to do. A rejection is the operation's row's business too: it is only logged here. */
  operation(operationId: string): Promise<void>;
  onError: (error: Error) => void;
}

export interface PreviewServer {
  hostId: string;
  /** How many previews are made at once. */
  concurrency: number;
  /** Each read by its name. */
  answers: { [K in keyof Reads]: (data: Reads[K]['data']) => Promise<Reads[K]['answer']> };
  onError: (error: Error) => void;
}

/**
 * Serves one lane until `close`, which stops taking jobs at once and waits for the running ones. Survives restarts of
 * Redis. A job that Redis thinks stalled is delivered again; the operation's claim decides who performs it.
 */
export function serveLane(redisUrl: string, server: LaneServer): Served {
  return serve(redisUrl, queueName(server.hostId, server.lane), server, async (job: Job<OperationData>) => {
    await server.operation(job.data.operationId);
    return null;
  });
}

/** Serves a host's previews and other reads, on a queue of their own: people wait for them while guests boot in every lane. */
export function servePreviews(redisUrl: string, server: PreviewServer): Served {
  const answer = async <K extends keyof Reads>(job: Job): Promise<ReadReply<K>> => {
    try {
      const read: PreviewServer['answers'][K] | undefined = server.answers[job.name as K];
      if (read === undefined)
        throw new OffshootError('internal', {
          publicMessage: `This host’s worker can’t answer “${job.name}”.`,
          remedy: 'Update the worker: the portal is of another version.',
        });
      return { answer: await read(job.data as Reads[K]['data']) };
    } catch (error) {
      return { error: toOffshootError(error).toPublic() };
    }
  };
  return serve(redisUrl, previewQueueName(server.hostId), server, answer);
}

export interface Served {
  close(): Promise<void>;
}

/**
 * What a dead worker had taken from the queue, but not claimed in PostgreSQL, is delivered again after this at the latest,
 * milliseconds. Ringing again can't help before: the job is still there. With BullMQ's defaults that took a minute.
 */
const LOCK_MS = 8000;
const STALLED_LOOK_MS = 4000;

function serve(
  redisUrl: string,
  name: string,
  options: { concurrency: number; onError: (error: Error) => void },
  work: Processor,
): Served {
  const connection = patientRedis(redisUrl);
  connection.on('error', options.onError);
  const worker = new Worker(name, work, {
    connection,
    concurrency: options.concurrency,
    maxStalledCount: 1_000_000,
    lockDuration: LOCK_MS,
    stalledInterval: STALLED_LOOK_MS,
  });
  worker.on('error', options.onError);
  worker.on('failed', (_job, error) => options.onError(error));
  return {
    async close() {
      await worker.close();
      connection.disconnect();
    },
  };
}
