/** Image files that people name to import: read and judged before anything is copied. */
import { readChain, type ChainFile } from './chain.ts';
import { OffshootError, type ErrorCode } from '../errors.ts';
import type { Shell } from '../shell/shell.ts';

/** Any file can pass for a raw disk; smaller ones than this hold no system, bytes. */
const SMALLEST = 1024 ** 2;
/** `qemu-img check`: 0 whole, 2 damaged, 3 only leaked clusters (harmless), 63 nothing to check in this format. */
const CHECKED = [0, 2, 3, 63];
const DAMAGED = 2;

const remedies: Readonly<Partial<Record<ErrorCode, string>>> = {
  'source-unreadable': 'Give the path of a qcow2 or raw image file that the worker may read.',
  'broken-chain':
    'Put that file beside it, then flatten the image: qemu-img convert -O qcow2 IMAGE FLAT.qcow2',
  'source-encrypted': 'Import a decrypted copy of it.',
};

const refuse = (code: ErrorCode, publicMessage: string, remedy: string): OffshootError =>
  new OffshootError(code, { publicMessage, remedy, field: 'imagePath' });

/**
 * The one file of a whole, plain image. Throws, each with the field `imagePath`: `source-missing`, `source-unreadable`
 * (no file, no image, damaged), `source-encrypted`, `broken-chain`, `unsupported-disk`.
 */
export async function readImage(shell: Shell, path: string, signal: AbortSignal): Promise<ChainFile> {
  const stat = await shell.stat(path);
  if (!stat)
    throw refuse(
      'source-missing',
      `There is no file ${path} on the host.`,
      'Copy the image to the host, or correct the path.',
    );
  if (stat.type === 'block')
    throw refuse('unsupported-disk', `${path} is a block device.`, 'Give the path of an image file.');
  const [file, ...below] = await chainOf(shell, path, signal);
  if (!file || below.length > 0 || file.externalData)
    throw refuse(
      'unsupported-disk',
      'The image stands on another file.',
      'Flatten it first: qemu-img convert -O qcow2 IMAGE FLAT.qcow2',
    );
  if (file.format !== 'qcow2' && file.format !== 'raw')
    throw refuse(
      'unsupported-disk',
      `The image is ${file.format}; qcow2 and raw can be imported.`,
      'Convert it first: qemu-img convert -O qcow2 IMAGE IMAGE.qcow2',
    );
  if (file.virtualBytes < SMALLEST)
    throw refuse(
      'unsupported-disk',
      `${path} is no disk image: it holds ${file.virtualBytes} bytes.`,
      'Give the path of a qcow2 or raw image file.',
    );
  if (file.format === 'qcow2') await refuseDamaged(shell, path, signal);
  return file;
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
async function refuseDamaged(shell: Shell, path: string, signal: AbortSignal): Promise<void> {
  const { code, stderr } = await shell.run(['qemu-img', 'check', '-U', '-q', '-f', 'qcow2', '--', path], {
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
