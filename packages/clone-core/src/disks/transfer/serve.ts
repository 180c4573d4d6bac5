/** The sending side: one file to one receiver, as far as it is there, from where that one wants it on. */
import { open, type FileHandle } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { OffshootError } from '../../errors.ts';
import { blocksIn, HASH, rootOf, type BlockList } from './block-list.ts';
import {
  BLOCK,
  DATA_FRONT,
  frames,
  GROUP,
  readFrames,
  writeData,
  writeFrame,
  writeJson,
  type Failure,
  type Frame,
  type Head,
} from './frames.ts';
import { hashOf } from './known-blocks.ts';
import { Packer } from './packing.ts';
import type { Held } from './receiving.ts';

/** Sent at once, bytes. */
const PIECE = 256 * 1024;
const FRAME = DATA_FRONT + PIECE;
/** Groups of hashes that are sent ahead of the answers. */
const AHEAD = 4;
/** More than an honest receiver says without an answer. */
const MOST_UNREAD = 2 * AHEAD + 2;
/** A receiver that waits for us is told so this often, milliseconds. */
const STILL_HERE_MS = 1000;
/** Digests of a list that travel together. */
const LISTED = 16_384;

const openingSchema = z.object({
  base: z.string().regex(/^[0-9a-f]{64}$/),
  file: z.string().regex(/^[A-Za-z0-9._-]+$/),
  from: z.int().min(0),
  byHash: z.boolean(),
  bytesPerSecond: z.int().min(1).optional(),
  blocks: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  listed: z.boolean().optional(),
});

/** Finds a file of a base here: whole, or still coming. */
export type Holdings = (base: string, file: string) => Promise<Held | undefined>;

/**
 * Answers one receiver until it has what it asked for or goes away. Rejects when the file or the stream fails. `log` is told
 * when a file must be read for the digests of its blocks.
 */
export async function serveFile(
  stream: Duplex,
  holdings: Holdings,
  log: (line: string) => void = () => undefined,
): Promise<void> {
  const inbox = new Inbox(stream);
  const first = await inbox.next(frames.open);
  const opening = openingSchema.safeParse(first && JSON.parse(first.body.toString('utf8')));
  if (!opening.success) {
    stream.destroy();
    return;
  }
  const { base, file, from, byHash, bytesPerSecond, blocks, listed = false } = opening.data;
  const held = await holdings(base, file);
  if (!held) return refuse(stream, 'absent');
  const handle = await open(held.path, 'r');
  try {
    // For another way the file is not read whole first: whoever waits would give it up.
    const asks = !listed && blocks !== undefined;
    const list = asks && held.list ? await sayingSo(stream, held.list(log)) : undefined;
    const fits = blocks !== undefined && list !== undefined && rootOf(list) === blocks;
    const head: Head = {
      bytes: held.bytes,
      ...(fits ? { list: 'sent' } : blocks !== undefined && listed ? { list: 'known' } : {}),
    };
    await writeJson(stream, frames.head, head);
    const sender = new Sender(stream, handle, held, list, pace(bytesPerSecond));
    if (fits) await sendList(stream, list);
    if (head.list) await sender.sendTaken(async () => (await inbox.next(frames.take))?.body);
    else if (byHash) await sender.sendWanted(from, async () => (await inbox.next(frames.want))?.body);
    else await sender.sendAll(from);
    await writeFrame(stream, frames.end);
    stream.end();
    // Until it has read all: an early close would cut what is still on its way.
    await inbox.next();
  } catch (error) {
    if (!stream.destroyed && !stream.writableEnded) await refuse(stream, sendFailure(error));
    else throw error;
  } finally {
    await handle.close();
  }
}

/** What the promise resolves to; the receiver is told now and then that it is being waited for. */
async function sayingSo<T>(stream: Duplex, waited: Promise<T>): Promise<T> {
  const timer = setInterval(() => {
    // Dropped when the stream is full: then there is something to read anyway.
    if (!stream.destroyed && stream.writableLength === 0)
      writeFrame(stream, frames.wait).catch(() => undefined);
  }, STILL_HERE_MS);
  try {
    return await waited;
  } finally {
    clearInterval(timer);
  }
}

async function sendList(stream: Duplex, list: BlockList): Promise<void> {
  const count = blocksIn(list.bytes);
  for (let start = 0; start < count; start += LISTED) {
    const first = Buffer.allocUnsafe(8);
    first.writeBigUInt64BE(BigInt(start), 0);
    const hashes = list.hashes.subarray(start * HASH, Math.min(start + LISTED, count) * HASH);
    await writeFrame(stream, frames.list, first, hashes);
  }
}

