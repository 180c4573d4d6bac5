/** OVA files: a tar of a descriptor, a list of checksums and disks. Looked at before anything of it is unpacked. */
import { OffshootError } from '../../errors.ts';
import type { Shell } from '../../shell/shell.ts';
import { stderrOf } from '../stderr.ts';
import { readOvf, type OvfDisk } from './descriptor.ts';

const MOST_MEMBERS = 64;
/** Of a descriptor or a list of checksums, bytes. */
const MOST_TEXT = 1024 ** 2;

export interface OvaDisk extends OvfDisk {
  /** Of its file in the archive, bytes. */
  bytes: number;
  checksum?: Checksum;
}

/** Hexadecimal digits of each kind of checksum that a list may hold. */
const DIGITS = { sha1: 40, sha256: 64, sha512: 128 } as const;

export interface Checksum {
  algorithm: keyof typeof DIGITS;
  hex: string;
}

const refuse = (why: string): OffshootError =>
  new OffshootError('source-unreadable', {
    publicMessage: `The OVA can’t be used: ${why}. Nothing of it was unpacked.`,
    remedy: 'Export it again where it comes from, and copy it to the host again.',
    field: 'imagePath',
  });

/**
 * Disks of an OVA with the checksums it has for them. Throws `source-unreadable` (field `imagePath`) for a member whose name
 * leads anywhere else, for what is no plain file, for a descriptor that does not fit or does not have its checksum.
 */
export async function readOva(shell: Shell, path: string, signal: AbortSignal): Promise<OvaDisk[]> {
  const members = await membersOf(shell, path, signal);
  const [descriptor] = [...members.keys()].filter((name) => name.toLowerCase().endsWith('.ovf'));
  if (descriptor === undefined) throw refuse('it has no description (.ovf)');
  const text = (name: string): Promise<string> => textOf(shell, path, name, members, signal);
  const listed = [...members.keys()].find((name) => name.toLowerCase().endsWith('.mf'));
  const sums = listed === undefined ? undefined : checksumsIn(await text(listed));
  const ovf = await text(descriptor);
  if (sums) {
    const sum = sums.get(descriptor);
    if (!sum) throw refuse(`its list of checksums does not have ${descriptor}`);
    if ((await digestOf(shell, path, descriptor, sum.algorithm, signal)) !== sum.hex)
      throw refuse(`${descriptor} in it does not have the checksum that is written beside it`);
  }
  const disks = readOvf(ovf);
  return disks.map((disk): OvaDisk => {
    const bytes = members.get(disk.file);
    if (bytes === undefined) throw refuse(`its disk ${disk.file} is not in it`);
    const checksum = sums?.get(disk.file);
    if (sums && !checksum) throw refuse(`its list of checksums does not have ${disk.file}`);
    return { ...disk, bytes, ...(checksum ? { checksum } : {}) };
  });
}

/** Names and sizes. */
async function membersOf(shell: Shell, path: string, signal: AbortSignal): Promise<Map<string, number>> {
  const { stdout } = await shell
    .run(
      [
        'tar',
        '--force-local',
        '--list',
        '--verbose',
        '--numeric-owner',
        '--quoting-style=escape',
        '--file',
        path,
      ],
      {
        signal,
        timeoutMs: 0,
      },
    )
    .catch((thrown: unknown) => {
      if (!(thrown instanceof OffshootError) || thrown.code !== 'command-failed') throw thrown;
      throw refuse('it is damaged or cut short');
    });
  const members = new Map<string, number>();
  for (const line of stdout.split('\n').filter((each) => each !== '')) {
    const [, type, size, name = ''] = /^(.)\S{9}\s+\S+\s+(\d+) \S+ \S+ (.*)$/.exec(line) ?? [];
    if (type !== '-') throw refuse(`it holds more than plain files (${line.slice(0, 80)})`);
    if (!/^[A-Za-z0-9][A-Za-z0-9 ._-]*$/.test(name))
      throw refuse(`a file in it is named ${name.slice(0, 80)}`);
    if (members.has(name)) throw refuse(`it holds ${name} twice`);
    members.set(name, Number(size));
    if (members.size > MOST_MEMBERS) throw refuse(`it holds more than ${MOST_MEMBERS} files`);
  }
  return members;
}

