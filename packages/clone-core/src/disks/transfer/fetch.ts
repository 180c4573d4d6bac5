/**
 * The receiving side: one file from whoever has it, block after block from the first to the last, so that what is there
 * is always a beginning of the file. A cut connection goes on where it was, a crash begins with what was written.
 */
import { chmod, constants, copyFile, open, rm, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { OffshootError, toOffshootError } from '../../errors.ts';
import { readThrough, rootOf, type BlockList } from './block-list.ts';
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
import { Group, type Slot } from './group.ts';
import { isZeroHash, KnownBlocks } from './known-blocks.ts';
import { Landing, lengthOf } from './landing.ts';
import { Gathering, Listed } from './listed.ts';
import { unpacked } from './packing.ts';
import type { Incoming } from './receiving.ts';
import { Watch } from './watch.ts';

/** A host that is to have the file soon (it receives it before us) is asked again for so long, milliseconds. */
const SOON_MS = 15_000;
const AGAIN_MS = 100;
/** With nobody to get it from, this long before it fails, milliseconds. */
const PATIENCE_MS = 10 * 60_000;

export interface Source {
  hostId: string;
  name: string;
}

export interface FetchedFile {
  base: string;
  file: string;
  /** sha256 that it must have, hex; undefined: taken as it comes. */
  digest?: string;
  /** What names the list of its blocks (`rootOf`); with `digest` only, and as much to be trusted as that. */
  blocks?: string;
  /** Where it is written. */
  to: string;
}

export interface FetchParts {
  /** In order of preference. */
  sources: readonly Source[];
  connect: (source: Source, signal: AbortSignal) => Promise<Duplex>;
  /** Older bases here that may share blocks with it, and what is in one. */
  older: readonly string[];
  listOf: (path: string, onBytes: (bytes: number) => void) => Promise<BlockList>;
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
  /** When its blocks were checked by it. */
  list?: BlockList;
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
  const begun = before !== undefined && before.size > 0;
  const shared = before || wanted.blocks === undefined ? undefined : await shareWith(parts.older, wanted);
  const handle = await open(wanted.to, before || shared !== undefined ? 'r+' : 'w+', 0o600);
  const fetching = new Fetching(
    wanted,
    parts,
    new Landing(handle, wanted.to, parts.incoming, parts.sync),
    known,
  );
  try {
    for (const path of parts.older) await fetching.know(path, path === shared);
    // Last: what is in the file itself is written over as it comes.
    if (begun) await fetching.lookThrough();
    return await fetching.run();
  } finally {
    await handle.close();
    await known.close();
  }
}

/**
 * Where the filesystem shares blocks, the file begins as a copy of the older version that shares them all: what stays is
 * neither written nor stored again. Resolves to the path of that version.
 */
async function shareWith(older: readonly string[], { file, to }: FetchedFile): Promise<string | undefined> {
  const from = older.find((path) => basename(path) === file);
  if (from === undefined) return undefined;
  try {
    await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
    await chmod(to, 0o600);
    return from;
  } catch (error) {
    // What it can't do it says in several ways; a store that is full or broken says so again at the first write.
    if (!(error instanceof Error && 'code' in error)) throw error;
    await rm(to, { force: true });
    return undefined;
  }
}

/** A file of gigabytes may be being read for it, also for others: that goes on. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => reject(toOffshootError(signal.reason));
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

const missing = (error: unknown): undefined => {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
};

class Fetching {
  private received = 0;
  private reused = 0;
  private interruptions = 0;
  private readonly from = new Set<string>();
  /** Hosts whose bytes once were not what they should be. */
  private readonly wrong = new Set<string>();
  private readonly damaged: string[] = [];
  private readonly refusing = new Set<string>();
  /** Once the list of blocks is here: every block is checked by it. */
  private listed: Listed | undefined;
  /** What the file was when it was begun. */
  private began: BlockList | undefined;

  constructor(
    private readonly wanted: FetchedFile,
    private readonly parts: FetchParts,
    private readonly landing: Landing,
    private readonly known: KnownBlocks,
  ) {}

  /** Reads what was written of it, to keep what is right. */
  async lookThrough(): Promise<void> {
    const { to } = this.wanted;
    await this.takeIn(to, await readThrough(to, this.parts.signal, () => this.looking()), true);
  }

  /** `shared`: the file that is written began as this one. */
  async know(path: string, shared: boolean): Promise<void> {
    const { listOf, signal } = this.parts;
    const list = await orAborted(
      listOf(path, () => signal.aborted || this.looking()),
      signal,
    );
    await this.takeIn(path, list, shared);
  }

  /** `same`: the file that is written was the same when it was begun. */
  private async takeIn(path: string, list: BlockList, same: boolean): Promise<void> {
    // A copy: what turns out not to be so is taken out of it.
    if (same) this.began = { ...list, hashes: Buffer.from(list.hashes) };
    await this.known.add(path, list);
  }

  private looking(): void {
    this.report('looking at what is here already');
  }

  async run(): Promise<Fetched> {
    const { wanted, landing } = this;
    for (;;) {
      const last = await this.fetchOnce();
      const digest = this.listed ? wanted.digest : landing.digest();
      if (digest !== undefined && (wanted.digest === undefined || digest === wanted.digest)) {
        await landing.finish();
        const { received: receivedBytes, interruptions, damaged } = this;
        return {
          digest,
          ...(this.listed ? { list: this.listed.list } : {}),
          bytes: landing.bytes,
          receivedBytes,
          reusedBytes: this.reused + (this.listed?.reused ?? 0),
          from: [...this.from],
          interruptions,
          damaged,
        };
      }
      // Either it changed on the way, or that host's own copy is not what it was: its hashes tell which.
      await this.beginAgain(last);
    }
  }

  /** All of it once, from whoever gives it. Resolves to who gave the last of it. */
  private async fetchOnce(): Promise<Source> {
    const { signal, connect, log } = this.parts;
    this.landing.at = performance.now();
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
        if (signal.aborted || this.landing.failure) throw this.landing.failure ?? error;
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
        if (performance.now() - this.landing.at > PATIENCE_MS) throw error;
        this.report(`waiting for ${source.name}`);
        await sleep(AGAIN_MS, undefined, { signal }).catch(() => undefined);
      } finally {
        stream?.destroy();
      }
    }
  }

  private report(note: string): void {
    const { position, bytes } = this.landing;
    this.parts.report(position, bytes < 0 ? undefined : bytes, note);
  }

  private usable(): Source[] {
    return this.parts.sources.filter(
      ({ hostId }) => !this.damaged.includes(hostId) && !this.refusing.has(hostId),
    );
  }

  private async receive(stream: Duplex, source: Source, others: boolean): Promise<void> {
    const { wanted, parts, landing } = this;
    const watch = new Watch(stream, others);
    const abort = (): void => void stream.destroy();
    parts.signal.addEventListener('abort', abort, { once: true });
    try {
      // What came without a list was not checked block by block: it goes on so.
      const blocks = this.listed || landing.position === 0 ? wanted.blocks : undefined;
      await writeJson(stream, frames.open, {
        base: wanted.base,
        file: wanted.file,
        from: landing.position,
        byHash: !this.listed && this.known.size > 0,
        ...(blocks === undefined ? {} : { blocks, listed: this.listed !== undefined }),
        ...(parts.bytesPerSecond === undefined ? {} : { bytesPerSecond: parts.bytesPerSecond }),
      });
      const conversation: Conversation = { stream, source, watch, group: new Group() };
      for await (const frame of readFrames(stream)) {
        watch.heard(frame.type === frames.data || frame.type === frames.hashes);
        if (frame.type === frames.end) break;
        await this.take(frame, conversation);
      }
      watch.stop();
      await this.listed?.fill(landing.bytes);
      if (landing.position < landing.bytes) throw watch.reason ?? closed('it ended before the file did');
    } catch (thrown) {
      throw watch.reason ?? thrown;
    } finally {
      watch.stop();
      parts.signal.removeEventListener('abort', abort);
    }
  }

  private async take(frame: Frame, conversation: Conversation): Promise<void> {
    const { type, body } = frame;
    const { source, group } = conversation;
    if (type === frames.fail) throw failureOf((JSON.parse(body.toString('utf8')) as Failure).code, source);
    if (type === frames.head) await this.begin(JSON.parse(body.toString('utf8')) as Head, conversation);
    else if (type === frames.list) await this.learn(body, conversation);
    else if (type === frames.hashes) {
      // Once there is a list, it alone says what belongs where.
      if (this.listed || conversation.gathering) this.notAsAnnounced(source);
      // Blocks of the group before are all here: they come in the order in which they were asked for.
      await this.decide(body, conversation);
    } else if (type === frames.data) {
      // Nothing that the list would not check comes before it.
      if (conversation.gathering && !this.listed) this.notAsAnnounced(source);
      const offset = Number(body.readBigUInt64BE(0));
      const content = await unpacked(body.readUInt8(8), frame.content, BLOCK * 256);
      this.from.add(source.name);
      this.received += lengthOf(content);
      if (this.listed) {
        if (!(await this.listed.put(offset, content))) this.notAsAnnounced(source);
      } else if (group.open) await this.fill(group, offset, Buffer.concat(content), source);
      else await this.landing.append(offset, content);
      this.report(`from ${source.name}`);
    }
  }

  private async begin(head: Head, conversation: Conversation): Promise<void> {
    const { landing, parts } = this;
    const { bytes, list } = head;
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw closed('it sends what can’t be read');
    if (landing.bytes >= 0 && bytes !== landing.bytes) this.otherLength(conversation.source);
    landing.bytes = bytes;
    if (list === 'sent') conversation.gathering = new Gathering(bytes);
    else {
      parts.incoming.size(bytes);
      if (list === 'known' && this.listed) await this.ask(this.listed, conversation);
    }
  }

  /** Part of the list of blocks: once all of it is here and is the one that was asked for, the blocks that are not are asked for. */
  private async learn(part: Buffer, conversation: Conversation): Promise<void> {
    const list = conversation.gathering?.add(part) ?? false;
    if (list === true) return;
    if (list === false || rootOf(list) !== this.wanted.blocks) this.notAsAnnounced(conversation.source);
    const { known, landing, parts, wanted } = this;
    // What is there already was not checked by it, and the whole would not be hashed any more.
    if (!this.listed && landing.position > 0) this.notAsAnnounced(conversation.source);
    this.listed = new Listed({
      list,
      known,
      landing,
      began: this.began,
      path: wanted.to,
      signal: parts.signal,
    });
    landing.checkedByBlocks();
    parts.incoming.list(list);
    parts.incoming.size(landing.bytes);
    await this.ask(this.listed, conversation);
  }

  private async ask(listed: Listed, { stream, watch }: Conversation): Promise<void> {
    listed.written = () => {
      watch.heard(true);
      this.report('from what is here already');
    };
    await writeFrame(stream, frames.take, listed.take());
  }

  /** Its copy is damaged, or that of whoever it has it from: which of the two, a second time tells. */
  private notAsAnnounced({ hostId, name }: Source): never {
    if (this.wrong.has(hostId)) this.damaged.push(hostId);
    this.wrong.add(hostId);
    this.parts.log(`${name} sends another block than it announced.`);
    throw closed('it sends another block than it announced');
  }

  /** A copy of another length than the one before: one of the two is damaged, and the digest will tell which. */
  private otherLength(source: Source): void {
    if (this.landing.position === 0 && !this.listed) return;
    this.damaged.push(source.hostId);
    throw closed(`its file has another length than that of ${[...this.from].join(' and ')}`);
  }

  /** Which blocks of a group are here, and asks for the rest. */
  private async decide(body: Buffer, { stream, group, source }: Conversation): Promise<void> {
    const start = Number(body.readBigUInt64BE(0));
    const count = (body.length - 8) / 32;
    const want = Buffer.alloc(8 + count);
    want.writeBigUInt64BE(BigInt(start), 0);
    // Side by side: one after the other each read would wait for the one before.
    const blocks = await Promise.all(
      Array.from({ length: count }, async (_, at): Promise<Slot> => {
        const offset = (start + at) * BLOCK;
        const length = Math.min(BLOCK, this.landing.bytes - offset);
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
    this.report(`from ${source.name}`);
  }

  private async fill(group: Group, offset: number, content: Buffer, source: Source): Promise<void> {
    for (let at = 0; at < content.length; at += BLOCK) {
      const block = content.subarray(at, Math.min(at + BLOCK, content.length));
      if (!group.put(offset + at, block)) this.notAsAnnounced(source);
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
    await this.landing.append(
      first.offset,
      ready.map(({ content }) => content),
    );
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
    this.reused = 0;
    await this.landing.beginAgain();
    await this.known.close();
    await this.lookThrough();
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

interface Conversation {
  stream: Duplex;
  source: Source;
  watch: Watch;
  group: Group;
  /** While its list comes. */
  gathering?: Gathering;
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
