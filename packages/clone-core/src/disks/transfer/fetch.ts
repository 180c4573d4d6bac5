/**
 * The receiving side: one file from whoever has it, block after block from the first to the last, so that what is there
 * is always a beginning of the file. A cut connection goes on where it was, a crash begins with what was written.
 */
import { createHash, type Hash } from 'node:crypto';
import { open, stat, type FileHandle } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { OffshootError, toOffshootError } from '../../errors.ts';
import { fileError } from '../../shell/failures.ts';
import {
  BLOCK,
  closed,
  frames,
  readFrames,
  writeFrame,
  writeJson,
  type Failure,
  type Frame,
  type Head,
} from './frames.ts';
import { hashOf, isZeroHash, KnownBlocks } from './known-blocks.ts';
import { unpacked } from './packing.ts';
import type { Incoming } from './receiving.ts';

/** A sender that says nothing for so long is given up, milliseconds. */
const SILENCE_MS = 5000;
/** One that waits itself and sends no data for so long too, when there is another. */
const STALL_MS = 30_000;
/** A host that is to have the file soon (it receives it before us) is asked again for so long, milliseconds. */
const SOON_MS = 15_000;
const AGAIN_MS = 250;
/** With nobody to get it from, this long before it fails, milliseconds. */
const PATIENCE_MS = 10 * 60_000;
/** Written data is made durable this often, bytes. */
const SYNC_EVERY = 64 * 1024 ** 2;

export interface Source {
  hostId: string;
  name: string;
}

export interface FetchedFile {
  base: string;
  file: string;
  /** sha256 that it must have, hex; undefined: taken as it comes. */
  digest?: string;
  /** Where it is written. */
  to: string;
}

export interface FetchParts {
  /** In order of preference. */
  sources: readonly Source[];
  connect: (source: Source, signal: AbortSignal) => Promise<Duplex>;
  /** Older bases here that may share blocks with it; looked through only when needed. */
  older: readonly string[];
  incoming: Incoming;
  /** Makes what was written durable. Throws when the work is not ours any more. */
  sync: (path: string) => Promise<void>;
  report: (doneBytes: number, totalBytes: number | undefined, note: string) => void;
  log: (line: string) => void;
  bytesPerSecond?: number;
  signal: AbortSignal;
}

export interface Fetched {
  digest: string;
  bytes: number;
  /** Content that came over the network, bytes; before compression. */
  receivedBytes: number;
  /** Content that was here already. */
  reusedBytes: number;
  from: string[];
  interruptions: number;
  /** Hosts whose copy is not what its digest says. */
  damaged: string[];
}

/** @throws OffshootError `host-unreachable` (retryable), `source-unreadable` when every copy is damaged. */
export async function fetchFile(wanted: FetchedFile, parts: FetchParts): Promise<Fetched> {
  const before = await stat(wanted.to).catch(missing);
  const known = new KnownBlocks();
  const handle = await open(wanted.to, before ? 'r+' : 'w+', 0o600);
  const fetching = new Fetching(wanted, parts, handle, known);
  try {
    const begun = before !== undefined && before.size > 0 ? [wanted.to] : [];
    await fetching.lookThrough([...begun, ...parts.older]);
    return await fetching.run();
  } finally {
    await handle.close();
    await known.close();
  }
}

const missing = (error: unknown): undefined => {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
};

class Fetching {
  /** As the senders say. */
  private bytes = -1;
  private position = 0;
  private hash: Hash = createHash('sha256');
  private received = 0;
  private reused = 0;
  private interruptions = 0;
  private synced = 0;
  private dataAt = performance.now();
  private readonly from = new Set<string>();
  /** Hosts whose bytes once did not have the right digest. */
  private readonly wrong = new Set<string>();
  private readonly damaged: string[] = [];
  private readonly refusing = new Set<string>();
  private ownFailure: OffshootError | undefined;
  private syncing: Promise<void> = Promise.resolve();

  constructor(
    private readonly wanted: FetchedFile,
    private readonly parts: FetchParts,
    private readonly file: FileHandle,
    private readonly known: KnownBlocks,
  ) {}

