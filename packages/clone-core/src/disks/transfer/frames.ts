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
  /** Of the list that was asked for: u64 number of the first block, then a sha256 a block. */
  list: 9,
  /** Answer to a list, or to a head that says it is known: u64 number of the first block, then a bit a block, 1 to send it. */
  take: 10,
} as const;

export interface Opening {
  base: string;
  file: string;
  from: number;
  /** Send hashes of blocks first, and only the blocks that are asked for. */
  byHash: boolean;
  bytesPerSecond?: number;
  /**
   * What names the list of its blocks (`rootOf`): a sender that has that list sends it, and then the blocks that are asked for.
   * Senders of before know nothing of it and go by the fields above.
   */
  blocks?: string;
  /** The list is here already. */
  listed?: boolean;
}
export interface Head {
  bytes: number;
  /** Set when an answer, `take`, is waited for; `sent`: after the list, which follows. */
  list?: 'sent' | 'known';
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
/** Content of data up to this length comes in buffers that are used again, bytes. */
const POOLED = 256 * 1024;
/** Read ahead of whoever takes it, bytes. */
const MOST_HELD = 4 * 1024 ** 2;

export interface Frame {
  type: number;
  /** Of data: what stands before the content. */
  body: Buffer;
  /** Of data. */
  content: Buffer[];
}

/** Room for what stands before the content of a data frame. */
export const DATA_FRONT = HEADER + DATA_HEADER;

/**
 * Writes one data frame in one piece: `frame` has its content from `DATA_FRONT` on. In several pieces, node:tls would copy
 * all of it together first. Resolves when the stream takes more. Rejects when it is closed. `sent`: the frame is not needed
 * any more.
 */
export function writeData(
  stream: Duplex,
  frame: Buffer,
  { offset, packing }: { offset: number; packing: number },
  sent: () => void,
): Promise<void> {
  frame.writeUInt8(frames.data, 0);
  frame.writeUInt32BE(frame.length - HEADER, 1);
  frame.writeBigUInt64BE(BigInt(offset), HEADER);
  frame.writeUInt8(packing, HEADER + 8);
  if (stream.destroyed || stream.writableEnded) return Promise.reject(closed());
  return stream.write(frame, sent) ? Promise.resolve() : drained(stream);
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
 * Frames until the other side ends. Throws `host-unreachable` (retryable) when the stream breaks within one. The content of
 * a frame of data is good until the next one is asked for.
 */
export async function* readFrames(stream: Duplex): AsyncGenerator<Frame> {
  const inlet = new Inlet(stream);
  try {
    for (let frame = await inlet.next(); frame; frame = await inlet.next()) {
      yield frame;
      inlet.release(frame);
    }
  } finally {
    inlet.close();
  }
}

/**
 * Puts frames together as they come, without asking for more than are wanted soon. Content is copied into buffers that are
 * used again: kept as it comes, in pieces of 16 KiB, it costs the garbage collector several times that.
 */
class Inlet {
  private readonly front = Buffer.alloc(DATA_FRONT);
  private begun = 0;
  private coming: { frame: Frame; into: Buffer; filled: number } | undefined;
  private readonly ready: Frame[] = [];
  private readonly spare: Buffer[] = [];
  private held = 0;
  private over = false;
  private failure: Error | undefined;
  private wake: () => void = () => undefined;

  constructor(private readonly stream: Duplex) {
    stream.on('data', (chunk: Buffer) => {
      this.feed(chunk);
      if (this.held > MOST_HELD) stream.pause();
    });
    stream.on('error', (error) => this.end(error));
    stream.on('end', () => this.end());
    stream.on('close', () => this.end());
  }

  private end(failure?: Error): void {
    this.failure ??= failure;
    this.over = true;
    this.wake();
  }

  private feed(received: Buffer): void {
    let chunk = received;
    while (chunk.length > 0 && !this.over) {
      const { coming } = this;
      if (!coming) {
        const isData = this.begun >= HEADER && this.front.readUInt8(0) === frames.data;
        const copied = chunk.copy(this.front, this.begun, 0, (isData ? DATA_FRONT : HEADER) - this.begun);
        this.begun += copied;
        chunk = chunk.subarray(copied);
        this.begin();
        continue;
      }
      const copied = chunk.copy(coming.into, coming.filled);
      coming.filled += copied;
      chunk = chunk.subarray(copied);
      if (coming.filled === coming.into.length) this.complete(coming.frame);
    }
  }

  /** Once what stands before a frame's content is here. */
  private begin(): void {
    if (this.begun < HEADER) return;
    const type = this.front.readUInt8(0);
    const length = this.front.readUInt32BE(1);
    if (length > MAX_BODY || (type === frames.data && length < DATA_HEADER)) {
      this.end(new Error('it sends what can’t be read'));
      return;
    }
    if (type !== frames.data) {
      const body = Buffer.allocUnsafe(length);
      this.coming = { frame: { type, body, content: [] }, into: body, filled: 0 };
    } else if (this.begun === DATA_FRONT) {
      const into = this.room(length - DATA_HEADER);
      const body = Buffer.from(this.front.subarray(HEADER));
      this.coming = { frame: { type, body, content: [into] }, into, filled: 0 };
    } else return;
    this.begun = 0;
    if (this.coming.into.length === 0) this.complete(this.coming.frame);
  }

  private room(length: number): Buffer {
    if (length > POOLED) return Buffer.allocUnsafe(length);
    return (this.spare.pop() ?? Buffer.from(new ArrayBuffer(POOLED))).subarray(0, length);
  }

  private complete(frame: Frame): void {
    this.coming = undefined;
    this.held += sizeOf(frame);
    this.ready.push(frame);
    this.wake();
  }

  /** Undefined when the other side has ended. */
  async next(): Promise<Frame | undefined> {
    for (;;) {
      const frame = this.ready.shift();
      if (frame) {
        this.held -= sizeOf(frame);
        return frame;
      }
      if (this.over) {
        if (!this.coming && this.begun === 0 && !this.failure) return undefined;
        throw closed(this.failure ? 'the connection broke' : 'it ended in the middle', this.failure);
      }
      if (this.stream.isPaused()) this.stream.resume();
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }

  release({ content }: Frame): void {
    for (const { buffer } of content)
      if (buffer.byteLength === POOLED) this.spare.push(Buffer.from(buffer as ArrayBuffer));
  }

  close(): void {
    this.ready.length = 0;
    this.stream.destroy();
  }
}

const sizeOf = ({ body, content }: Frame): number =>
  content.reduce((sum, piece) => sum + piece.length, body.length);

export const closed = (why = 'the connection was closed', cause?: unknown): OffshootError =>
  new OffshootError('host-unreachable', {
    publicMessage: `The other host does not go on: ${why}.`,
    retryable: true,
    cause,
  });
