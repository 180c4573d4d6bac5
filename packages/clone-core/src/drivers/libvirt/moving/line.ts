/** Lines of JSON on a stream between two workers, and asking over it. */
import type { Duplex } from 'node:stream';
import type { Peers } from '../../../disks/transfer/peers.ts';
import { OffshootError } from '../../../errors.ts';
import { replySchema, type Question, type Reply } from './protocol.ts';

/** A definition with everything in it is far shorter. Bytes. */
const MAX_LINE = 4 * 1024 ** 2;

/** The next line; what follows it stays in the stream. Undefined: the other side ended. Rejects when the stream breaks. */
export function readLine(stream: Duplex): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let length = 0;
    const settle = (end: () => void): void => {
      stream.off('readable', take).off('end', ended).off('close', ended).off('error', broken);
      end();
    };
    const ended = (): void => settle(() => resolve(undefined));
    const broken = (error: Error): void => settle(() => reject(error));
    const take = (): void => {
      for (let chunk = read(stream); chunk; chunk = read(stream)) {
        const at = chunk.indexOf(10);
        parts.push(at === -1 ? chunk : chunk.subarray(0, at));
        length += chunk.length;
        if (at !== -1) {
          if (at + 1 < chunk.length) stream.unshift(chunk.subarray(at + 1));
          return settle(() => resolve(Buffer.concat(parts).toString('utf8')));
        }
        if (length > MAX_LINE) return settle(() => reject(new Error('the line is too long')));
      }
    };
    stream.on('readable', take).on('end', ended).on('close', ended).on('error', broken);
    if (stream.destroyed || stream.readableEnded) ended();
  });
}

const read = (stream: Duplex): Buffer | null => stream.read() as Buffer | null;

export const writeLine = (stream: Duplex, value: object): void => {
  stream.write(`${JSON.stringify(value)}\n`);
};

export interface Target {
  hostId: string;
  name: string;
}

const unreachable = ({ name }: Target, cause?: unknown): OffshootError =>
  new OffshootError('host-unreachable', {
    publicMessage: `${name} does not go on: the connection was closed.`,
    remedy: 'Check that its worker runs and that the network lets it through.',
    retryable: true,
    cause,
  });

/**
 * Asks, and resolves with the stream after the answer was read. The caller destroys it.
 * @throws OffshootError `host-unreachable` (retryable), or what the other host refuses with.
 */
async function begin(
  peers: Peers,
  target: Target,
  question: Question,
  signal: AbortSignal,
  onProgress: (progress: { doneBytes: number; note: string }) => void = () => undefined,
): Promise<{ stream: Duplex; answer: unknown }> {
  const stream = await peers.connect(target, signal, 'offshoot-guests');
  const abort = (): void => void stream.destroy();
  signal.addEventListener('abort', abort, { once: true });
  try {
    writeLine(stream, question);
    for (;;) {
      const line = await readLine(stream);
      signal.throwIfAborted();
      if (line === undefined) throw unreachable(target);
      const reply: Reply = replySchema.parse(JSON.parse(line));
      if ('progress' in reply) onProgress(reply.progress);
      else if ('refused' in reply) {
        const { code, message, remedy, retryable } = reply.refused;
        throw new OffshootError(code, {
          publicMessage: message,
          retryable,
          ...(remedy === undefined ? {} : { remedy }),
          context: { host: target.hostId, ask: question.ask },
        });
      } else return { stream, answer: reply.answer };
    }
  } catch (thrown) {
    stream.destroy();
    signal.throwIfAborted();
    throw thrown instanceof OffshootError ? thrown : unreachable(target, thrown);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** One question and its answer. Throws as `begin` does. */
export async function askHost(
  peers: Peers,
  target: Target,
  question: Question,
  signal: AbortSignal,
  onProgress?: (progress: { doneBytes: number; note: string }) => void,
): Promise<unknown> {
  const { stream, answer } = await begin(peers, target, question, signal, onProgress);
  stream.destroy();
  return answer;
}

/** A stream to a socket of the other host. Throws as `begin` does. */
export async function reachHost(
  peers: Peers,
  target: Target,
  question: Extract<Question, { ask: 'reach' }>,
  signal: AbortSignal,
): Promise<Duplex> {
  return (await begin(peers, target, question, signal)).stream;
}