  async lookThrough(paths: readonly string[]): Promise<void> {
    for (const path of paths)
      await this.known.add(path, this.parts.signal, () => this.report('looking at what is here already'));
  }

  async run(): Promise<Fetched> {
    const { wanted } = this;
    for (;;) {
      const last = await this.fetchOnce();
      const digest = this.hash.digest('hex');
      if (wanted.digest === undefined || digest === wanted.digest) {
        await this.syncing;
        await this.file.truncate(this.bytes);
        await this.parts.sync(wanted.to);
        const { bytes, received: receivedBytes, reused: reusedBytes, interruptions, damaged } = this;
        return { digest, bytes, receivedBytes, reusedBytes, from: [...this.from], interruptions, damaged };
      }
      // Either it changed on the way, or that host's own copy is not what it was: its hashes tell which.
      await this.beginAgain(last);
    }
  }

  /** All of it once, from whoever gives it. Resolves to who gave the last of it. */
  private async fetchOnce(): Promise<Source> {
    const { signal, connect, log } = this.parts;
    this.dataAt = performance.now();
    let soonUntil = performance.now() + SOON_MS;
    let lastError: OffshootError | undefined;
    for (let turn = 0; ; turn++) {
      const sources = this.usable();
      const source = sources[turn % sources.length];
      if (!source) throw this.allDamaged();
      signal.throwIfAborted();
      let stream: Duplex | undefined;
      try {
        stream = await connect(source, signal);
        await this.receive(stream, source, sources.length > 1);
        return source;
      } catch (thrown) {
        const error = toOffshootError(signal.aborted ? signal.reason : thrown);
        if (signal.aborted || this.ownFailure) throw this.ownFailure ?? error;
        if (!error.retryable) {
          // It will not let us in next time either.
          this.refusing.add(source.hostId);
          if (this.usable().length === 0) throw error;
        }
        if (error !== lastError) log(`${source.name}: ${error.publicMessage}`);
        lastError = error;
        if (error.code === 'not-found') {
          // The host before us in the chain may not have begun yet.
          if (turn % sources.length === 0 && performance.now() < soonUntil) turn--;
        } else {
          this.interruptions++;
          soonUntil = performance.now() + SOON_MS;
        }
        if (performance.now() - this.dataAt > PATIENCE_MS) throw error;
        this.report(`waiting for ${source.name}`);
        await sleep(AGAIN_MS, undefined, { signal }).catch(() => undefined);
      } finally {
        stream?.destroy();
      }
    }
  }

  private report(note: string): void {
    this.parts.report(this.position, this.bytes < 0 ? undefined : this.bytes, note);
  }

  private usable(): Source[] {
    return this.parts.sources.filter(
      ({ hostId }) => !this.damaged.includes(hostId) && !this.refusing.has(hostId),
    );
  }

  private async receive(stream: Duplex, source: Source, others: boolean): Promise<void> {
    const { wanted, parts } = this;
    const byHash = this.known.size > 0;
    const from = this.position;
    const watch = new Watch(stream, others);
    const abort = (): void => void stream.destroy();
    parts.signal.addEventListener('abort', abort, { once: true });
    try {
      await writeJson(stream, frames.open, {
        base: wanted.base,
        file: wanted.file,
        from,
        byHash,
        ...(parts.bytesPerSecond === undefined ? {} : { bytesPerSecond: parts.bytesPerSecond }),
      });
      const group = new Group();
      for await (const frame of readFrames(stream)) {
        watch.heard(frame.type === frames.data || frame.type === frames.hashes);
        if (frame.type === frames.end) break;
        await this.take(frame, source, stream, group);
      }
      if (this.position < this.bytes) throw watch.reason ?? closed('it ended before the file did');
    } catch (thrown) {
      throw watch.reason ?? thrown;
    } finally {
      watch.stop();
      parts.signal.removeEventListener('abort', abort);
    }
  }

