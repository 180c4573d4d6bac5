/** A file as it arrives: written from the first byte to the last, synced while more comes, told to who passes it on. */
import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { OffshootError } from '../../errors.ts';
import { fileError } from '../../shell/failures.ts';
import { closed } from './frames.ts';
import type { Incoming } from './receiving.ts';

/** Written data is made durable this often, bytes. */
const SYNC_EVERY = 64 * 1024 ** 2;

export class Landing {
  /** As the senders say; -1: not known yet. */
  bytes = -1;
  /** What is before it is here. */
  position = 0;
  /** When something was last written, as performance.now(). */
  at = performance.now();
  /** What failed here fails with every source. */
  failure: OffshootError | undefined;
  private hash: Hash | undefined = createHash('sha256');
  private synced = 0;
  private syncing: Promise<void> = Promise.resolve();

  constructor(
    readonly file: FileHandle,
    private readonly path: string,
    private readonly incoming: Incoming,
    private readonly sync: (path: string) => Promise<void>,
  ) {}

  /** From now on each block is checked by itself: the whole need not be hashed too. */
  checkedByBlocks(): void {
    this.hash = undefined;
  }

  /** What follows. `there`: it is in the file already. Throws `host-unreachable` when something else comes. */
  async append(offset: number, content: readonly Buffer[], there = false): Promise<void> {
    const length = lengthOf(content);
    if (offset !== this.position || offset + length > this.bytes)
      throw closed('it sends what was not asked for');
    if (!there)
      await this.locally(async () => {
        const { bytesWritten } = await this.file.writev(content, offset);
        if (bytesWritten < length) await writeRest(this.file, content, offset, bytesWritten);
      });
    if (this.hash) for (const piece of content) this.hash.update(piece);
    this.position += length;
    this.at = performance.now();
    this.incoming.advance(this.position);
    if (this.position - this.synced < SYNC_EVERY) return;
    this.synced = this.position;
    // While more comes: a link that waits for the disk does not catch up. One at a time, so that the disk sets the pace.
    await this.syncing;
    this.syncing = this.locally(() => this.sync(this.path));
    this.syncing.catch(() => undefined); // told by whoever waits for it next
  }

  /** sha256 of the whole; undefined: each block was checked. */
  digest(): string | undefined {
    return this.hash?.digest('hex');
  }

  /** Makes it durable at its length. */
  async finish(): Promise<void> {
    await this.syncing;
    await this.file.truncate(this.bytes);
    await this.sync(this.path);
  }

  async beginAgain(): Promise<void> {
    this.position = 0;
    this.hash = createHash('sha256');
    this.synced = 0;
    await this.file.truncate(this.bytes);
  }

  private async locally(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      const errno = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
      this.failure =
        thrown instanceof OffshootError
          ? thrown
          : fileError(errno, this.path, 'the host that receives it', thrown);
      throw this.failure;
    }
  }
}

export const lengthOf = (pieces: readonly Buffer[]): number =>
  pieces.reduce((sum, piece) => sum + piece.length, 0);

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
