/**
 * What two workers say to each other while a file goes from one to the other: frames of a type, a length and a body on
 * a stream that is encrypted and authenticated below (shell/peers). The receiver asks, the sender answers.
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
/** Offset and packing. */
const DATA_HEADER = 9;
/** Read ahead of whoever takes it, bytes. */
const MOST_HELD = 4 * 1024 ** 2;

export interface Frame {
  type: number;
  /** Of data: what stands before the content. */
  body: Buffer;
  /** Of data, in the pieces it came in. */
  content: Buffer[];
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

/**
 * Frames until the other side ends. Throws `host-unreachable` (retryable) when the stream breaks within one. Data is
 * passed on in the pieces it came in: copying it together would cost as much as decrypting it.
 */
export async function* readFrames(stream: Duplex): AsyncGenerator<Frame> {
  const inlet = new Inlet(stream);
  try {
    for (;;) {
      const [header] = await inlet.take(HEADER, true);
      if (!header) return;
      const type = header.readUInt8(0);
      const length = header.readUInt32BE(1);
      if (length > MAX_BODY) throw closed('it sends what can’t be read');
      if (type === frames.data) {
        const [body = Buffer.alloc(0)] = await inlet.take(DATA_HEADER);
        yield { type, body, content: await inlet.pieces(length - DATA_HEADER) };
      } else {
        const [body = Buffer.alloc(0)] = await inlet.take(length);
        yield { type, body, content: [] };
      }
    }
  } finally {
    inlet.close();
  }
}

/** Takes bytes off a stream, without asking for more than are wanted soon. */
class Inlet {
  private chunks: Buffer[] = [];
  private held = 0;
  private over = false;
  private failure: Error | undefined;
  private wake: () => void = () => undefined;

  constructor(private readonly stream: Duplex) {
    stream.on('data', (chunk: Buffer) => {
      this.chunks.push(chunk);
      this.held += chunk.length;
      if (this.held > MOST_HELD) stream.pause();
      this.wake();
    });
    stream.on('error', (error) => {
      this.failure = error;
      this.end();
    });
    stream.on('end', () => this.end());
    stream.on('close', () => this.end());
  }

  private end(): void {
    this.over = true;
    this.wake();
  }

  /** So many bytes in one piece. `first`: the other side may end here, and nothing is what comes then. */
  async take(length: number, first = false): Promise<Buffer[]> {
    const pieces = await this.pieces(length, first);
    return pieces.length > 1 ? [Buffer.concat(pieces, length)] : pieces;
  }

  async pieces(length: number, first = false): Promise<Buffer[]> {
    while (this.held < length) {
      if (this.over) {
        if (first && this.held === 0 && !this.failure) return [];
        throw closed(this.failure ? 'the connection broke' : 'it ended in the middle', this.failure);
      }
      if (this.stream.isPaused()) this.stream.resume();
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    const taken: Buffer[] = [];
    for (let missing = length; missing > 0;) {
      const chunk = this.chunks[0];
      if (!chunk) break;
      if (chunk.length <= missing) this.chunks.shift();
      else this.chunks[0] = chunk.subarray(missing);
      taken.push(chunk.subarray(0, missing));
      missing -= Math.min(chunk.length, missing);
    }
    this.held -= length;
    return taken;
  }

  close(): void {
    this.chunks = [];
    this.stream.destroy();
  }
}

export const closed = (why = 'the connection was closed', cause?: unknown): OffshootError =>
  new OffshootError('host-unreachable', {
    publicMessage: `The other host does not go on: ${why}.`,
    retryable: true,
    cause,
  });
