/** A server on this machine's loopback, within reach of hosts that have a loopback of their own. */
import { connect, createServer, type Socket } from 'node:net';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

export interface Relay {
  /** PostgreSQL's URL by way of a socket's path, which namespaces do not keep apart. */
  url: string;
  close(): Promise<void>;
}

/** Relays a PostgreSQL that listens on a port; `folder` is for the socket, whose path is at most 107 bytes long. */
export async function relayPostgres(databaseUrl: string, folder: string): Promise<Relay> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  await mkdir(folder, { recursive: true });
  const server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      // One side's end is the other's.
      socket.on('error', () => undefined);
    }
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(join(folder, '.s.PGSQL.5432'), resolve);
  });
  const { username, password, pathname } = target;
  return {
    url: `postgresql://${username}:${password}@localhost${pathname}?host=${encodeURIComponent(folder)}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
