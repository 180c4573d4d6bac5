/** Image files that people name to import: read and judged before anything is copied. */
import { z } from 'zod';
import { readChain, type ChainFile } from './chain.ts';
import { imageKind } from './image-head.ts';
import { readOva, type OvaDisk } from './ova/archive.ts';
import { OffshootError, type ErrorCode } from '../errors.ts';
import type { Shell } from '../shell/shell.ts';

/** Any file can pass for a raw disk; smaller ones than this hold no system, bytes. */
const SMALLEST = 1024 ** 2;
/** A disk full of text is packed about so many times. */
const MOST_PACKED = 4;
/** `qemu-img check`: 0 whole, 2 damaged, 3 only leaked clusters (harmless), 63 nothing to check in this format. */
const CHECKED = [0, 2, 3, 63];
const DAMAGED = 2;
const TAKEN = ['qcow2', 'raw', 'vmdk', 'vhdx'];

const remedies: Readonly<Partial<Record<ErrorCode, string>>> = {
  'source-unreadable':
    'Give the path of an image file (qcow2, raw, VMDK, VHDX or OVA) that the worker may read.',
  'broken-chain':
    'Put that file beside it, then flatten the image: qemu-img convert -O qcow2 IMAGE FLAT.qcow2',
  'source-encrypted': 'Import a decrypted copy of it.',
};

const refuse = (code: ErrorCode, publicMessage: string, remedy: string): OffshootError =>
  new OffshootError(code, { publicMessage, remedy, field: 'imagePath' });

/**
 * The one file of a whole, plain image; of an OVA with the disks in it. Throws, each with the field `imagePath`:
 * `source-missing`, `source-unreadable` (no file, no image, damaged), `source-encrypted`, `unsupported-disk` (not what its
 * name says, or standing on other files, which are not read then).
 */
export async function readImage(
  shell: Shell,
  path: string,
  signal: AbortSignal,
): Promise<ChainFile & { disks?: OvaDisk[] }> {
  const stat = await shell.stat(path);
  if (!stat)
    throw refuse(
      'source-missing',
      `There is no file ${path} on the host.`,
      'Copy the image to the host, or correct the path.',
    );
  if (stat.type === 'block')
    throw refuse('unsupported-disk', `${path} is a block device.`, 'Give the path of an image file.');
  const kind = stat.type === 'file' ? await imageKind(shell, path, signal) : 'raw';
  if (kind === 'ova') return ovaFile(path, stat, await readOva(shell, path, signal));
  const [file, ...below] = await chainOf(shell, path, signal);
  if (!file || below.length > 0 || file.externalData)
    throw refuse(
      'unsupported-disk',
      'The image stands on another file.',
      'Flatten it first: qemu-img convert -O qcow2 IMAGE FLAT.qcow2',
    );
  if (!TAKEN.includes(file.format))
    throw refuse(
      'unsupported-disk',
      `The image is ${file.format}; qcow2, raw, VMDK, VHDX and OVA can be imported.`,
      'Convert it first: qemu-img convert -O qcow2 IMAGE IMAGE.qcow2',
    );
  if (file.virtualBytes < SMALLEST)
    throw refuse(
      'unsupported-disk',
      `${path} is no disk image: it holds ${file.virtualBytes} bytes.`,
      'Give the path of an image file: qcow2, raw, VMDK, VHDX or OVA.',
    );
  if (file.format === 'qcow2' || file.format === 'vhdx')
    await refuseDamaged(shell, path, file.format, signal);
  // Packed formats hold more than the file takes.
  return kind === 'vmdk' || kind === 'vhdx'
    ? { ...file, allocated: await unpackedBytes(shell, path, file.format, signal) }
    : file;
}

function ovaFile(
  path: string,
  stat: { size: number; modifiedMs: number },
  disks: OvaDisk[],
): ChainFile & { disks: OvaDisk[] } {
  const virtualBytes = disks.reduce((sum, disk) => sum + disk.capacityBytes, 0);
  const { size, modifiedMs } = stat;
  return {
    path,
    format: 'ova',
    virtualBytes,
    size,
    // The disks unpacked, and what they become.
    allocated: size + Math.min(virtualBytes, size * MOST_PACKED),
    modifiedMs,
    externalData: false,
    disks,
  };
}

/** What a disk of the format takes as qcow2. */
async function unpackedBytes(
  shell: Shell,
  path: string,
  format: string,
  signal: AbortSignal,
): Promise<number> {
  const { stdout } = await shell.run(
    ['qemu-img', 'measure', '--output=json', '-f', format, '-O', 'qcow2', '--', path],
    { signal, timeoutMs: 0 },
  );
  return z.object({ required: z.number() }).parse(JSON.parse(stdout)).required;
}

async function chainOf(shell: Shell, path: string, signal: AbortSignal): Promise<ChainFile[]> {
  try {
    return await readChain(shell, { path, label: 'image' }, signal);
  } catch (thrown) {
    const remedy = thrown instanceof OffshootError ? remedies[thrown.code] : undefined;
    if (!(thrown instanceof OffshootError) || remedy === undefined) throw thrown;
    const { code, publicMessage, context } = thrown;
    throw new OffshootError(code, { publicMessage, remedy, field: 'imagePath', context, cause: thrown });
  }
}

/** A file that was cut short while it was copied still opens: what is missing would read as zeroes. */
async function refuseDamaged(shell: Shell, path: string, format: string, signal: AbortSignal): Promise<void> {
  const { code, stderr } = await shell.run(['qemu-img', 'check', '-U', '-q', '-f', format, '--', path], {
    signal,
    timeoutMs: 0,
    okCodes: CHECKED,
    dieWithParent: true,
  });
  if (code !== DAMAGED) return;
  throw new OffshootError('source-unreadable', {
    publicMessage: `${path} is damaged: qemu-img check finds errors in it. Perhaps it was cut short while it was copied.`,
    remedy: 'Copy it to the host again.',
    field: 'imagePath',
    context: { path, stderr },
  });
}
