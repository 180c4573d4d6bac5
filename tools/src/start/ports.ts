import { createServer } from 'node:net';
import { OffshootError } from '@offshoot/clone-core/errors';

/** Whether a server could listen there now. */
export function portIsFree(port: number, address: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(false);
      else
        reject(
          new OffshootError('invalid-input', {
            publicMessage: `This machine can’t listen on ${address}.`,
            remedy: 'Set HOST to one of its own addresses, or 0.0.0.0 for all of them.',
            cause: error,
          }),
        );
    });
    server.listen(port, address, () => server.close(() => resolve(true)));
  });
}

/** The first free port from `first`. */
export async function freePort(first: number, address: string): Promise<number> {
  for (let port = first; port < first + 1000; port++) {
    if (await portIsFree(port, address)) return port;
  }
  throw new OffshootError('in-use', {
    publicMessage: `No port from ${first} to ${first + 999} is free.`,
    remedy: 'Set PORT.',
  });
}
