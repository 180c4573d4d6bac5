/** The side of a worker that calls another host's worker. */
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { connect, type TLSSocket } from 'node:tls';
import { OffshootError } from '../../errors.ts';
import { reasonOf } from '../failures.ts';
import type { PeerKey } from './key.ts';
import {
  ALIVE,
  CONNECT_MS,
  KEEPALIVE_MS,
  provenKey,
  securedBy,
  WELCOME,
  type PeerService,
} from './secure.ts';

/** Looks that find nobody before a connection is given up. */
const MAX_MISSED = 2;

export interface PeerTarget {
  name: string;
  address: string;
  port: number;
  /** The only key that is accepted, as in an authorized_keys file. */
  publicKey: string;
}

/**
 * A stream to another host's worker; destroying it closes the connection, and so does the signal. It is also closed when
 * that host can't be reached any more. Nothing was said to that host before its key was proven.
 * @throws OffshootError `host-unreachable` (retryable), `host-key-mismatch`, `permission`
 */
export async function dialPeer(
  target: PeerTarget,
  key: PeerKey,
  signal: AbortSignal,
  service: PeerService = 'offshoot-bases',
): Promise<Duplex> {
  if (signal.aborted) throw reasonOf(signal);
  const socket = call(target, key, service);
  const abort = (): void => void socket.destroy(reasonOf(signal));
  signal.addEventListener('abort', abort, { once: true });
  socket.once('close', () => signal.removeEventListener('abort', abort));
  const late = setTimeout(() => socket.destroy(new Error('it did not answer in time')), CONNECT_MS);
  try {
    await proven(socket, target);
    if ((await firstByte(socket)) !== WELCOME) throw unknownThere(target);
  } catch (error) {
    socket.destroy();
    throw signal.aborted ? reasonOf(signal) : refusal(error, target);
  } finally {
    clearTimeout(late);
  }
  watch(socket, target, key);
  return socket;
}

function call({ address: host, port }: PeerTarget, key: PeerKey, protocol: string): TLSSocket {
  const socket = connect({ ...securedBy(key), host, port, ALPNProtocols: [protocol] });
  // Whoever uses it is told by its close; this one only keeps the process alive.
  socket.on('error', () => undefined);
  return socket;
}

/** @throws OffshootError `host-key-mismatch` */
async function proven(socket: TLSSocket, { name, publicKey }: PeerTarget): Promise<void> {
  await once(socket, 'secureConnect');
  const seen = provenKey(socket);
  if (seen === publicKey) return;
  throw new OffshootError('host-key-mismatch', {
    publicMessage: `${name} shows another key than the one it registered with. Nothing was sent to it.`,
    remedy:
      'Restart its worker so that it registers again; if that does not help, someone may be in between.',
    context: { seen: seen ?? 'none', pinned: publicKey },
  });
}

/** Leaves what follows in the stream. */
function firstByte(socket: TLSSocket): Promise<number> {
  return new Promise((resolve, reject) => {
    const settle = (end: () => void): void => {
      socket.off('readable', take).off('end', gone).off('close', gone);
      end();
    };
    const take = (): void => {
      const byte = socket.read(1) as Buffer | null;
      if (byte) settle(() => resolve(byte.readUInt8()));
    };
    const gone = (): void => settle(() => reject(new Error('the connection was closed')));
    socket.on('readable', take).on('end', gone).on('close', gone);
    if (socket.destroyed) gone();
  });
}

/** TCP tells only after minutes that nobody is there any more: while nothing comes, a second connection asks. */
function watch(socket: TLSSocket, target: PeerTarget, key: PeerKey): void {
  let read = socket.bytesRead;
  let missed = 0;
  let looking = false;
  const look = async (): Promise<void> => {
    const found = socket.bytesRead !== read || (await isThere(target, key));
    read = socket.bytesRead;
    missed = found ? 0 : missed + 1;
    if (missed === MAX_MISSED) socket.destroy(new Error('nobody answers there any more'));
  };
  const timer = setInterval(() => {
    if (looking) return;
    looking = true;
    void look().finally(() => (looking = false));
  }, KEEPALIVE_MS);
  socket.once('close', () => clearInterval(timer));
}

async function isThere(target: PeerTarget, key: PeerKey): Promise<boolean> {
  const socket = call(target, key, ALIVE);
  const late = setTimeout(() => socket.destroy(new Error('it did not answer in time')), KEEPALIVE_MS);
  try {
    await proven(socket, target);
    return true;
  } catch {
    return false;
  } finally {
    clearTimeout(late);
    socket.destroy();
  }
}

const unknownThere = ({ name }: PeerTarget): OffshootError =>
  new OffshootError('permission', {
    publicMessage: `${name} does not let this host in: it knows no host with this key.`,
    remedy: 'Restart this host’s worker so that it registers again.',
  });

function refusal(error: unknown, target: PeerTarget): OffshootError {
  if (error instanceof OffshootError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code.startsWith('ERR_SSL_'))
    return new OffshootError('host-unreachable', {
      publicMessage: `${target.name} answers, but not as this host’s worker expects: the two workers are of different versions.`,
      remedy: 'Update the workers of both hosts.',
      retryable: true,
      cause: error,
    });
  return new OffshootError('host-unreachable', {
    publicMessage: `${target.name} can’t be reached (${target.address}, port ${target.port}).`,
    remedy: 'Check that its worker runs and that the network lets this port through.',
    retryable: true,
    cause: error,
  });
}
