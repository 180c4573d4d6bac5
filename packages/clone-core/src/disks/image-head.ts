/**
 * What the first bytes of an image file say, before any program that follows what it says is let near it: a file to be
 * imported may name other files of the host as its backing file, its data or its extents.
 */
import { OffshootError } from '../errors.ts';
import type { Shell } from '../shell/shell.ts';

export type ImageKind = 'qcow2' | 'vmdk' | 'vhdx' | 'ova' | 'raw';

/** How files of each kind are usually called. */
const ENDINGS: Readonly<Record<string, ImageKind>> = {
  qcow2: 'qcow2',
  vmdk: 'vmdk',
  vhdx: 'vhdx',
  ova: 'ova',
};
/** Enough for the header of a tar entry. */
const HEAD = 512;
/** `createType`s whose content is in the one file: VMware, Virtual Disk Format 1.1. */
const ONE_FILE = new Set(['monolithicSparse', 'streamOptimized']);

/** As QEMU knows a VMDK's description (block/vmdk.c, vmdk_probe): after comments and empty lines it says its version. */
const DESCRIPTION = /^(?:#[^\n]*\n|[ \r]*\n)*version=\d/;

const refuse = (publicMessage: string, remedy: string): OffshootError =>
  new OffshootError('unsupported-disk', { publicMessage, remedy, field: 'imagePath' });
const standsOnAnother = (path: string): OffshootError =>
  refuse(
    `${path} stands on another file, which it names itself. Nothing of that file was read.`,
    'Flatten it where it comes from: qemu-img convert -O qcow2 IMAGE FLAT.qcow2',
  );

/**
 * The kind of a file, by its content. Throws `unsupported-disk` (field `imagePath`) when it is not what its name says, or
 * when its content is in, or stands on, other files. Offsets: QEMU's docs/interop/qcow2.txt; POSIX ustar; MS-VHDX.
 */
export async function imageKind(shell: Shell, path: string, signal: AbortSignal): Promise<ImageKind> {
  const head = await bytesOf(shell, path, HEAD, signal);
  const kind = kindOf(head);
  const named = ENDINGS[path.slice(path.lastIndexOf('.') + 1).toLowerCase()];
  if (named !== undefined && named !== kind)
    throw refuse(
      `${path} is called a ${named} file, and its content is none.`,
      'Copy it to the host again, or give it the name of what it is.',
    );
  if (DESCRIPTION.test(head.toString('latin1')))
    throw refuse(
      `${path} is only the description of a VMDK; its content is in other files.`,
      'Convert it where it comes from: qemu-img convert -O qcow2 IMAGE FLAT.qcow2',
    );
  if (kind === 'qcow2') {
    const outside = head.readUInt32BE(4) >= 3 && (head.readBigUInt64BE(72) & 4n) !== 0n;
    if (head.readBigUInt64BE(8) !== 0n || outside) throw standsOnAnother(path);
  }
  if (kind === 'vmdk') await refuseVmdk(shell, path, head, signal);
  return kind;
}

function kindOf(head: Buffer): ImageKind {
  if (head.toString('latin1', 0, 4) === 'QFI\u00fb') return 'qcow2';
  if (head.toString('latin1', 0, 4) === 'KDMV') return 'vmdk';
  if (head.toString('latin1', 0, 8) === 'vhdxfile') return 'vhdx';
  if (head.toString('latin1', 257, 262) === 'ustar') return 'ova';
  return 'raw';
}

async function refuseVmdk(shell: Shell, path: string, head: Buffer, signal: AbortSignal): Promise<void> {
  const sector = Number(head.readBigUInt64LE(28));
  const count = Math.min(Number(head.readBigUInt64LE(36)), 64);
  const { stdout } = await shell.run(
    ['dd', `if=${path}`, 'bs=512', `skip=${sector}`, `count=${count}`, 'status=none'],
    { signal },
  );
  // QEMU takes the first of each wherever it stands, in comments too, and without a size in the header the extents' files.
  const [type, ...more] = [...stdout.matchAll(/createType(?:="([^"]*)")?/g)].map((found) => found[1]);
  if (stdout.includes('parentFileNameHint')) throw standsOnAnother(path);
  const sized = head.readBigUInt64LE(12) !== 0n;
  if (sized && type !== undefined && more.length === 0 && ONE_FILE.has(type)) return;
  throw refuse(
    `${path} is a VMDK of the kind ${type ?? 'unknown'}, whose content may be in other files.`,
    'Convert it where it comes from: qemu-img convert -O vmdk -o subformat=streamOptimized IMAGE ONE.vmdk',
  );
}

/** The first bytes; short files are filled with zeroes. */
async function bytesOf(shell: Shell, path: string, count: number, signal: AbortSignal): Promise<Buffer> {
  const { stdout } = await shell.run(['od', '-An', '-v', '-tx1', `-N${count}`, '--', path], { signal });
  const found = Buffer.from(stdout.replaceAll(/\s/g, ''), 'hex');
  return Buffer.concat([found, Buffer.alloc(Math.max(0, count - found.length))]);
}