  private async take(frame: Frame, source: Source, stream: Duplex, group: Group): Promise<void> {
    const { type, body } = frame;
    if (type === frames.fail) throw failureOf((JSON.parse(body.toString('utf8')) as Failure).code, source);
    if (type === frames.head) {
      const { bytes } = JSON.parse(body.toString('utf8')) as Head;
      if (!Number.isSafeInteger(bytes) || bytes < 0) throw closed('it sends what can’t be read');
      if (this.bytes >= 0 && bytes !== this.bytes) this.otherLength(source);
      this.bytes = bytes;
      this.parts.incoming.size(bytes);
    } else if (type === frames.hashes) {
      // Blocks of the group before are all here: they come in the order in which they were asked for.
      await this.decide(body, stream, group);
    } else if (type === frames.data) {
      const offset = Number(body.readBigUInt64BE(0));
      const content = await unpacked(body.readUInt8(8), frame.content, BLOCK * 256);
      this.from.add(source.name);
      this.received += lengthOf(content);
      if (group.open) await this.fill(group, offset, Buffer.concat(content));
      else await this.append(offset, content);
      this.report(`from ${source.name}`);
    }
  }

  /** A copy of another length than the one before: one of the two is damaged, and the digest will tell which. */
  private otherLength(source: Source): void {
    if (this.position === 0) return;
    this.damaged.push(source.hostId);
    throw closed(`its file has another length than that of ${[...this.from].join(' and ')}`);
  }

  /** Which blocks of a group are here, and asks for the rest. */
  private async decide(body: Buffer, stream: Duplex, group: Group): Promise<void> {
    const start = Number(body.readBigUInt64BE(0));
    const count = (body.length - 8) / 32;
    const want = Buffer.alloc(8 + count);
    want.writeBigUInt64BE(BigInt(start), 0);
    // Side by side: one after the other each read would wait for the one before.
    const blocks = await Promise.all(
      Array.from({ length: count }, async (_, at): Promise<Slot> => {
        const offset = (start + at) * BLOCK;
        const length = Math.min(BLOCK, this.bytes - offset);
        const hash = body.subarray(8 + at * 32, 8 + (at + 1) * 32);
        const content = isZeroHash(hash, length) ? Buffer.alloc(length) : await this.known.read(hash, length);
        if (!content) want.writeUInt8(1, 8 + at);
        return { offset, length, hash, content };
      }),
    );
    this.parts.incoming.hashes(start, body.subarray(8));
    group.add(blocks);
    await writeFrame(stream, frames.want, want);
    await this.settle(group);
  }

  private async fill(group: Group, offset: number, content: Buffer): Promise<void> {
    for (let at = 0; at < content.length; at += BLOCK) {
      const block = content.subarray(at, Math.min(at + BLOCK, content.length));
      group.put(offset + at, block);
    }
    await this.settle(group);
  }

  /** Writes what is there of the group from its beginning on. */
  private async settle(group: Group): Promise<void> {
    const ready = group.takeReady();
    const [first] = ready;
    if (!first) return;
    for (const { content, fetched } of ready) if (!fetched) this.reused += content.length;
    // They follow each other: one write.
    await this.append(
      first.offset,
      ready.map(({ content }) => content),
    );
  }

  private async append(offset: number, content: Buffer[]): Promise<void> {
    const length = lengthOf(content);
    if (offset !== this.position || offset + length > this.bytes)
      throw closed('it sends what was not asked for');
    await this.locally(async () => {
      const { bytesWritten } = await this.file.writev(content, offset);
      if (bytesWritten < length) await writeRest(this.file, content, offset, bytesWritten);
    });
    for (const piece of content) this.hash.update(piece);
    this.position += length;
    this.dataAt = performance.now();
    this.parts.incoming.advance(this.position);
    if (this.position - this.synced < SYNC_EVERY) return;
    this.synced = this.position;
    // While more comes: a link that waits for the disk does not catch up. One at a time, so that the disk sets the pace.
    await this.syncing;
    this.syncing = this.locally(() => this.parts.sync(this.wanted.to));
    this.syncing.catch(() => undefined); // told by whoever waits for it next
  }

