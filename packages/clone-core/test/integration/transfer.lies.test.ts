/** A sender that means harm: nothing gets into a base past the list that names its blocks. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readThrough } from '../../src/disks/transfer/block-list.ts';
import { fetchFile, type Fetched } from '../../src/disks/transfer/fetch.ts';
import {
  BLOCK,
  DATA_FRONT,
  frames,
  writeData,
  writeFrame,
  writeJson,
} from '../../src/disks/transfer/frames.ts';

const hash = (content: Buffer): Buffer => createHash('sha256').update(content).digest();
const good = Buffer.concat([Buffer.alloc(BLOCK, 1), Buffer.alloc(BLOCK, 2), Buffer.alloc(100, 3)]);
const block = (at: number): Buffer => good.subarray(at * BLOCK, (at + 1) * BLOCK);
const hashes = Buffer.concat([0, 1, 2].map((at) => hash(block(at))));
const first = Buffer.alloc(8);

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'offshoot-lies-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const data = (stream: Duplex, at: number, content: Buffer): Promise<void> =>
  writeData(
    stream,
    Buffer.concat([Buffer.alloc(DATA_FRONT), content]),
    { offset: at * BLOCK, packing: 0 },
    () => undefined,
  );

async function fetchedFrom(says: (stream: Duplex) => Promise<void>): Promise<Fetched> {
  const server = createServer((stream) => {
    // The receiver hangs up in the middle.
    stream.on('error', () => undefined).on('data', () => undefined);
    const ended = async (): Promise<void> => {
      await says(stream);
      await data(stream, 1, block(1));
      await data(stream, 2, block(2));
      await writeFrame(stream, frames.end);
    };
    ended().catch(() => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    return await fetchFile(
      {
        base: '0'.repeat(64),
        file: 'vda.qcow2',
        digest: hash(good).toString('hex'),
        blocks: hash(hashes).toString('hex'),
        to: join(folder, 'coming'),
      },
      {
        sources: [{ hostId: 'one', name: 'one' }],
        connect: async () => {
          const stream = connect((server.address() as AddressInfo).port, '127.0.0.1');
          await once(stream, 'connect');
          return stream;
        },
        older: [],
        listOf: (path) => readThrough(path, undefined, () => undefined),
        incoming: {
          size: () => undefined,
          advance: () => undefined,
          list: () => undefined,
          hashes: () => undefined,
          fail: () => undefined,
          done: () => undefined,
        },
        sync: () => Promise.resolve(),
        report: () => undefined,
        log: () => undefined,
        signal: AbortSignal.timeout(20_000),
      },
    );
  } finally {
    server.close();
  }
}

it('what is as its list says is taken', async () => {
  const fetched = await fetchedFrom(async (stream) => {
    await writeJson(stream, frames.head, { bytes: good.length, list: 'sent' });
    await writeFrame(stream, frames.list, first, hashes);
    await data(stream, 0, block(0));
  });
  expect(fetched.digest).toBe(hash(good).toString('hex'));
});

it.each<[string, (stream: Duplex) => Promise<void>]>([
  [
    'content before its list',
    async (stream) => {
      await writeJson(stream, frames.head, { bytes: good.length, list: 'sent' });
      await data(stream, 0, Buffer.alloc(BLOCK, 0xee));
      await writeFrame(stream, frames.list, first, hashes);
    },
  ],
  [
    'other hashes after its list',
    async (stream) => {
      await writeJson(stream, frames.head, { bytes: good.length, list: 'sent' });
      await writeFrame(stream, frames.list, first, hashes);
      await writeFrame(stream, frames.hashes, first, hash(Buffer.alloc(BLOCK)));
    },
  ],
])('%s: refused, and by name', async (_what, says) => {
  await expect(fetchedFrom(says)).rejects.toMatchObject({
    code: 'source-unreadable',
    context: { damaged: ['one'] },
  });
});
