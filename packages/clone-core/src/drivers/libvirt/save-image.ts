/**
 * The head of a save image, as `virsh save` and memory snapshots of libvirt write it (virQEMUSaveHeader in
 * src/qemu/qemu_saveimage.h): a fixed header, the definition, a cookie, then QEMU's stream.
 */
import { z } from 'zod';
import { OffshootError } from '../../errors.ts';
import type { Shell } from '../../shell/shell.ts';

const MAGIC = 'LibvirtQemudSave';
/** Magic, five numbers, fourteen unused ones. */
const HEADER_BYTES = 92;
/** A definition is some KiB; more is no save image. */
const MAX_DATA_BYTES = 4 * 1024 ** 2;

const headSchema = z.object({
  version: z.number(),
  wasRunning: z.number(),
  /** How QEMU's stream is compressed; that is kept. */
  compressed: z.number(),
  /** Definition of the guest as it ran. */
  definition: z.string(),
  /** What libvirt wants to know again, as XML; empty: none. */
  cookie: z.string(),
  /** Where QEMU's stream begins. */
  streamAt: z.number(),
});
export type ImageHead = z.infer<typeof headSchema>;

/** What `MemoryPoint.resume` of a libvirt host holds. Throws `source-unreadable` for anything else. */
export function parseResume(text: string): ImageHead {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw unreadable('what is kept with it is no JSON', { cause });
  }
  const head = headSchema.safeParse(parsed);
  if (head.success) return head.data;
  throw unreadable('it was not made by a libvirt host', { cause: head.error });
}

/** Reads the head of a whole image. Throws `source-unreadable` for one that is cut off or none at all. */
export async function readHead(shell: Shell, path: string, signal: AbortSignal): Promise<ImageHead> {
  const header = await bytesOf(shell, path, 0, HEADER_BYTES, signal);
  if (header.length < HEADER_BYTES || header.toString('latin1', 0, MAGIC.length) !== MAGIC)
    throw unreadable('it is not a complete save image', { context: { path } });
  const [version = 0, length = 0, wasRunning = 0, compressed = 0, cookieAt = 0] = [16, 20, 24, 28, 32].map(
    (at) => header.readUInt32LE(at),
  );
  if (length === 0 || length > MAX_DATA_BYTES)
    throw unreadable('its head has an impossible size', { context: { path, length } });
  const data = await bytesOf(shell, path, HEADER_BYTES, length, signal);
  const textAt = (at: number): string => {
    const end = data.indexOf(0, at);
    return data.toString('utf8', at, end === -1 ? data.length : end);
  };
  return {
    version,
    wasRunning,
    compressed,
    definition: textAt(0),
    cookie: cookieAt > 0 && cookieAt < data.length ? textAt(cookieAt) : '',
    streamAt: HEADER_BYTES + length,
  };
}

/** The head of another guest's image for the same stream. */
export function writeHead(head: Omit<ImageHead, 'streamAt'>): Buffer {
  const definition = Buffer.from(`${head.definition}\0`);
  const cookie = head.cookie === '' ? Buffer.alloc(0) : Buffer.from(`${head.cookie}\0`);
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 'latin1');
  header.writeUInt32LE(head.version, 16);
  header.writeUInt32LE(definition.length + cookie.length, 20);
  header.writeUInt32LE(head.wasRunning, 24);
  header.writeUInt32LE(head.compressed, 28);
  header.writeUInt32LE(cookie.length === 0 ? 0 : definition.length, 32);
  return Buffer.concat([header, definition, cookie]);
}

/** `od`, because a shell's output is text. */
async function bytesOf(
  shell: Shell,
  path: string,
  from: number,
  count: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const { stdout } = await shell.run(
    ['od', '-An', '-v', '-tx1', '-j', String(from), '-N', String(count), '--', path],
    { signal },
  );
  return Buffer.from(stdout.replace(/\s+/g, ''), 'hex');
}

const unreadable = (
  why: string,
  more: { cause?: unknown; context?: Record<string, unknown> },
): OffshootError =>
  new OffshootError('source-unreadable', {
    publicMessage: `The saved memory can’t be read: ${why}.`,
    remedy: 'Take it again from the running guest.',
    ...more,
  });
