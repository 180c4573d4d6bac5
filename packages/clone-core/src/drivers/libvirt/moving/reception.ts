/** The host that a guest goes to: answers the worker of the host it leaves, one question a stream. */
import type { Duplex } from 'node:stream';
import { createOverlay } from '../../../disks/overlay.ts';
import { readThrough } from '../../../disks/transfer/block-list.ts';
import { fetchFile } from '../../../disks/transfer/fetch.ts';
import type { Peers } from '../../../disks/transfer/peers.ts';
import type { Incoming } from '../../../disks/transfer/receiving.ts';
import { OffshootError, toOffshootError } from '../../../errors.ts';
import type { Reader } from '../inspect.ts';
import { UNDEFINE_TPM } from '../plan-parts.ts';
import { complete, partial, removeEmpty } from '../steps/own-files.ts';
import { readLine, writeLine } from './line.ts';
import { lookAround } from './look.ts';
import { socketOf, TPM_STATE } from './places.ts';
import { questionSchema, type Ask, type Channel, type Question, type StateThere } from './protocol.ts';

/** Whether the host that asks performs that operation just now, and it brings a guest here. */
export type Allows = (operationId: string) => Promise<boolean>;

/** Answers one question. Rejects when the stream fails. */
export async function receiveGuest(
  reader: Reader,
  peers: Peers,
  stream: Duplex,
  allows: Allows,
): Promise<void> {
  const gone = new AbortController();
  const left = (): void =>
    gone.abort(new OffshootError('host-unreachable', { publicMessage: 'The other host went away.' }));
  stream.once('close', left);
  try {
    const line = await readLine(stream);
    const parsed = questionSchema.safeParse(line === undefined ? undefined : JSON.parse(line));
    if (!parsed.success)
      throw new OffshootError('invalid-input', {
        publicMessage: 'This host’s worker does not understand what it is asked.',
        remedy: 'Update the workers: the two are of different versions.',
      });
    const question = parsed.data;
    if (question.ask !== 'look' && !(await allows(question.operation)))
      throw new OffshootError('permission', {
        publicMessage: 'No operation brings a guest here just now.',
        remedy: 'Ask for the move again.',
      });
    if (question.ask === 'reach') {
      await passThrough(reader, stream, question.operation, question.channel);
      return;
    }
    // Nothing more is asked, so an end is an end; of a stream that nobody reads none is told.
    stream.once('end', left).resume();
    const answer = await answerTo(reader, peers, question, gone.signal, (doneBytes, note) =>
      writeLine(stream, { progress: { doneBytes, note } }),
    );
    writeLine(stream, { answer: answer ?? null });
  } catch (thrown) {
    if (stream.destroyed) return;
    const { code, publicMessage, remedy, retryable } = toOffshootError(thrown);
    writeLine(stream, {
      refused: { code, message: publicMessage, retryable, ...(remedy === undefined ? {} : { remedy }) },
    });
  }
  stream.end();
}

type Said = (doneBytes: number, note: string) => void;

function answerTo(
  reader: Reader,
  peers: Peers,
  question: Exclude<Question, { ask: 'reach' }>,
  signal: AbortSignal,
  say: Said,
): Promise<unknown> {
  switch (question.ask) {
    case 'look':
      return lookAround(reader, question, signal);
    case 'prepare':
      return prepare(reader, question, signal);
    case 'fetch':
      return fetchFiles(reader, peers, question, signal, say);
    case 'define':
      return define(reader, question, signal);
    case 'state':
      return stateOf(reader, question, signal);
    default:
      return forget(reader, question, signal);
  }
}

const folderIn = ({ store }: Reader, folder: string): string => `${store}/disks/${folder}`;

/** A base's files or nothing: a guest's disk must not come to stand on any other file of this host. */
async function needBase({ store, shell }: Reader, path: string): Promise<void> {
  const base = path.startsWith(`${store}/bases/`) && !path.includes('/../');
  if (base && (await shell.stat(path))?.type === 'file') return;
  if (base)
    throw new OffshootError('source-missing', {
      publicMessage: `The base that a disk stands on is not on this host: ${path}.`,
      remedy: 'Move the guest again: its base goes first.',
    });
  throw new OffshootError('permission', { publicMessage: 'A disk would stand on a file that is no base.' });
}

async function prepare(reader: Reader, question: Ask<'prepare'>, signal: AbortSignal): Promise<void> {
  const { shell } = reader;
  const folder = folderIn(reader, question.folder);
  await shell.mkdir(folder);
  for (const { file, format, virtualBytes, onto } of question.disks) {
    const to = `${folder}/${file}`;
    await shell.remove(to); // of a run that was cut: what came of it is worth nothing
    if (onto) {
      await needBase(reader, onto.path);
      await createOverlay(shell, { basePath: onto.path, baseFormat: onto.format, to, virtualBytes }, signal);
    } else
      await shell.run(['qemu-img', 'create', '-q', '-f', format, '--', to, String(virtualBytes)], { signal });
  }
}