async function textOf(
  shell: Shell,
  path: string,
  name: string,
  members: ReadonlyMap<string, number>,
  signal: AbortSignal,
): Promise<string> {
  if ((members.get(name) ?? 0) > MOST_TEXT) throw refuse(`${name} in it is too long`);
  const argv = [
    'tar',
    '--force-local',
    '--extract',
    '--to-stdout',
    '--occurrence=1',
    '--file',
    path,
    '--',
    name,
  ];
  return (await shell.run(argv, { signal, timeoutMs: 0 })).stdout;
}

/** Of a member's bytes: its text may be in any encoding. */
async function digestOf(
  shell: Shell,
  path: string,
  name: string,
  algorithm: Checksum['algorithm'],
  signal: AbortSignal,
): Promise<string | undefined> {
  const command = `--to-command=${algorithm}sum`;
  const argv = ['tar', '--force-local', '--extract', command, '--occurrence=1', '--file', path, '--', name];
  const { stdout } = await shell.run(argv, { signal, timeoutMs: 0 });
  return stdout.trim().split(' ')[0];
}

/** Lines as "SHA256(disk.vmdk)= 3f2a…" (DSP0243 1.1.0, 5.1; SHA512 since 2.0). Throws `source-unreadable` for any other. */
function checksumsIn(text: string): Map<string, Checksum> {
  const sums = new Map<string, Checksum>();
  for (const line of text.split('\n').filter((each) => each.trim() !== '')) {
    const [, kind = '', name = '', hex = ''] =
      /^\s*(SHA1|SHA256|SHA512)\s*\((.+)\)\s*=\s*([0-9a-fA-F]+)\s*$/i.exec(line) ?? [];
    const algorithm = kind.toLowerCase() as keyof typeof DIGITS;
    if (hex.length !== DIGITS[algorithm] || sums.has(name))
      throw refuse(`its list of checksums can’t be read (${line.trim().slice(0, 80)})`);
    sums.set(name, { algorithm, hex: hex.toLowerCase() });
  }
  return sums;
}

/** What tar has no room for; of a file that it unpacks it says only how much of it went in. */
function meaning(thrown: unknown): unknown {
  const said = stderrOf(thrown);
  if (!/No space left on device|Disk quota exceeded|Wrote only \d+ of \d+ bytes/i.test(said)) return thrown;
  return new OffshootError('no-space', {
    publicMessage: 'The store filled up while the OVA was unpacked or written.',
    remedy: 'Free space on the store, then retry.',
    retryable: true,
    context: { stderr: said },
    cause: thrown,
  });
}

/** Unpacks one disk. Throws `source-unreadable` when it is not what the list of checksums says, `no-space`. */
export async function unpackDisk(
  shell: Shell,
  path: string,
  disk: Pick<OvaDisk, 'file' | 'checksum'>,
  folder: string,
  signal: AbortSignal,
): Promise<void> {
  const plain = ['--no-same-owner', '--no-same-permissions', '--occurrence=1'];
  const argv = ['tar', '--force-local', '--extract', ...plain];
  await pack(shell, [...argv, '--directory', folder, '--file', path, '--', disk.file], signal);
  if (!disk.checksum) return;
  const { algorithm, hex } = disk.checksum;
  const { stdout } = await shell.run([`${algorithm}sum`, '--', `${folder}/${disk.file}`], {
    signal,
    timeoutMs: 0,
  });
  if (stdout.trim().replace(/^\\/, '').split(' ')[0] === hex) return;
  throw new OffshootError('source-unreadable', {
    publicMessage: `${disk.file} in the OVA does not have the checksum that is written beside it. Nothing of it was kept.`,
    remedy: 'Copy the OVA to the host again.',
    field: 'imagePath',
  });
}

/** Packs the files into an OVA, the descriptor first. Throws `no-space`. */
export async function packOva(
  shell: Shell,
  to: string,
  folder: string,
  files: readonly { name: string; bytes: number }[],
  signal: AbortSignal,
): Promise<void> {
  // ustar, as the specification asks; it has room for 8 GiB a file.
  const format = files.some(({ bytes }) => bytes >= 8 * 1024 ** 3) ? 'posix' : 'ustar';
  await pack(
    shell,
    [
      'tar',
      '--force-local',
      '--create',
      `--format=${format}`,
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      '--mode=0644',
      '--directory',
      folder,
      '--file',
      to,
      '--',
      ...files.map(({ name }) => name),
    ],
    signal,
  );
}

/** For as long as it takes, and no longer than the worker lives. */
async function pack(shell: Shell, argv: readonly string[], signal: AbortSignal): Promise<void> {
  try {
    await shell.run(argv, { signal, timeoutMs: 0, dieWithParent: true });
  } catch (thrown) {
    throw meaning(thrown);
  }
}
