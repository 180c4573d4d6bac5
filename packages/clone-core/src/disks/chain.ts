/** Backing chains of disk files: plain ones read here, all others as `qemu-img info` reads them. */
import { z } from 'zod';
import { OffshootError } from '../errors.ts';
import { readPlain, type PlainImage } from './qcow2.ts';
import { stderrOf } from './stderr.ts';
import type { FileStat, Shell } from '../shell/shell.ts';

export interface ChainFile {
  path: string;
  format: string;
  virtualBytes: number;
  /** Apparent size, bytes. */
  size: number;
  allocated: number;
  modifiedMs: number;
  /** Its content is in another file: of a qcow2 its data file, of a VMDK an extent. */
  externalData: boolean;
}

const infoSchema = z.array(
  z.object({
    filename: z.string(),
    format: z.string(),
    'virtual-size': z.number(),
    'actual-size': z.number().optional(),
    encrypted: z.boolean().optional(),
    'backing-filename': z.string().optional(),
    'full-backing-filename': z.string().optional(),
    'format-specific': z.object({ data: z.record(z.string(), z.unknown()).optional() }).optional(),
  }),
);
type Info = z.infer<typeof infoSchema>[number];

export interface ChainQuery {
  path: string;
  /** As the definition says; undefined lets QEMU probe (only for images that a person named to import). */
  format?: string;
  /** For messages: "disk vda of web". */
  label: string;
}

/**
 * All files that the content of a disk is in, the active one first. Reads without locks (`-U`): only headers are read.
 * Throws `source-unreadable` (missing, a directory, no permission, not an image), `broken-chain` (a backing file is
 * gone), `source-encrypted`.
 */
export async function readChain(shell: Shell, query: ChainQuery, signal: AbortSignal): Promise<ChainFile[]> {
  const stat = await shell.stat(query.path);
  if (!stat)
    throw unreadable(
      query,
      `Its file ${query.path} is missing`,
      'Put the file back, or clone another guest.',
    );
  if (stat.type === 'directory')
    throw unreadable(
      query,
      `${query.path} is a directory, not a disk file`,
      'Correct the guest’s definition.',
    );
  if (stat.type === 'other')
    throw unreadable(
      query,
      `${query.path} is neither a file nor a block device`,
      'Correct the guest’s definition.',
    );
  if (stat.type === 'block') {
    throw new OffshootError('unsupported-disk', {
      publicMessage: `The ${query.label} is a raw block device (${query.path}).`,
      remedy: 'Copy it into an image file (qemu-img convert) and give the guest that instead.',
      field: 'source',
    });
  }
  const plain = await plainChain(shell, query, stat);
  if (plain) return plain;
  const infos = await imageInfo(shell, query, signal);
  return Promise.all(
    infos.map(async (info, index) => {
      refuseEncrypted(info, query);
      const file = index === 0 ? stat : await shell.stat(info.filename);
      if (!file) throw broken(query, info.filename);
      return {
        path: info.filename,
        format: info.format,
        virtualBytes: info['virtual-size'],
        size: file.type === 'block' ? info['virtual-size'] : file.size,
        allocated: file.type === 'block' ? info['virtual-size'] : file.allocated,
        modifiedMs: file.type === 'block' ? 0 : file.modifiedMs,
        externalData: hasOtherFiles(info),
      };
    }),
  );
}

/**
 * The chain of absolute paths whose every file is as plain as can be; undefined: ask `qemu-img`, which also says what is wrong.
 * A program's start costs more than all of these reads.
 */
async function plainChain(
  shell: Shell,
  { path, format }: ChainQuery,
  stat: FileStat,
): Promise<ChainFile[] | undefined> {
  if (!shell.readAt || format === undefined) return undefined;
  const files: ChainFile[] = [];
  let [at, as, file]: [string, string, FileStat | undefined] = [path, format, stat];
  for (;;) {
    if (file?.type !== 'file' || files.some((each) => each.path === at)) return undefined;
    const image: PlainImage | undefined = await readPlain(shell, at, as, file.size);
    if (!image) return undefined;
    const { size, allocated, modifiedMs } = file;
    files.push({
      path: at,
      format: as,
      virtualBytes: image.virtualBytes,
      size,
      allocated,
      modifiedMs,
      externalData: false,
    });
    if (!image.backing) return files;
    ({ path: at, format: as } = image.backing);
    file = await shell.stat(at);
  }
}

const extentsSchema = z.array(z.object({ filename: z.string() })).catch([]);

const hasOtherFiles = ({ filename, 'format-specific': { data = {} } = {} }: Info): boolean =>
  data['data-file'] !== undefined ||
  extentsSchema.parse(data['extents'] ?? []).some((extent) => extent.filename !== filename);

async function imageInfo(shell: Shell, query: ChainQuery, signal: AbortSignal): Promise<Info[]> {
  const argv = ['qemu-img', 'info', '-U', '--backing-chain', '--output=json'];
  if (query.format !== undefined) argv.push('-f', query.format);
  try {
    const { stdout } = await shell.run([...argv, '--', query.path], { signal });
    return infoSchema.parse(JSON.parse(stdout));
  } catch (thrown) {
    throw explainImage(thrown, query);
  }
}

/**
 * What a failed `qemu-img info` means: `broken-chain` or `source-unreadable`; other errors pass, and so does that it was
 * ended by a signal, which says nothing of the file. Throws nothing.
 */
export function explainImage(thrown: unknown, query: ChainQuery): unknown {
  if (!(thrown instanceof OffshootError) || thrown.code !== 'command-failed') return thrown;
  if (thrown.context['signal'] !== undefined) return thrown;
  const missing = missingBacking(stderrOf(thrown), query.path);
  if (missing !== undefined) return broken(query, missing, thrown);
  return unreadable(
    query,
    `Its file ${query.path} can’t be read as ${query.format ?? 'a disk image'}`,
    'See that it is an image of that format and that the worker may read it.',
    thrown,
  );
}

/** "Could not open '/x/base.qcow2': No such file or directory", of another file than the disk's own. */
function missingBacking(stderr: string, own: string): string | undefined {
  for (const found of stderr.matchAll(/Could not open '([^']+)'/g)) {
    const path = found[1];
    if (path !== undefined && path !== own) return path;
  }
  return /backing file/i.test(stderr) ? 'of its chain' : undefined;
}

function refuseEncrypted(info: Info, query: ChainQuery): void {
  if (
    info.format !== 'luks' &&
    info.encrypted !== true &&
    info['format-specific']?.data?.['encrypt'] === undefined
  )
    return;
  throw new OffshootError('source-encrypted', {
    publicMessage: `The ${query.label} is encrypted (${info.filename}); a clone could not be opened without its secret.`,
    remedy: 'Clone a guest whose disks are not encrypted by the host, or decrypt a copy first.',
    field: 'source',
    context: { path: info.filename, format: info.format },
  });
}

function broken(query: ChainQuery, missing: string, cause?: unknown): OffshootError {
  return new OffshootError('broken-chain', {
    publicMessage: `The ${query.label} stands on a file that is missing: ${missing}.`,
    remedy: 'Put that file back where it was, then retry.',
    field: 'source',
    context: { path: query.path, missing },
    cause,
  });
}

function unreadable(query: ChainQuery, what: string, remedy: string, cause?: unknown): OffshootError {
  return new OffshootError('source-unreadable', {
    publicMessage: `The ${query.label} can’t be read. ${what}.`,
    remedy,
    field: 'source',
    context: { path: query.path },
    cause,
  });
}
