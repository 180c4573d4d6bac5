/**
 * Workers of one portal reach each other over SSH: each has one ed25519 key, which it both shows as a server and logs in
 * with as a client. Who may come is asked for each time; no account, no command and no file of the host is reachable
 * through it, only the services below (docs/decisions/0022, 0027).
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import ssh2, { type AuthContext, type Connection } from 'ssh2';
import { OffshootError, toOffshootError } from '../errors.ts';
import { reasonOf } from './failures.ts';

// Node finds not all of this CommonJS module's names.
const { Client, Server, utils } = ssh2;

/** What a log-in may ask for: files of bases, or to take a guest in. */
export const peerServices = ['offshoot-bases', 'offshoot-guests'] as const;
export type PeerService = (typeof peerServices)[number];
const USER = 'offshoot';
const CONNECT_MS = 3000;
const KEEPALIVE_MS = 2000;
/** Of one host at a time: a chain has one, a tree a few. */
const MAX_CONNECTIONS = 64;
const algorithms = { cipher: ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com'] as const };

export interface PeerKey {
  private: string;
  /** As in an authorized_keys file: "ssh-ed25519 AAAA…". */
  public: string;
}

/** The host's key, kept in that file; made when there is none. @throws OffshootError `permission` when it can't be read. */
export async function peerKey(path: string): Promise<PeerKey> {
  let text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) {
    text = utils.generateKeyPairSync('ed25519').private;
    await mkdir(dirname(path), { recursive: true, mode: 0o711 });
    const beside = `${path}.${randomBytes(4).toString('hex')}`;
    await writeFile(beside, text, { mode: 0o600, flush: true });
    await rename(beside, path);
  }
  await chmod(path, 0o600);
  const parsed = utils.parseKey(text);
  if (parsed instanceof Error)
    throw new OffshootError('permission', {
      publicMessage: `The worker’s key ${path} can’t be read.`,
      remedy: 'Delete the file: the worker makes a new one when it starts.',
      cause: parsed,
    });
  return { private: text, public: publicOf(parsed) };
}

const publicOf = (key: { type: string; getPublicSSH(): Buffer }): string =>
  `${key.type} ${key.getPublicSSH().toString('base64')}`;

export interface PeerServerOptions {
  address: string;
  /** 0: any free one. */
  port: number;
  key: PeerKey;
  /** Who has that public key; undefined: nobody who may come (any more). Asked at every log-in. */
  whoIs: (publicKey: string) => Promise<string | undefined>;
  /** Serves one stream; the name is `whoIs`'s. */
  serve: (stream: Duplex, who: string, service: PeerService) => Promise<void>;
  onError: (error: Error) => void;
}

export interface PeerServer {
  port: number;
  /** Ends what is being served, too. */
  close(): Promise<void>;
}

/** Listens. @throws OffshootError `in-use`, `invalid-input` when the address can't be listened on. */
export async function servePeers(options: PeerServerOptions): Promise<PeerServer> {
  const connections = new Set<Connection>();
  const server = new Server(
    { hostKeys: [options.key.private], algorithms: { cipher: [...algorithms.cipher] } },
    (client) => {
      if (connections.size >= MAX_CONNECTIONS) {
        client.end();
        return;
      }
      connections.add(client);
      client.on('close', () => connections.delete(client));
      client.on('error', (error: Error) => options.onError(error));
      greet(client, options);
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(unlistenable(error, options)));
    server.listen(options.port, options.address, () => {
      const bound = server.address();
      resolve(typeof bound === 'object' && bound !== null ? bound.port : options.port);
    });
  });
  server.on('error', options.onError);
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const client of connections) client.end();
      }),
  };
}

function greet(client: Connection, { whoIs, serve, onError }: PeerServerOptions): void {
  let who: string | undefined;
  client.on('authentication', (attempt) => {
    void judge(attempt);
  });
  const judge = async (attempt: AuthContext): Promise<void> => {
    try {
      const name = await authenticate(attempt, whoIs);
      if (name !== undefined) {
        who = name;
        attempt.accept();
        return;
      }
    } catch (error) {
      onError(toOffshootError(error));
    }
    attempt.reject(['publickey']);
  };
  client.on('session', (accept) => {
    const session = accept();
    session.on('subsystem', (acceptService, rejectService, info) => {
      const service = peerServices.find((each) => each === info.name);
      if (service === undefined || who === undefined) {
        rejectService();
        return;
      }
      const stream: Duplex = acceptService();
      stream.on('error', onError);
      serve(stream, who, service).catch((error: unknown) => {
        onError(toOffshootError(error));
        stream.destroy();
      });
    });
  });
}