/**
 * What the receiver says. Read all the time: a channel that nobody reads from does not tell that it was closed. It says
 * no more than an opening and an answer a group.
 */
class Inbox {
  private readonly frames: Frame[] = [];
  private over = false;
  private wake: () => void = () => undefined;

  constructor(stream: Duplex) {
    void this.fill(stream);
  }

  /** The next one if it is of that type; undefined: it is not, or the receiver is gone. */
  async next(type?: number): Promise<Frame | undefined> {
    while (this.frames.length === 0 && !this.over)
      await new Promise<void>((resolve) => (this.wake = resolve));
    const frame = this.frames.shift();
    return frame?.type === type ? frame : undefined;
  }

  private async fill(stream: Duplex): Promise<void> {
    try {
      for await (const frame of readFrames(stream)) {
        this.frames.push(frame);
        if (this.frames.length > MOST_UNREAD) break;
        this.wake();
      }
    } catch (error) {
      // Whoever sends is told by its own write; an end of any kind is the end of what is said.
      if (!(error instanceof OffshootError)) throw error;
    } finally {
      this.over = true;
      this.wake();
    }
  }
}

async function refuse(stream: Duplex, code: Failure['code']): Promise<void> {
  await writeJson(stream, frames.fail, { code });
  stream.end();
}

const sendFailure = (error: unknown): Failure['code'] =>
  error instanceof Error && 'code' in error && error.code === 'EIO' ? 'unreadable' : 'gone';

/** Waits as long as sending so many bytes may take. */
function pace(bytesPerSecond: number | undefined): (bytes: number) => Promise<void> {
  if (bytesPerSecond === undefined) return () => Promise.resolve();
  let due = performance.now();
  return async (bytes) => {
    due = Math.max(due, performance.now() - 50) + (bytes / bytesPerSecond) * 1000;
    const wait = due - performance.now();
    if (wait > 2) await sleep(wait);
  };
}

class Sender {
  private readonly packer = new Packer();
  private readonly spare: Buffer[] = [];
  private readonly gone: Promise<never>;

  constructor(
    private readonly stream: Duplex,
    private readonly file: FileHandle,
    private readonly held: Held,
    private readonly list: BlockList | undefined,
    private readonly paced: (bytes: number) => Promise<void>,
  ) {
    this.gone = new Promise((_resolve, reject) => {
      stream.once('close', () => reject(new Error('the receiver went away')));
    });
    this.gone.catch(() => undefined); // whoever waits for it is told
  }

  async sendAll(from: number): Promise<void> {
    let piece = this.piece(from);
    for (let offset = from; offset < this.held.bytes;) {
      const frame = await piece;
      const next = offset + frame.length - DATA_FRONT;
      // Read while this one is sent.
      piece = this.piece(next);
      piece.catch(() => undefined); // awaited in its turn
      await this.send(offset, frame);
      offset = next;
    }
    await piece;
  }

  /** What follows at the offset, as soon as any of it is there. Nothing at the end. */
  private async piece(offset: number): Promise<Buffer> {
    if (offset >= this.held.bytes) return Buffer.alloc(DATA_FRONT);
    return this.read(offset, Math.min(PIECE, (await this.reach(offset)) - offset));
  }

  /** The blocks that the answer names, each as soon as it is there. */
  async sendTaken(answer: () => Promise<Buffer | undefined>): Promise<void> {
    const take = await answer();
    if (!take || take.length < 8) throw new Error('the receiver went away');
    const first = Number(take.readBigUInt64BE(0));
    const last = blocksIn(this.held.bytes);
    const isTaken = (block: number): boolean =>
      block < last && ((take[8 + ((block - first) >> 3)] ?? 0) & (1 << ((block - first) & 7))) !== 0;
    const following = (block: number): { offset: number; frame: Promise<Buffer> } | undefined => {
      let start = block;
      while (start < last && !isTaken(start)) start++;
      if (start >= last) return undefined;
      let end = start + 1;
      while (end - start < PIECE / BLOCK && isTaken(end)) end++;
      const offset = start * BLOCK;
      const frame = this.whole(offset, Math.min(end * BLOCK, this.held.bytes));
      frame.catch(() => undefined); // awaited in its turn
      return { offset, frame };
    };
    for (let now = following(first); now;) {
      const frame = await now.frame;
      const next = following(Math.ceil((now.offset + frame.length - DATA_FRONT) / BLOCK));
      await this.send(now.offset, frame);
      now = next;
    }
  }