/** Each file comes under another name; a call that was cut goes on where the one before stopped. */
async function fetchFiles(
  reader: Reader,
  peers: Peers,
  question: Ask<'fetch'>,
  signal: AbortSignal,
  say: Said,
): Promise<{ receivedBytes: number }> {
  const { shell } = reader;
  const folder = folderIn(reader, question.folder);
  await shell.mkdir(folder);
  let before = 0;
  let receivedBytes = 0;
  const take = async (offered: string, path: string): Promise<boolean> => {
    const whole = await shell.stat(path);
    if (whole) {
      before += whole.size;
      return false;
    }
    const fetched = await fetchFile(
      { base: question.word, file: offered, to: partial(path) },
      {
        sources: [question.from],
        connect: (source, abort) => peers.connect(source, abort),
        older: [],
        listOf: (path) => readThrough(path, signal, () => undefined),
        incoming: unshared,
        sync: (each) => shell.sync(each),
        report: (done, _total, note) => say(before + done, note),
        log: () => undefined,
        signal,
      },
    );
    before += fetched.bytes;
    receivedBytes += fetched.receivedBytes;
    return true;
  };
  for (const { offered, file, onto } of question.files) {
    const path = `${folder}/${file}`;
    if (!(await take(offered, path))) continue;
    if (onto) {
      await needBase(reader, onto.path);
      // What it stands on has the same content here and another path; nothing of it is read.
      const stand = ['-f', 'qcow2', '-u', '-b', onto.path, '-F', onto.format];
      await shell.run(['qemu-img', 'rebase', ...stand, '--', partial(path)], { signal });
    }
    await complete(shell, path);
  }
  const { tpm } = question;
  if (tpm) {
    const state = `${TPM_STATE}/${tpm.uuid}`;
    for (const { offered, path } of tpm.files) {
      const to = `${state}/${path}`;
      await shell.mkdir(to.slice(0, to.lastIndexOf('/')));
      if (await take(offered, to)) await complete(shell, to);
    }
    await shell.run(['chmod', '-R', 'go=', '--', state], { signal });
    await shell.run(['chown', '-R', `${tpm.owner}:`, '--', state], { signal });
  }
  return { receivedBytes };
}

/** A guest's files are passed on to nobody. */
const unshared: Incoming = {
  size: () => undefined,
  list: () => undefined,
  hashes: () => undefined,
  advance: () => undefined,
  fail: () => undefined,
  done: () => undefined,
};

/** A guest with this UUID is ours to touch only when its disks are those that came for this operation. */
async function isOurs(reader: Reader, uuid: string, folder: string, signal: AbortSignal): Promise<boolean> {
  const xml = await reader.virsh.maybe(['dumpxml', '--inactive', '--domain', uuid], { signal });
  return xml?.includes(`${folderIn(reader, folder)}/`) === true;
}

async function define(reader: Reader, question: Ask<'define'>, signal: AbortSignal): Promise<StateThere> {
  const { virsh, definitions } = reader;
  const { guest, folder, xml } = question;
  const there = await virsh.state(guest.uuid, signal);
  if (there !== undefined && !(await isOurs(reader, guest.uuid, folder, signal)))
    throw new OffshootError('name-taken', {
      publicMessage: `A guest with the UUID of ${guest.name} is on this host already.`,
      remedy: 'Remove that one, or choose another host.',
    });
  await virsh.define(xml, `${folderIn(reader, folder)}/.define.xml`, signal);
  definitions.learned(guest, xml);
  const state = await virsh.state(guest.uuid, signal);
  return state === undefined ? {} : { state };
}

async function stateOf(
  { virsh, definitions }: Reader,
  { guest }: Ask<'state'>,
  signal: AbortSignal,
): Promise<StateThere> {
  definitions.changed(guest.uuid);
  const state = await virsh.state(guest.uuid, signal);
  if (state === undefined) return {};
  const stats = await virsh.maybe(
    ['domjobinfo', '--domain', guest.uuid, '--completed', '--keep-completed', '--rawstats'],
    { signal },
  );
  const pause = /^\s*downtime:\s*(\d+)/m.exec(stats ?? '')?.[1];
  return { state, ...(pause === undefined ? {} : { pauseMs: Number(pause) }) };
}

async function forget(
  reader: Reader,
  question: Ask<'forget'>,
  signal: AbortSignal,
): Promise<{ removed: boolean }> {
  const { virsh, shell, definitions } = reader;
  const { guest, folder, tpm } = question;
  const at = folderIn(reader, folder);
  const ours = await isOurs(reader, guest.uuid, folder, signal);
  if (ours) {
    await virsh.destroy(guest.uuid, signal);
    const version = await reader.host.libvirtVersion();
    await virsh.undefine(guest.uuid, { tpm: tpm && version >= UNDEFINE_TPM, nvram: false }, signal);
    definitions.changed(guest.uuid);
  }
  const there = (await shell.stat(at))?.type === 'directory';
  if (there) {
    for (const file of await shell.list(at)) await shell.remove(`${at}/${file}`);
    await removeEmpty(shell, at, signal);
  }
  const state = `${TPM_STATE}/${guest.uuid}`;
  const mine = ours || (await virsh.state(guest.uuid, signal)) === undefined;
  if (tpm && mine && (await shell.stat(state))) await shell.run(['rm', '-r', '--', state], { signal });
  return { removed: ours || there };
}

async function passThrough(
  { shell }: Reader,
  stream: Duplex,
  operation: string,
  channel: Channel,
): Promise<void> {
  const far = await dialFirst(shell, socketOf(channel, operation));
  far.once('close', () => stream.destroy());
  stream.once('close', () => far.destroy());
  for (const each of [far, stream]) each.on('error', () => far.destroy());
  writeLine(stream, { answer: null });
  stream.pipe(far);
  far.pipe(stream);
}

async function dialFirst(shell: Reader['shell'], sockets: readonly string[]): Promise<Duplex> {
  for (const socket of sockets) if (await shell.stat(socket)) return shell.dial(socket);
  throw new OffshootError('host-unreachable', {
    publicMessage: `Nothing listens on ${sockets.join(' or ')}.`,
    retryable: true,
  });
}
