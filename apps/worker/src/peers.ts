/** What this host gives to other hosts' workers and takes from them: bases, over SSH with keys that the portal knows. */
import { join } from 'node:path';
import { OffshootError } from '@offshoot/clone-core/errors';
import { holdingsOf, type Peers } from '@offshoot/clone-core/peers';
import { Receiving } from '@offshoot/clone-core/peers/receiving';
import { serveFile } from '@offshoot/clone-core/peers/serve';
import { localShell } from '@offshoot/clone-core/shell/local';
import { dialPeer, peerKey, servePeers, type PeerServer } from '@offshoot/clone-core/shell/peers';
import type { Db } from '@offshoot/db/client';
import { hostWithKey, peerOf, registerPeer } from '@offshoot/db/peers';
import type { Logger } from 'pino';
import type { WorkerConfig } from './config.ts';

export interface HostPeers extends Peers {
  /** Listens, and tells the portal where. Throws `in-use`, `invalid-input`. */
  open(log: Logger): Promise<void>;
  close(): Promise<void>;
}

/** The key is in the store, its owner's alone; the portal learns its public half only. */
export async function hostPeers(config: WorkerConfig, db: Db): Promise<HostPeers> {
  const { OFFSHOOT_STORE: store, OFFSHOOT_PEER_ADDRESS: address = '', OFFSHOOT_PEER_PORT: port } = config;
  const key = await peerKey(join(store, '.peer_ed25519'));
  const receiving = new Receiving();
  const shell = localShell();
  let server: PeerServer | undefined;
  return {
    receiving,
    async connect(source, signal) {
      const peer = await peerOf(db, source.hostId);
      if (!peer)
        throw new OffshootError('unavailable-mode', {
          publicMessage: `${source.name} gives no bases to other hosts.`,
          remedy: 'Set OFFSHOOT_PEER_ADDRESS for its worker.',
        });
      return dialPeer(
        { name: source.name, address: peer.address, port: peer.port, publicKey: peer.key },
        key,
        signal,
      );
    },
    async open(log) {
      server = await servePeers({
        address,
        port,
        key,
        whoIs: (publicKey) => hostWithKey(db, publicKey),
        serve: async (stream, who) => {
          log.debug({ to: who }, 'a host takes a base');
          await serveFile(stream, holdingsOf(store, shell, receiving));
        },
        onError: (error) => log.debug({ err: error }, 'a host that took a base went away'),
      });
      await registerPeer(db, config.OFFSHOOT_HOST_ID, { address, port: server.port, key: key.public });
    },
    close: async () => server?.close(),
  };
}
