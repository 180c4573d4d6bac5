/** What this host gives to other hosts' workers and takes from them: bases and guests, over TLS with keys that the portal knows. */
import { join } from 'node:path';
import type { AnyDriver } from '@offshoot/clone-core/drivers';
import { OffshootError } from '@offshoot/clone-core/errors';
import { holdingsOf, type Peers } from '@offshoot/clone-core/peers';
import { Offers } from '@offshoot/clone-core/peers/offers';
import { Receiving } from '@offshoot/clone-core/peers/receiving';
import { serveFile } from '@offshoot/clone-core/peers/serve';
import { localShell } from '@offshoot/clone-core/shell/local';
import { dialPeer } from '@offshoot/clone-core/shell/peers/dial';
import { peerKey } from '@offshoot/clone-core/shell/peers/key';
import { servePeers, type PeerServer } from '@offshoot/clone-core/shell/peers/serve';
import type { Db } from '@offshoot/db/client';
import { mayArrive } from '@offshoot/db/operations';
import { hostWithKey, peerOf, registerPeer } from '@offshoot/db/peers';
import type { Logger } from 'pino';
import type { WorkerConfig } from './config.ts';

export interface HostPeers extends Peers {
  /** Listens, and tells the portal where; the driver takes guests in. Throws `in-use`, `invalid-input`. */
  open(log: Logger, driver: Pick<AnyDriver, 'receive'>): Promise<void>;
  close(): Promise<void>;
}

/** The key is in the store, its owner's alone; the portal learns its public half only. */
export async function hostPeers(config: WorkerConfig, db: Db): Promise<HostPeers> {
  const { OFFSHOOT_STORE: store, OFFSHOOT_PEER_ADDRESS: address = '', OFFSHOOT_PEER_PORT: port } = config;
  const key = await peerKey(join(store, '.peer_ed25519'));
  const receiving = new Receiving();
  const offers = new Offers();
  const shell = localShell();
  let server: PeerServer | undefined;
  return {
    receiving,
    offers,
    self: { hostId: config.OFFSHOOT_HOST_ID, name: config.OFFSHOOT_HOST_NAME ?? config.OFFSHOOT_HOST_ID },
    async connect(source, signal, service) {
      const peer = await peerOf(db, source.hostId);
      if (!peer)
        throw new OffshootError('unavailable-mode', {
          publicMessage: `${source.name} gives nothing to other hosts and takes nothing from them.`,
          remedy: 'Set OFFSHOOT_PEER_ADDRESS for its worker.',
        });
      return dialPeer(
        { name: source.name, address: peer.address, port: peer.port, publicKey: peer.key },
        key,
        signal,
        service,
      );
    },
    async open(log, driver) {
      server = await servePeers({
        address,
        port,
        key,
        whoIs: (publicKey) => hostWithKey(db, publicKey),
        serve: async (stream, who, service) => {
          log.debug({ who, service }, 'a host asks');
          if (service === 'offshoot-bases')
            await serveFile(stream, holdingsOf(store, shell, receiving, offers), (line) => log.info(line));
          else if (driver.receive)
            await driver.receive(stream, (id) => mayArrive(db, id, who, config.OFFSHOOT_HOST_ID));
          else stream.destroy();
        },
        onError: (error) => log.debug({ err: error }, 'a host that asked went away'),
      });
      await registerPeer(db, config.OFFSHOOT_HOST_ID, { address, port: server.port, key: key.public });
    },
    close: async () => server?.close(),
  };
}
