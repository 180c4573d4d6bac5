/** Unix sockets of this host behind which another host answers. */
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { fileError } from './failures.ts';

export interface Relay {
  /** Ends what goes through it, too. */
  close(): Promise<void>;
}

/**
 * Listens on a Unix socket; each connection goes on to a stream of its own from `connect`.
 * @param mode permission bits of the socket: who may use the other end
 * @throws OffshootError `permission`, `not-found` when the socket can't be made
 */
export async function relaySocket(
  path: string,
  mode: number,
  connect: () => Promise<Duplex>,
  onError: (error: unknown) => void,
): Promise<Relay> {
  const open = new Set<Duplex>();
  await rm(path, { force: true }); // of a worker that was killed
  const server = createServer({ allowHalfOpen: true }, (near) => {
    open.add(near);
    near.once('close', () => open.delete(near));
    near.on('error', onError);
    connect().then(
      (far) => join(near, far, open, onError),
      (error: unknown) => {
        onError(error);
        near.destroy();
      },
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(fileError(error.code ?? '', path, 'this machine', error)),
    );
    server.listen(path, resolve);
  });
  server.on('error', onError);
  await chmod(path, mode);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => void rm(path, { force: true }).then(() => resolve()));
        for (const each of open) each.destroy();
      }),
  };
}

function join(near: Socket, far: Duplex, open: Set<Duplex>, onError: (error: unknown) => void): void {
  open.add(far);
  far.once('close', () => {
    open.delete(far);
    near.destroy();
  });
  near.once('close', () => far.destroy());
  far.on('error', onError);
  near.pipe(far);
  far.pipe(near);
}
