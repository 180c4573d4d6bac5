/**
 * What two workers say to each other while a file goes from one to the other: frames of a type, a length and a body on
 * a stream that is encrypted and authenticated below (shell/peers.ts). The receiver asks, the sender answers.
 */
import type { Duplex } from 'node:stream';
import { OffshootError } from '../../errors.ts';

export const frames = {
  /** JSON, `Opening`: which file, from where on. */
  open: 1,
  /** JSON, `Head`: its size. */
  head: 2,
  /** u64 number of the first block, then a sha256 a block. */
  hashes: 3,
  /** Answer to `hashes`: u64 number of the first block, then a byte a block: 1 to send it. */
  want: 4,
  /** u64 offset, u8 packing, then the bytes. */
  data: 5,
  end: 6,
  /** JSON, `Failure`. */
  fail: 7,
  /** Nothing to send yet; still here. */
  wait: 8,
} as const;

export interface Opening {
  base: string;
  file: string;
  from: number;
  /** Send hashes of blocks first, and only the blocks that are asked for. */
  byHash: boolean;
  bytesPerSecond?: number;
}
export interface Head {
  bytes: number;
}
export interface Failure {
  /** `absent`: it neither has the file nor receives it. `gone`: it was receiving it and stopped. */
  code: 'absent' | 'gone' | 'unreadable';
}

export const packings = { plain: 0, deflate: 1 } as const;

/** Bytes that are hashed, kept and asked for at once; what qcow2 allocates at once. */
export const BLOCK = 65_536;
/** Blocks whose hashes travel together. */
export const GROUP = 256;
/** Longest body that is believed: a group of blocks. */
const MAX_BODY = BLOCK * GROUP + 64;
const HEADER = 5;

export interface Frame {
  type: number;
  body: Buffer;
}

/** Writes one frame; resolves when the stream takes more. Rejects when it is closed. */
export function writeFrame(stream: Duplex, type: number, ...parts: readonly Buffer[]): Promise<void> {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const header = Buffer.allocUnsafe(HEADER);
  header.writeUInt8(type, 0);
  header.writeUInt32BE(length, 1);
  if (stream.destroyed || stream.writableEnded) return Promise.reject(closed());
  stream.cork();
  stream.write(header);
  let room = true;
  for (const part of parts) room = stream.write(part);
  stream.uncork();
  return room ? Promise.resolve() : drained(stream);
}

function drained(stream: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      stream.off('drain', done).off('close', gone).off('error', gone);
      resolve();
    };
    const gone = (): void => {
      stream.off('drain', done).off('close', gone).off('error', gone);
      reject(closed());
    };
    stream.on('drain', done).on('close', gone).on('error', gone);
  });
}

export const writeJson = (stream: Duplex, type: number, value: object): Promise<void> =>
  writeFrame(stream, type, Buffer.from(JSON.stringify(value)));

/** Frames until the other side ends. Throws `host-unreachable` (retryable) when the stream breaks within one. */
export async function* readFrames(stream: Duplex): AsyncGenerator<Frame> {
  let parts: Buffer[] = [];
  let held = 0;
  const take = (length: number): Buffer => {
    const taken: Buffer[] = [];
    for (let missing = length; missing > 0;) {
      const first = parts[0];
      if (!first) break;
      if (first.length <= missing) parts.shift();
      else parts[0] = first.subarray(missing);
      taken.push(first.subarray(0, missing));
      missing -= Math.min(first.length, missing);
    }
    held -= length;
    return taken.length === 1 && taken[0] ? taken[0] : Buffer.concat(taken, length);
  };
  let head: { type: number; length: number } | undefined;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      parts.push(chunk);
      held += chunk.length;
      for (;;) {
        if (!head) {
          if (held < HEADER) break;
          const header = take(HEADER);
          head = { type: header.readUInt8(0), length: header.readUInt32BE(1) };
          if (head.length > MAX_BODY) throw closed('it sends what can’t be read');
        }
        if (held < head.length) break;
        const { type, length } = head;
        head = undefined;
        yield { type, body: take(length) };
      }
    }
  } catch (thrown) {
    throw thrown instanceof OffshootError ? thrown : closed('the connection broke', thrown);
  } finally {
    parts = [];
  }
  if (head || held > 0) throw closed('it ended in the middle');
}

export const closed = (why = 'the connection was closed', cause?: unknown): OffshootError =>
  new OffshootError('host-unreachable', {
    publicMessage: `The other host does not go on: ${why}.`,
    retryable: true,
    cause,
  });
