/**
 * The side of a worker that other hosts' workers call. Who may come is asked for each time; no account, no command and no
 * file of the host is reachable through it, only the services of secure.ts (docs/decisions/0022, 0027).
 */
import type { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { OffshootError, toOffshootError } from '../../errors.ts';
import type { PeerKey } from './key.ts';
import {
  ALIVE,
  CONNECT_MS,
  KEEPALIVE_MS,
  peerServices,
  provenKey,
  securedBy,
  UNKNOWN,
  WELCOME,
  type PeerService,
} from './secure.ts';

/** Served at a time: a chain has one, a guest that moves three. */
const MAX_SERVED = 64;
/** Those that only ask whether we are here, or have not said yet who they are, must find room beside them. */
const MAX_CONNECTIONS = 2 * MAX_SERVED;

export interface PeerServerOptions {
  address: string;
  /** 0: any free one. */
  port: number;
  key: PeerKey;
  /** Who has that public key; undefined: nobody who may come (any more). Asked for every connection, and while it lasts. */
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
  const open = new Set<Socket>();
  const server = createServer({
    ...securedBy(options.key),
    requestCert: true,
    ALPNProtocols: [...peerServices, ALIVE],
    handshakeTimeout: CONNECT_MS,
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('connection', (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  server.on('tlsClientError', options.onError);
  const served = new Set<TLSSocket>();
  server.on('secureConnection', (socket) => {
    socket.on('error', options.onError);
    greet(socket, served, options).catch((error: unknown) => {
      options.onError(toOffshootError(error));
      socket.destroy();
    });
  });
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
        for (const socket of open) socket.destroy();
      }),
  };
}

async function greet(socket: TLSSocket, served: Set<TLSSocket>, options: PeerServerOptions): Promise<void> {
  const { whoIs, serve } = options;
  const service = peerServices.find((each) => each === socket.alpnProtocol);
  const key = provenKey(socket);
  const who = service === undefined || key === undefined ? undefined : await whoIs(key);
  if (service === undefined || key === undefined || who === undefined) {
    socket.write(Buffer.of(UNKNOWN));
    socket.destroySoon();
    return;
  }
  if (socket.destroyed) return; // it went away while we asked
  if (served.size >= MAX_SERVED) {
    socket.destroy(); // it tries again
    return;
  }
  served.add(socket);
  socket.once('close', () => served.delete(socket));
  socket.write(Buffer.of(WELCOME));
  watchAllowed(socket, () => whoIs(key), who, options);
  await serve(socket, who, service);
}

/** A base takes minutes: one whose credential is revoked meanwhile gets no more of it. While nobody can say, it goes on. */
function watchAllowed(
  socket: TLSSocket,
  ask: () => Promise<string | undefined>,
  who: string,
  { onError }: PeerServerOptions,
): void {
  let asking = false;
  const look = async (): Promise<void> => {
    asking = true;
    try {
      if ((await ask()) !== who) socket.destroy(new Error(`${who} may not come any more`));
    } catch (error) {
      onError(toOffshootError(error));
    }
    asking = false;
  };
  const timer = setInterval(() => {
    if (!asking) void look();
  }, KEEPALIVE_MS);
  socket.once('close', () => clearInterval(timer));
}

function unlistenable(error: NodeJS.ErrnoException, { address, port }: PeerServerOptions): OffshootError {
  return new OffshootError(error.code === 'EADDRINUSE' ? 'in-use' : 'invalid-input', {
    publicMessage: `The worker can’t listen on ${address}, port ${port}, for other hosts (${error.code ?? error.message}).`,
    remedy: 'Set OFFSHOOT_PEER_ADDRESS and OFFSHOOT_PEER_PORT to an address of this host and a free port.',
    cause: error,
  });
}
