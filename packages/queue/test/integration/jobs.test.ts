import { randomUUID } from 'node:crypto';
import { OffshootError } from '@offshoot/clone-core/errors';
import {
  cloneOptionsSchema,
  queueName,
  type ClonePreview,
  type CloneRequest,
} from '@offshoot/clone-core/contract';
import { Queue, Worker } from 'bullmq';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { impatientRedis } from '../../src/connection.ts';
import { openQueues, type Queues } from '../../src/jobs.ts';
import { Kept } from '../../src/kept.ts';
import { serveLane, servePreviews, type LaneServer, type PreviewServer } from '../../src/serve.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';

let redis: TestRedis;
const closing: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.close());
afterEach(async () => {
  for (const part of closing.splice(0).toReversed()) await part.close();
});

const request: CloneRequest = {
  source: { type: 'guest', id: randomUUID() },
  mode: 'linked',
  names: ['web-1'],
  options: cloneOptionsSchema.parse({ start: false, waitForAgent: false, agentTimeoutSeconds: 5 }),
};
const preview: ClonePreview = {
  modes: [],
  each: {
    summary: 's',
    estimates: { readBytes: 0, moveBytes: 0, storeBytes: 0, seconds: 0 },
    notes: [],
    steps: [],
    fingerprint: 'f',
  },
  count: 1,
  total: { readBytes: 0, moveBytes: 0, storeBytes: 0, seconds: 0 },
  fingerprint: 'f',
  simulated: true,
};

const unasked = (): Promise<never> => Promise.reject(new Error('not asked here'));
const nothing: PreviewServer['answers'] = {
  preview: unasked,
  drift: unasked,
  'guest-plan': unasked,
  'base-users': unasked,
};

function ringing(): Queues {
  const queues = openQueues(redis.url);
  closing.push(queues);
  return queues;
}

function serving(hostId: string, part: Partial<LaneServer & PreviewServer> = {}): void {
  closing.push(
    servePreviews(redis.url, {
      hostId,
      concurrency: 2,
      answers: { ...nothing, preview: () => Promise.resolve(preview) },
      onError: () => undefined,
      ...part,
    }),
    serveLane(redis.url, {
      hostId,
      lane: 'interactive',
      concurrency: 2,
      operation: () => Promise.resolve(),
      onError: () => undefined,
      ...part,
    }),
  );
}

describe('doorbells', () => {
  it('reach the worker, and the same attempt rung twice while it waits rings once', async () => {
    const queues = ringing();
    const job = { operationId: randomUUID(), hostId: 'h1', lane: 'interactive' as const };
    await queues.enqueueOperation(job);
    await queues.enqueueOperation(job);
    expect(await queues.counts('h1')).toEqual({
      interactive: { waiting: 1, active: 0 },
      bulk: { waiting: 0, active: 0 },
    });
    const heard = new Promise<string>((resolve) => {
      serving('h1', { operation: async (operationId) => resolve(operationId) });
    });
    expect(await heard).toBe(job.operationId);
  });

  it('a job that ran can be rung again: nothing of it stays in Redis', async () => {
    const queues = ringing();
    const job = { operationId: randomUUID(), hostId: 'h2', lane: 'interactive' as const };
    const heard: string[] = [];
    serving('h2', { operation: async (operationId) => void heard.push(operationId) });
    await queues.enqueueOperation(job);
    await expect.poll(() => heard.length).toBe(1);
    await expect.poll(async () => (await queues.counts('h2')).interactive.active).toBe(0);
    await queues.enqueueOperation(job);
    await expect.poll(() => heard.length).toBe(2);
  });
});

describe('preview', () => {
  it('comes back with the worker’s answer, or with the worker’s own error', async () => {
    const queues = ringing();
    serving('h3');
    expect(await queues.preview('h3', request)).toEqual(preview);
    serving('h4', {
      answers: {
        ...nothing,
        preview: () =>
          Promise.reject(
            new OffshootError('name-taken', {
              publicMessage: 'Taken.',
              field: 'names.0',
              remedy: 'Choose another.',
            }),
          ),
      },
    });
    await expect(queues.preview('h4', request)).rejects.toMatchObject({
      code: 'name-taken',
      field: 'names.0',
      remedy: 'Choose another.',
      publicMessage: 'Taken.',
    });
  });

  it('each read gets its own answer, also when there is none to give', async () => {
    const queues = ringing();
    const drift = { at: 'now', running: false, disks: [] };
    serving('h5', {
      answers: {
        ...nothing,
        drift: ({ guestId }) => Promise.resolve({ ...drift, at: guestId }),
        'base-users': ({ baseId }) => Promise.resolve(baseId === 'free' ? null : 'web-1 stands on it.'),
      },
    });
    expect(await Promise.all([queues.drift('h5', 'g'), queues.baseUsers('h5', 'free')])).toEqual([
      { ...drift, at: 'g' },
      null,
    ]);
    expect(await queues.baseUsers('h5', 'used')).toBe('web-1 stands on it.');
  });

  it('says that the host is unreachable when no worker answers', async () => {
    await expect(ringing().preview('nobody', request, 300)).rejects.toMatchObject({
      code: 'host-unreachable',
      retryable: true,
    });
  });
});

