/**
 * The plain part of qcow2, read and made here: starting `qemu-img` takes longer than all it would do. Whatever is not plain is left to
 * QEMU. Format: https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt (all numbers big-endian).
 */
import type { Shell } from '../shell/shell.ts';

const MAGIC = 0x514649fb;
const HEADER_BYTES = 104;
const BACKING_FORMAT = 0xe2792aca;
/** Extensions that change nothing of where the content is: none more, names of features, bitmaps. */
const HARMLESS = new Set([0, BACKING_FORMAT, 0x6803f857, 0x23852875]);
const CLUSTER = 65_536;
const ENTRY_BYTES = 8;
/** Longest name of a backing file, bytes. */
const LONGEST_NAME = 1023;
/** QEMU refuses larger first tables. */
const LARGEST_TABLE = 32 * 1024 ** 2;
/** What one block of 16-bit reference counts counts. */
const COUNTED = CLUSTER / 2;

interface File {
  path: string;
  format: string;
}

export interface PlainImage {
  virtualBytes: number;
  backing?: File;
}

/** Undefined: not a plain image of that format, or over SSH; ask `qemu-img`. `size`: of the file, bytes. */
export async function readPlain(
  shell: Pick<Shell, 'readAt'>,
  path: string,
  format: string,
  size: number,
): Promise<PlainImage | undefined> {
  if (!path.startsWith('/')) return undefined;
  if (format === 'raw') {
    const readable = await readPart(shell, path, 0, 1);
    return readable && { virtualBytes: Math.ceil(size / 512) * 512 };
  }
  const head = format === 'qcow2' ? await readPart(shell, path, 0, CLUSTER) : undefined;
  const found = head && parseHead(head);
  if (!found || found.end > size) return undefined;
  const { virtualBytes, backing } = found;
  return { virtualBytes, ...(backing ? { backing } : {}) };
}

/** Whether nothing is stored in the layer itself: its first table is empty. False when that can't be told here. */
export async function isEmptyLayer(shell: Pick<Shell, 'readAt'>, path: string): Promise<boolean> {
  const head = await readPart(shell, path, 0, CLUSTER);
  const found = head && parseHead(head);
  if (!found) return false;
  const length = found.entries * ENTRY_BYTES;
  const table = await readPart(shell, path, found.table, length);
  return table?.length === length && table.every((byte) => byte === 0);
}

/** Undefined: over SSH, or what it can't be read for `qemu-img` tells better. */
function readPart(
  shell: Pick<Shell, 'readAt'>,
  path: string,
  at: number,
  length: number,
): Promise<Buffer | undefined> {
  return shell.readAt?.(path, at, length).catch(() => undefined) ?? Promise.resolve(undefined);
}

interface Head extends PlainImage {
  entries: number;
  /** Where the first table begins, and where what must be there ends, bytes. */
  table: number;
  end: number;
}

/** Version 3 without snapshots, encryption or any feature that a reader must know of; standing on an absolute path, or on nothing. */
function parseHead(head: Buffer): Head | undefined {
  if (head.length < HEADER_BYTES || head.readUInt32BE(0) !== MAGIC || head.readUInt32BE(4) !== 3)
    return undefined;
  const [bits, method, entries] = [head.readUInt32BE(20), head.readUInt32BE(32), head.readUInt32BE(36)];
  const [snapshots, incompatible, length] = [
    head.readUInt32BE(60),
    head.readBigUInt64BE(72),
    head.readUInt32BE(100),
  ];
  const [virtualBytes, table, counts] = [24, 40, 48].map((at) => Number(head.readBigUInt64BE(at)));
  if (virtualBytes === undefined || table === undefined || counts === undefined) return undefined;
  if (bits < 9 || bits > 21 || method !== 0 || snapshots !== 0 || incompatible !== 0n) return undefined;
  const cluster = 2 ** bits;
  const needed = Math.ceil(virtualBytes / ((cluster / ENTRY_BYTES) * cluster));
  const placed = [table, counts].every(
    (at) => at >= cluster && at % cluster === 0 && Number.isSafeInteger(at),
  );
  if (!placed || entries < needed || entries * ENTRY_BYTES > LARGEST_TABLE || length < HEADER_BYTES)
    return undefined;
  const end = Math.max(table + entries * ENTRY_BYTES, counts + head.readUInt32BE(56) * cluster);
  const backing = backingOf(head, length);
  return backing && { virtualBytes, entries, table, end, ...(backing === 'none' ? {} : { backing }) };
}

function backingOf(head: Buffer, from: number): File | 'none' | undefined {
  let format: string | undefined;
  for (let at = from; ;) {
    if (at + 8 > head.length) return undefined;
    const [kind, length] = [head.readUInt32BE(at), head.readUInt32BE(at + 4)];
    if (!HARMLESS.has(kind) || at + 8 + length > head.length) return undefined;
    if (kind === 0) break;
    if (kind === BACKING_FORMAT) format = head.toString('utf8', at + 8, at + 8 + length);
    at += 8 + Math.ceil(length / 8) * 8;
  }
  const [offset, length] = [Number(head.readBigUInt64BE(8)), head.readUInt32BE(16)];
  if (offset === 0) return 'none';
  if (length > LONGEST_NAME || offset + length > head.length) return undefined;
  const path = head.toString('utf8', offset, offset + length);
  return path.startsWith('/') && (format === 'qcow2' || format === 'raw') ? { path, format } : undefined;
}

/** An image that stores nothing and stands on another, as `qemu-img create` makes one. Undefined: too large for this. */
export function emptyLayer(backing: File, bytes: number): Buffer | undefined {
  const virtualBytes = Math.ceil(bytes / 512) * 512;
  const name = Buffer.from(backing.path);
  const format = Buffer.from(backing.format);
  const entries = Math.ceil(virtualBytes / ((CLUSTER / ENTRY_BYTES) * CLUSTER));
  const used = 3 + Math.ceil((entries * ENTRY_BYTES) / CLUSTER);
  if (entries === 0 || name.length > LONGEST_NAME || used > COUNTED || entries * ENTRY_BYTES > LARGEST_TABLE)
    return undefined;
  const image = Buffer.alloc(3 * CLUSTER + entries * ENTRY_BYTES);
  const extension = 8 + Math.ceil(format.length / 8) * 8;
  const nameAt = HEADER_BYTES + extension + 8;
  image.writeUInt32BE(MAGIC, 0);
  image.writeUInt32BE(3, 4);
  image.writeBigUInt64BE(BigInt(nameAt), 8);
  image.writeUInt32BE(name.length, 16);
  image.writeUInt32BE(Math.log2(CLUSTER), 20);
  image.writeBigUInt64BE(BigInt(virtualBytes), 24);
  image.writeUInt32BE(entries, 36);
  image.writeBigUInt64BE(BigInt(3 * CLUSTER), 40); // its first table
  image.writeBigUInt64BE(BigInt(CLUSTER), 48); // its table of reference counts, of one cluster
  image.writeUInt32BE(1, 56);
  image.writeUInt32BE(4, 96); // 2 ** 4 bits a count
  image.writeUInt32BE(HEADER_BYTES, 100);
  image.writeUInt32BE(BACKING_FORMAT, HEADER_BYTES);
  image.writeUInt32BE(format.length, HEADER_BYTES + 4);
  format.copy(image, HEADER_BYTES + 8);
  name.copy(image, nameAt);
  image.writeBigUInt64BE(BigInt(2 * CLUSTER), CLUSTER); // the one block of counts
  for (let cluster = 0; cluster < used; cluster++) image.writeUInt16BE(1, 2 * CLUSTER + cluster * 2);
  return image;
}
