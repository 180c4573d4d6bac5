/**
 * The doorbells between web and worker. A job carries an operation's id and nothing else: the row in PostgreSQL is the
 * truth, so Redis may lose everything (the worker's reconciler rings again).
 */
import {
  lanes,
  queueName,
  type ClonePreview,
  type CloneRequest,
  type Drift,
  type GuestPreview,
  type GuestQuestion,
  type Lane,
  type PublicError,
} from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { Queue, QueueEvents } from 'bullmq';
import { Kept } from './kept.ts';
import { COMMAND_TIMEOUT_MS, impatientRedis, patientRedis, queueAway } from './connection.ts';

export interface OperationJob {
  operationId: string;
  hostId: string;
  lane: Lane;
  /** How many times the operation was claimed before: a later attempt needs a job of its own. */
  attempt?: number;
}

/** Data of a job in a lane. */
export interface OperationData {
  operationId: string;
}
/** Data of a job in a host's queue of previews. */
export interface PreviewData {
  request: CloneRequest;
}

/** Data of a job in the same queue that asks how far a guest has drifted from its base. */
export interface DriftData {
  guestId: string;
}
/** Data of a job in the same queue that asks whether anything on the host stands on a base. */
export interface BaseUsersData {
  baseId: string;
}

/** Data of a job in the same queue that asks for the plan of a change to a guest. */
export interface GuestPlanData {
  question: GuestQuestion;
}

/** Reads that people wait for: each is a job's name in the host's queue of previews, with its data and its answer. */
export interface Reads {
  preview: { data: PreviewData; answer: ClonePreview };
  drift: { data: DriftData; answer: Drift };
  'guest-plan': { data: GuestPlanData; answer: GuestPreview };
  /** Null: nothing stands on it. Else the driver's own words of what does. */
  'base-users': { data: BaseUsersData; answer: string | null };
}

/** Previews have a queue of their own beside the lanes. */
export const previewQueueName = (hostId: string): string => `${hostId}-preview`;

/** What such a job returns: an error is data, so that its code and remedy survive the way back. */
export type ReadReply<K extends keyof Reads> = { answer: Reads[K]['answer'] } | { error: PublicError };

/** Patience with a host's answer, milliseconds. */
const READ_TIMEOUT_MS = 15_000;

export interface LaneCounts {
  waiting: number;
  active: number;
}

