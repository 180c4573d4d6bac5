/**
 * A reading client of the NBD protocol: newstyle handshake, simple replies.
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
 */
import type { Duplex } from 'node:stream';
import { OffshootError } from '../errors.ts';

const GREETING = 0x4e42444d41474943n; // NBDMAGIC
const OPTION = 0x49484156454f5054n; // IHAVEOPT
const OPTION_REPLY = 0x3e889045565a9n;
const REQUEST = 0x25609513;
const REPLY = 0x67446698;
const OPT_GO = 7;
const [REP_ACK, REP_INFO] = [1, 3];
const INFO_EXPORT = 0;
/** Fixed newstyle, and no padding of zeroes at the end of the handshake. */
const FLAGS = 3;
const [CMD_READ, CMD_DISC] = [0, 2];
/** No honest option reply is longer, bytes. */
const MAX_OPTION_REPLY = 65_536;

export interface NbdReader {
  /** Of the disk as the guest sees it, bytes. */
  readonly sizeBytes: number;
  /** Exactly those bytes. Several reads may be under way at once. Rejects with `source-unreadable`. */
  read(offset: number, length: number): Promise<Buffer>;
  /** Says goodbye and closes the stream. Reads under way reject. */
  close(): void;
}

/** Negotiates the server's default export. Rejects with `source-unreadable` when it is none of an NBD server. */
export async function openNbd(stream: Duplex): Promise<NbdReader> {
  const take = inlet(stream);
  const greeting = await take(18);
  if (greeting.readBigUInt64BE(0) !== GREETING || greeting.readBigUInt64BE(8) !== OPTION)
    throw broken('it greets as no NBD server');
  stream.write(goRequest());
  return reader(stream, take, await exportSize(take));
}

/** Client flags, then NBD_OPT_GO for the export without a name, asking for no further information. */
function goRequest(): Buffer {
  const request = Buffer.alloc(26);
  request.writeUInt32BE(FLAGS, 0);
  request.writeBigUInt64BE(OPTION, 4);
  request.writeUInt32BE(OPT_GO, 12);
  request.writeUInt32BE(6, 16); // length of what follows: name's length (u32) and number of informations (u16), both 0
  return request;
}

async function exportSize(take: Take): Promise<number> {
  let size: number | undefined;
  for (;;) {
    const head = await take(20);
    const [type, length] = [head.readUInt32BE(12), head.readUInt32BE(16)];
    if (head.readBigUInt64BE(0) !== OPTION_REPLY || length > MAX_OPTION_REPLY)
      throw broken('its answer can’t be read');
    const data = await take(length);
    if (type === REP_INFO && length >= 10 && data.readUInt16BE(0) === INFO_EXPORT)
      size = Number(data.readBigUInt64BE(2));
    else if (type === REP_ACK) break;
    else if (type !== REP_INFO) throw broken(`it refuses the export (${type.toString(16)})`);
  }
  if (size === undefined) throw broken('it gives no size');
  return size;
}

function reader(stream: Duplex, take: Take, sizeBytes: number): NbdReader {
  const waiting = new Map<
    bigint,
    { length: number; resolve: (data: Buffer) => void; reject: (e: Error) => void }
  >();
  let handle = 0n;
  let receiving = false;
  let failure: Error | undefined;
  const receive = async (): Promise<void> => {
    receiving = true;
    try {
      while (waiting.size > 0) {
        const head = await take(16);
        const [error, of] = [head.readUInt32BE(4), head.readBigUInt64BE(8)];
        const read = waiting.get(of);
        if (head.readUInt32BE(0) !== REPLY || !read) throw broken('its reply can’t be read');
        const data = error === 0 ? await take(read.length) : undefined;
        waiting.delete(of);
        if (data) read.resolve(data);
        else read.reject(broken(`it can’t read the disk (error ${error})`));
      }
    } catch (thrown) {
      failure = thrown instanceof Error ? thrown : new Error(String(thrown));
      for (const { reject } of waiting.values()) reject(failure);
      waiting.clear();
    } finally {
      receiving = false;
    }
  };
  return {
    sizeBytes,
    read: (offset, length) =>
      new Promise((resolve, reject) => {
        if (failure) {
          reject(failure);
          return;
        }
        const own = handle++;
        waiting.set(own, { length, resolve, reject });
        stream.write(request(CMD_READ, own, offset, length));
        if (!receiving) void receive();
      }),
    close() {
      if (!stream.destroyed) stream.write(request(CMD_DISC, handle++, 0, 0));
      stream.destroy();
    },
  };
}

function request(type: number, handle: bigint, offset: number, length: number): Buffer {
  const buffer = Buffer.alloc(28);
  buffer.writeUInt32BE(REQUEST, 0);
  buffer.writeUInt16BE(type, 6);
  buffer.writeBigUInt64BE(handle, 8);
  buffer.writeBigUInt64BE(BigInt(offset), 16);
  buffer.writeUInt32BE(length, 24);
  return buffer;
}

type Take = (length: number) => Promise<Buffer>;

/** Takes exactly so many bytes off the stream; one caller at a time. */
function inlet(stream: Duplex): Take {
  const chunks: Buffer[] = [];
  let held = 0;
  let failure: Error | undefined;
  let wake: () => void = () => undefined;
  const fail = (error: Error): void => {
    failure ??= error;
    wake();
  };
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    held += chunk.length;
    wake();
  });
  stream.on('error', (error) => fail(broken(error.message, error)));
  stream.on('close', () => fail(broken('its connection was closed')));
  return async (length) => {
    for (;;) {
      if (held >= length) break;
      if (failure) throw failure;
      await new Promise<void>((resolve) => (wake = resolve));
    }
    const parts: Buffer[] = [];
    for (let missing = length; missing > 0;) {
      const chunk = chunks[0];
      if (!chunk) break;
      if (chunk.length <= missing) chunks.shift();
      else chunks[0] = chunk.subarray(missing);
      const part = chunk.subarray(0, missing);
      parts.push(part);
      missing -= part.length;
    }
    held -= length;
    return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts, length);
  };
}

const broken = (why: string, cause?: unknown): OffshootError =>
  new OffshootError('source-unreadable', {
    publicMessage: `The disk can’t be read through qemu-nbd: ${why}.`,
    remedy: 'Try again; if it stays, look at the disk with qemu-img check.',
    retryable: true,
    cause,
  });