  private async whole(offset: number, end: number): Promise<Buffer> {
    while ((await this.reach(end - 1)) < end);
    return this.read(offset, end - offset);
  }

  /** Hashes of one group after the other, a few ahead, and the blocks that the answers name. */
  async sendWanted(from: number, answer: () => Promise<Buffer | undefined>): Promise<void> {
    const blocks = Math.ceil(this.held.bytes / BLOCK);
    let asked = Math.floor(from / BLOCK);
    let answered = asked;
    while (answered < blocks) {
      while (asked < blocks && asked - answered < AHEAD * GROUP) asked += await this.offer(asked, blocks);
      const want = await answer();
      if (!want) throw new Error('the receiver went away');
      const start = Number(want.readBigUInt64BE(0));
      if (start !== answered || start + want.length - 8 > asked)
        throw new Error('the receiver answers what was not asked');
      await this.sendBlocks(start, want.subarray(8));
      answered += want.length - 8;
    }
  }

  /** Blocks that follow each other travel together. */
  private async sendBlocks(start: number, wanted: Buffer): Promise<void> {
    for (let at = 0; at < wanted.length; at++) {
      if (wanted[at] !== 1) continue;
      let end = at + 1;
      while (end < wanted.length && wanted[end] === 1 && end - at < PIECE / BLOCK) end++;
      const offset = (start + at) * BLOCK;
      const length = Math.min((end - at) * BLOCK, this.held.bytes - offset);
      await this.send(offset, await this.read(offset, length));
      at = end - 1;
    }
  }

  /** Sends the hashes of a group. Resolves to its number of blocks. */
  private async offer(start: number, blocks: number): Promise<number> {
    const count = Math.min(GROUP, blocks - start);
    const first = start * BLOCK;
    const length = Math.min(count * BLOCK, this.held.bytes - first);
    while ((await this.reach(first + length - 1)) < first + length);
    const hashes = Buffer.allocUnsafe(8 + count * 32);
    hashes.writeBigUInt64BE(BigInt(start), 0);
    // Checked when the blocks arrived; the receiver checks its own.
    const known =
      this.list?.hashes.subarray(start * HASH, (start + count) * HASH) ?? this.held.hashes?.(start, count);
    if (known) known.copy(hashes, 8);
    else {
      const content = (await this.read(first, length)).subarray(DATA_FRONT);
      for (let at = 0; at < count; at++)
        hashOf(content.subarray(at * BLOCK, Math.min((at + 1) * BLOCK, length))).copy(hashes, 8 + at * 32);
    }
    await writeFrame(this.stream, frames.hashes, hashes);
    return count;
  }

  private async send(offset: number, frame: Buffer): Promise<void> {
    const content = frame.subarray(DATA_FRONT);
    await this.paced(content.length);
    const { packing, bytes } = await this.packer.pack(content);
    const packed = bytes === content ? frame : Buffer.concat([Buffer.allocUnsafe(DATA_FRONT), bytes]);
    await this.packer.timed(bytes.length, () =>
      writeData(this.stream, packed, { offset, packing }, () => this.release(frame)),
    );
  }

  private release(frame: Buffer): void {
    if (frame.buffer.byteLength === FRAME) this.spare.push(Buffer.from(frame.buffer));
  }

  /** With room before it for a data frame's front. */
  private async read(offset: number, length: number): Promise<Buffer> {
    // Used again and again: of new ones the garbage collector has more to do than the rest of the worker.
    const whole = length <= PIECE ? (this.spare.pop() ?? Buffer.from(new ArrayBuffer(FRAME))) : undefined;
    const frame = whole?.subarray(0, DATA_FRONT + length) ?? Buffer.allocUnsafe(DATA_FRONT + length);
    for (let done = 0; done < length;) {
      const { bytesRead } = await this.file.read(frame, DATA_FRONT + done, length - done, offset + done);
      if (bytesRead === 0) throw new Error('the file is shorter than it was');
      done += bytesRead;
    }
    return frame;
  }

  /** As `Held.reach`; says now and then that it still waits. */
  private reach(offset: number): Promise<number> {
    const reached = this.held.reach(offset);
    reached.catch(() => undefined); // awaited below
    return sayingSo(this.stream, Promise.race([reached, this.gone]));
  }
}