export interface Queues {
  /** Rings for an operation. Ringing twice for the same attempt is harmless. Rejects `host-unreachable` within 2 s without Redis. */
  enqueueOperation(job: OperationJob): Promise<void>;
  /**
   * Has the host's worker inspect and plan. Rejects with the worker's own error, or `host-unreachable` when no worker
   * answers within `timeoutMs` (default 15 000).
   */
  preview(hostId: string, request: CloneRequest, timeoutMs?: number): Promise<ClonePreview>;
  /** Has the host's worker read how far a guest has drifted from its base. Rejects as `preview` does. */
  drift(hostId: string, guestId: string): Promise<Drift>;
  /** As `preview`, of a change to a guest. */
  previewGuest(hostId: string, question: GuestQuestion): Promise<GuestPreview>;
  /** Has the host itself looked at for guests and files that stand on a base. Rejects as `preview` does. */
  baseUsers(hostId: string, baseId: string): Promise<string | null>;
  counts(hostId: string): Promise<Record<Lane, LaneCounts>>;
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** Opens the ringing side. Connects in the background; every call answers or rejects within its bound. */
export function openQueues(redisUrl: string): Queues {
  const redis = impatientRedis(redisUrl);
  const listening = patientRedis(redisUrl);
  // Without a listener ioredis would print each failed reconnection; the calls themselves say when Redis is away.
  let lastError: Error | undefined;
  for (const connection of [redis, listening]) connection.on('error', (error: Error) => (lastError = error));
  const note = (error: Error): void => {
    lastError = error;
  };
  const queues = new Kept<Queue>(note);
  const answers = new Kept<QueueEvents>(note);
  const queueNamed = (name: string): Queue =>
    queues.get(name, () => new Queue(name, { connection: redis }).on('error', note));
  const answersOf = (hostId: string): QueueEvents =>
    answers.get(hostId, () => {
      const events = new QueueEvents(previewQueueName(hostId), { connection: listening });
      events.on('error', note);
      events.setMaxListeners(0);
      return events;
    });

  const ask = async <K extends keyof Reads>(
    hostId: string,
    name: K,
    data: Reads[K]['data'],
    timeoutMs = READ_TIMEOUT_MS,
  ): Promise<Reads[K]['answer']> => {
    const events = answersOf(hostId);
    await bounded(events.waitUntilReady(), COMMAND_TIMEOUT_MS, () => queueAway(lastError));
    const queue = queueNamed(previewQueueName(hostId));
    const job = await bounded(
      // Kept for a minute: an answer may come before this process listens for it.
      queue.add(name, data, { removeOnComplete: { age: 60 }, removeOnFail: { age: 60 } }),
      COMMAND_TIMEOUT_MS,
      () => queueAway(lastError),
    );
    const silent = (): OffshootError =>
      new OffshootError('host-unreachable', {
        publicMessage: `The worker of ${hostId} does not answer, so nothing can be ${name === 'preview' ? 'planned' : 'read'} there.`,
        remedy: 'See the Hosts page for what is wrong with it.',
        retryable: true,
      });
    let reply: ReadReply<K>;
    try {
      reply = (await bounded(
        job.waitUntilFinished(events, timeoutMs),
        timeoutMs + 1000,
        silent,
      )) as ReadReply<K>;
    } catch (error) {
      // Nobody waits for the answer any more: the worker need not compute it.
      await job.remove().catch(note);
      throw error instanceof OffshootError ? error : silent();
    }
    if ('answer' in reply) return reply.answer;
    const { message, ...rest } = reply.error;
    throw new OffshootError(rest.code, { ...rest, publicMessage: message });
  };

  return {
    async enqueueOperation({ operationId, hostId, lane, attempt = 0 }) {
      await bounded(
        queueNamed(queueName(hostId, lane)).add(
          'operation',
          { operationId },
          {
            jobId: `${operationId}-${attempt}`,
            removeOnComplete: true,
            removeOnFail: true,
          },
        ),
        COMMAND_TIMEOUT_MS,
        () => queueAway(lastError),
      );
    },

    preview: (hostId, request, timeoutMs) => ask(hostId, 'preview', { request }, timeoutMs),
    drift: (hostId, guestId) => ask(hostId, 'drift', { guestId }),
    previewGuest: (hostId, question) => ask(hostId, 'guest-plan', { question }),
    baseUsers: (hostId, baseId) => ask(hostId, 'base-users', { baseId }),

    async counts(hostId) {
      const of = async (lane: Lane): Promise<[Lane, LaneCounts]> => {
        const counts = await queueNamed(queueName(hostId, lane)).getJobCounts('waiting', 'active');
        return [lane, { waiting: counts['waiting'] ?? 0, active: counts['active'] ?? 0 }];
      };
      const entries = await bounded(Promise.all(lanes.map(of)), COMMAND_TIMEOUT_MS, () =>
        queueAway(lastError),
      );
      return Object.fromEntries(entries) as Record<Lane, LaneCounts>;
    },

    async ping() {
      await bounded(redis.ping(), COMMAND_TIMEOUT_MS, () => queueAway(lastError));
    },

    async close() {
      await Promise.all([answers.close(), queues.close()]);
      redis.disconnect();
      listening.disconnect();
    },
  };
}

async function bounded<T>(work: Promise<T>, ms: number, failure: () => OffshootError): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(failure()), ms);
  });
  try {
    return await Promise.race([work, late]);
  } catch (error) {
    if (error instanceof OffshootError) throw error;
    if (isRedisAway(error)) throw queueAway(error);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function isRedisAway(error: unknown): boolean {
  return (
    error instanceof Error &&
    (/ECONN|ENOENT|EPIPE|ETIMEDOUT|ENOTFOUND|Connection is closed|Command timed out|max retries per request|Stream isn't writeable|LOADING/i.test(
      error.message,
    ) ||
      error.name === 'MaxRetriesPerRequestError')
  );
}