  /** What fails here fails with every source. */
  private async locally(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      const errno = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
      this.ownFailure =
        thrown instanceof OffshootError
          ? thrown
          : fileError(errno, this.wanted.to, 'the host that receives it', thrown);
      throw this.ownFailure;
    }
  }

  /**
   * The digest is another one. What is here is compared with that host's hashes; when it then is that host's content and
   * still not the right one, its copy is damaged, and what differs is taken from another.
   */
  private async beginAgain(source: Source): Promise<void> {
    const again = this.wrong.has(source.hostId);
    this.wrong.add(source.hostId);
    if (again) this.damaged.push(source.hostId);
    this.parts.log(
      again
        ? `The copy on ${source.name} is damaged: it does not have the digest it was sealed with.`
        : `What came from ${source.name} does not have the right digest; comparing it block by block.`,
    );
    if (this.usable().length === 0) throw this.allDamaged();
    this.position = 0;
    this.hash = createHash('sha256');
    this.synced = 0;
    this.reused = 0;
    await this.file.truncate(this.bytes);
    await this.known.close();
    await this.lookThrough([this.wanted.to]);
  }

  private allDamaged(): OffshootError {
    const names = this.parts.sources
      .filter(({ hostId }) => this.damaged.includes(hostId))
      .map(({ name }) => name)
      .join(', ');
    return new OffshootError('source-unreadable', {
      publicMessage: `The base is damaged on ${names || 'every host that has it'}: its files do not have the digest they were sealed with. Nothing of it was kept here.`,
      remedy: 'Make a new version of the template, or put the files back from a backup.',
      context: { damaged: this.damaged, digest: this.wanted.digest },
    });
  }
}

const lengthOf = (pieces: readonly Buffer[]): number => pieces.reduce((sum, piece) => sum + piece.length, 0);

/** A write that was cut short (a full disk, a signal) goes on, or fails by itself. */
async function writeRest(
  file: FileHandle,
  pieces: readonly Buffer[],
  offset: number,
  from: number,
): Promise<void> {
  const whole = Buffer.concat(pieces);
  for (let at = from; at < whole.length;) {
    const { bytesWritten } = await file.write(whole, at, whole.length - at, offset + at);
    at += bytesWritten;
  }
}

interface Slot {
  offset: number;
  length: number;
  hash: Buffer;
  content: Buffer | undefined;
}

/** Blocks that were decided on and are not written yet, in the order of the file. */
class Group {
  private slots: (Slot & { fetched?: boolean })[] = [];
  open = false;

  add(blocks: readonly Slot[]): void {
    this.open = true;
    this.slots.push(...blocks);
  }

  put(offset: number, content: Buffer): void {
    const slot = this.slots.find((each) => each.offset === offset);
    if (!slot || slot.length !== content.length || !hashOf(content).equals(slot.hash))
      throw closed('it sends another block than it announced');
    slot.content = content;
    slot.fetched = true;
  }

  takeReady(): { offset: number; content: Buffer; fetched: boolean }[] {
    const ready: { offset: number; content: Buffer; fetched: boolean }[] = [];
    let count = 0;
    for (const { offset, content, fetched } of this.slots) {
      if (!content) break;
      ready.push({ offset, content, fetched: fetched === true });
      count++;
    }
    this.slots = this.slots.slice(count);
    return ready;
  }
}

/** Ends a connection on which nothing comes. */
class Watch {
  reason: OffshootError | undefined;
  private heardAt = performance.now();
  private dataAt = performance.now();
  private readonly timer: NodeJS.Timeout;

  constructor(stream: Duplex, others: boolean) {
    this.timer = setInterval(() => {
      const now = performance.now();
      if (now - this.heardAt > SILENCE_MS) this.reason = closed('nothing came for 5 seconds');
      else if (others && now - this.dataAt > STALL_MS) this.reason = closed('it waits itself for too long');
      if (this.reason) stream.destroy();
    }, 500);
  }

  heard(isData: boolean): void {
    this.heardAt = performance.now();
    if (isData) this.dataAt = this.heardAt;
  }

  stop(): void {
    clearInterval(this.timer);
  }
}

function failureOf(code: Failure['code'], source: Source): OffshootError {
  switch (code) {
    case 'absent':
      return new OffshootError('not-found', {
        publicMessage: `${source.name} does not have the base (yet).`,
        retryable: true,
      });
    case 'gone':
      return closed('it stopped receiving the base itself');
    case 'unreadable':
      return new OffshootError('host-unreachable', {
        publicMessage: `${source.name} can’t read its copy of the base.`,
        retryable: true,
      });
  }
}
