/**
 * The digests of a file's blocks, kept beside it: whoever brings its next version here or elsewhere need not read it to know
 * what is in it. A list is believed only for exactly the file that it was made of; any other is made again.
 */
import { createHash } from 'node:crypto';
import { open, readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import type { Shell } from '../../shell/shell.ts';
import { BLOCK } from './frames.ts';

/** Length of a digest, bytes. */
export const HASH = 32;
const FORMAT = 'offshoot-blocks-1';
/** Read at once, bytes. */
const CHUNK = 1024 ** 2;

export interface BlockList {
  /** Length of the file. */
  bytes: number;
  /** sha256 of each 64 KiB from the first on, one after the other; the last block may be short. */
  hashes: Buffer;
}

/** Which file a list is of. Giving it another name or mode changes none of these, writing to it does. */
const headerSchema = z.strictObject({
  format: z.literal(FORMAT),
  block: z.literal(BLOCK),
  bytes: z.int().min(0),
  inode: z.string(),
  modifiedNs: z.string(),
});
type Header = z.infer<typeof headerSchema>;

export const listPathOf = (path: string): string => `${path}.blocks`;

/** What names a list: who trusts it can check every block by itself. Hex. */
export const rootOf = ({ hashes }: BlockList): string => createHash('sha256').update(hashes).digest('hex');

export const blocksIn = (bytes: number): number => Math.ceil(bytes / BLOCK);
export const hashAt = ({ hashes }: BlockList, block: number): Buffer =>
  hashes.subarray(block * HASH, (block + 1) * HASH);

/** Reads a file once for its own sha256 (hex) and those of its blocks. Rejects with the filesystem's error. */
export async function measure(
  path: string,
  signal: AbortSignal,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<{ digest: string; list: BlockList }> {
  const whole = createHash('sha256');
  const list = await readThrough(path, signal, onBytes, (chunk) => whole.update(chunk));
  return { digest: whole.digest('hex'), list };
}

/** Reads a file once for the digests of its blocks. `onChunk` is given all of it, in order. */
export async function readThrough(
  path: string,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
  onChunk: (chunk: Buffer) => void = () => undefined,
): Promise<BlockList> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const hashes = Buffer.allocUnsafe(blocksIn(size) * HASH);
    // One is hashed while the next is read.
    let [buffer, other] = [Buffer.allocUnsafe(CHUNK), Buffer.allocUnsafe(CHUNK)];
    const fill = async (into: Buffer, offset: number): Promise<Buffer> => {
      const length = Math.min(CHUNK, size - offset);
      for (let done = 0; done < length;) {
        const { bytesRead } = await file.read(into, done, length - done, offset + done);
        if (bytesRead === 0) throw new Error(`${path} is shorter than it was`);
        done += bytesRead;
      }
      return into.subarray(0, Math.max(0, length));
    };
    let next = fill(buffer, 0);
    for (let offset = 0; offset < size;) {
      const chunk = await next;
      signal?.throwIfAborted();
      [buffer, other] = [other, buffer];
      next = fill(buffer, offset + chunk.length);
      next.catch(() => undefined); // awaited in its turn
      onChunk(chunk);
      for (let at = 0; at < chunk.length; at += BLOCK)
        createHash('sha256')
          .update(chunk.subarray(at, at + BLOCK))
          .digest()
          .copy(hashes, ((offset + at) / BLOCK) * HASH);
      offset += chunk.length;
      onBytes(offset);
    }
    await next;
    return { bytes: size, hashes };
  } finally {
    await file.close();
  }
}

/** Keeps the list beside its file, as long as that is there. Rejects as `Shell.writeFile` does. */
export async function keepList(
  shell: Pick<Shell, 'writeFile' | 'remove'>,
  path: string,
  list: BlockList,
): Promise<void> {
  const header = Buffer.from(`${JSON.stringify(await headerOf(path))}\n`);
  const content = Buffer.concat([header, list.hashes]);
  const seal = createHash('sha256').update(content).digest();
  await shell.writeFile(listPathOf(path), Buffer.concat([content, seal]), 0o444);
  // Its base may have been removed meanwhile.
  if (!(await exists(path))) await shell.remove(listPathOf(path));
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    (error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
      throw error;
    },
  );

async function headerOf(path: string): Promise<Header> {
  const { size, ino, mtimeNs } = await stat(path, { bigint: true });
  return {
    format: FORMAT,
    block: BLOCK,
    bytes: Number(size),
    inode: String(ino),
    modifiedNs: String(mtimeNs),
  };
}

/** The list beside a file. `why`: it is not to be believed; without it there is none. */
export async function keptList(path: string): Promise<{ list?: BlockList; why?: string }> {
  let content: Buffer;
  try {
    content = await readFile(listPathOf(path));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {};
    throw error;
  }
  const body = content.subarray(0, -HASH);
  if (!createHash('sha256').update(body).digest().equals(content.subarray(-HASH)))
    return { why: 'it is damaged' };
  const end = body.indexOf('\n');
  const header = headerSchema.safeParse(parsed(body.toString('utf8', 0, Math.max(0, end))));
  if (!header.success) return { why: 'it is of another version' };
  const now = await headerOf(path);
  const { bytes, inode, modifiedNs } = header.data;
  if (bytes !== now.bytes || inode !== now.inode || modifiedNs !== now.modifiedNs)
    return { why: 'the file was written or replaced since' };
  const hashes = body.subarray(end + 1);
  return hashes.length === blocksIn(bytes) * HASH ? { list: { bytes, hashes } } : { why: 'it is damaged' };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Lists that are being made: several hosts may ask for one at a time. */
const making = new Map<string, Promise<BlockList>>();

/**
 * The list of a sealed file, from beside it; where there is none to be believed, the file is read once and its list kept.
 * `log` is told when that happens, and when the list could not be kept.
 */
export async function listOf(
  path: string,
  shell: Pick<Shell, 'writeFile' | 'remove'>,
  log: (line: string) => void,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<BlockList> {
  const { list, why } = await keptList(path);
  if (list) return list;
  log(
    why === undefined
      ? `No digests of blocks are kept beside ${path} yet: it is read once for them.`
      : `The digests of blocks beside ${path} are not believed, ${why}: it is read once for new ones.`,
  );
  const begun =
    making.get(path) ??
    make(path, shell, log, onBytes).finally(() => {
      making.delete(path);
    });
  making.set(path, begun);
  return begun;
}

async function make(
  path: string,
  shell: Pick<Shell, 'writeFile' | 'remove'>,
  log: (line: string) => void,
  onBytes: (bytes: number) => void,
): Promise<BlockList> {
  const list = await readThrough(path, undefined, onBytes);
  // It only saves a reading: a store that takes no more must not stop what is asked for.
  await keepList(shell, path, list).catch((error: unknown) => {
    log(`They could not be kept: ${error instanceof Error ? error.message : String(error)}`);
  });
  return list;
}