describe('without Redis', () => {
  it('every call answers with a clear, retryable error instead of hanging; and works again when it is back', async () => {
    const queues = ringing();
    await queues.ping();
    await redis.stopServer();
    const away = { code: 'host-unreachable', retryable: true };
    const job = { operationId: randomUUID(), hostId: 'h5', lane: 'bulk' as const };
    await Promise.all([
      expect(queues.ping()).rejects.toMatchObject(away),
      expect(queues.enqueueOperation(job)).rejects.toMatchObject(away),
      expect(queues.preview('h5', request)).rejects.toMatchObject(away),
      expect(queues.counts('h5')).rejects.toMatchObject(away),
    ]);
    await redis.startServer();
    await expect
      .poll(
        async () =>
          queues.enqueueOperation(job).then(
            () => 'ok',
            () => 'away',
          ),
        { timeout: 15_000 },
      )
      .toBe('ok');
    await queues.ping();
    expect((await queues.counts('h5')).bulk.waiting).toBe(1);
  });
});

it('a lane that was first rung for while Redis did not answer is rung for once it does', async () => {
  const queues = ringing();
  await queues.ping();
  const job = { operationId: randomUUID(), hostId: `h-${randomUUID().slice(0, 8)}`, lane: 'bulk' as const };
  redis.freeze();
  try {
    await expect(queues.enqueueOperation(job)).rejects.toMatchObject({ code: 'host-unreachable' });
    // What was asked first of the lane is given up, too.
    await expect(queues.ping()).rejects.toMatchObject({ code: 'host-unreachable' });
  } finally {
    redis.thaw();
  }
  await queues.ping();
  await queues.enqueueOperation(job);
  expect((await queues.counts(job.hostId)).bulk.waiting).toBe(1);
});

it('what a worker had taken when it died is delivered to the next one within seconds', async () => {
  const queues: Queues = openQueues(redis.url);
  closing.push(queues);
  const hostId = `h-${randomUUID().slice(0, 8)}`;
  const operationId = randomUUID();
  await queues.enqueueOperation({ operationId, hostId, lane: 'bulk' });
  // Takes the job as a worker does, and never says a word of it again.
  const dead = new Worker(queueName(hostId, 'bulk'), null, {
    connection: { path: redis.url.replace('unix://', '') },
    lockDuration: 8000,
  });
  closing.push(dead);
  await expect.poll(async () => (await dead.getNextJob(randomUUID()))?.data).toEqual({ operationId });
  const delivered = new Promise<string>((resolve) => {
    closing.push(
      serveLane(redis.url, {
        hostId,
        lane: 'bulk',
        concurrency: 1,
        operation: async (id) => resolve(id),
        onError: () => undefined,
      }),
    );
  });
  await queues.enqueueOperation({ operationId, hostId, lane: 'bulk' });
  expect(await delivered).toBe(operationId);
}, 20_000);

it('closes a queue that nobody asked for, and makes another when somebody does', async () => {
  const connection = impatientRedis(redis.url);
  const wrong: Error[] = [];
  const kept = new Kept<Queue>((error) => wrong.push(error), 0);
  const ask = (name: string): Queue => kept.get(name, () => new Queue(name, { connection }));
  try {
    const first = ask('a');
    await first.add('job', {});
    const second = ask('b');
    expect(first.closing).toBeDefined();
    await first.closing;
    expect(ask('b')).toBe(second);
    // They share one connection, which stays.
    const again = ask('a');
    expect(again).not.toBe(first);
    expect(await again.getWaitingCount()).toBe(1);
    expect(wrong).toEqual([]);
  } finally {
    await kept.close();
    connection.disconnect();
  }
});