async function authenticate(
  attempt: AuthContext,
  whoIs: PeerServerOptions['whoIs'],
): Promise<string | undefined> {
  if (attempt.method !== 'publickey' || attempt.username !== USER) return undefined;
  const key = utils.parseKey(`${attempt.key.algo} ${attempt.key.data.toString('base64')}`);
  if (key instanceof Error) return undefined;
  const name = await whoIs(publicOf(key));
  if (name === undefined) return undefined;
  // Without a signature it only asks whether the key would do.
  if (attempt.signature === undefined || attempt.blob === undefined) return name;
  // It may also return an Error, which its types do not say.
  const verified: unknown = key.verify(attempt.blob, attempt.signature, attempt.hashAlgo);
  return verified === true ? name : undefined;
}

function unlistenable(error: NodeJS.ErrnoException, { address, port }: PeerServerOptions): OffshootError {
  return new OffshootError(error.code === 'EADDRINUSE' ? 'in-use' : 'invalid-input', {
    publicMessage: `The worker can’t listen on ${address}, port ${port}, for other hosts (${error.code ?? error.message}).`,
    remedy: 'Set OFFSHOOT_PEER_ADDRESS and OFFSHOOT_PEER_PORT to an address of this host and a free port.',
    cause: error,
  });
}

export interface PeerTarget {
  name: string;
  address: string;
  port: number;
  /** The only host key that is accepted. */
  publicKey: string;
}

/**
 * A stream to another host's worker; destroying it closes the connection.
 * @throws OffshootError `host-unreachable` (retryable), `host-key-mismatch`, `permission`
 */
export function dialPeer(
  target: PeerTarget,
  key: PeerKey,
  signal: AbortSignal,
  service: PeerService = 'offshoot-bases',
): Promise<Duplex> {
  const client = new Client();
  let seen: string | undefined;
  return new Promise((resolve, reject) => {
    const fail = (error: Error & { level?: string }): void => {
      client.end();
      reject(signal.aborted ? reasonOf(signal) : refusal(error, target, seen));
    };
    const onAbort = (): void => {
      client.destroy();
      reject(reasonOf(signal));
    };
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    client.on('close', () => {
      signal.removeEventListener('abort', onAbort);
      fail(new Error('the connection was closed'));
    });
    client.on('error', fail);
    client.on('ready', () => {
      client.subsys(service, (error, stream) => {
        if (error) {
          fail(error);
          return;
        }
        stream.on('close', () => client.end());
        // A broken connection must end the stream, not leave it waiting.
        client.on('close', () => stream.destroy());
        resolve(stream);
      });
    });
    client.connect({
      host: target.address,
      port: target.port,
      username: USER,
      privateKey: key.private,
      readyTimeout: CONNECT_MS,
      keepaliveInterval: KEEPALIVE_MS,
      keepaliveCountMax: 2,
      algorithms: { cipher: [...algorithms.cipher] },
      hostVerifier: (shown: Buffer) => {
        const parsed = utils.parseKey(shown);
        seen = parsed instanceof Error ? 'a key that can’t be read' : publicOf(parsed);
        return seen === target.publicKey;
      },
    });
  });
}

function refusal(
  error: Error & { level?: string },
  target: PeerTarget,
  seen: string | undefined,
): OffshootError {
  if (seen !== undefined && seen !== target.publicKey)
    return new OffshootError('host-key-mismatch', {
      publicMessage: `${target.name} shows another key than the one it registered with. Nothing was sent to it.`,
      remedy:
        'Restart its worker so that it registers again; if that does not help, someone may be in between.',
      context: { seen, pinned: target.publicKey },
      cause: error,
    });
  if (error.level === 'client-authentication')
    return new OffshootError('permission', {
      publicMessage: `${target.name} does not let this host in: it knows no host with this key.`,
      remedy: 'Restart this host’s worker so that it registers again.',
      cause: error,
    });
  return new OffshootError('host-unreachable', {
    publicMessage: `${target.name} can’t be reached (${target.address}, port ${target.port}).`,
    remedy: 'Check that its worker runs and that the network lets this port through.',
    retryable: true,
    cause: error,
  });
}
