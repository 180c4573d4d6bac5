/** How a host's worker takes bases from other hosts, and what it gives them. */
import type { Duplex } from 'node:stream';
import { z } from 'zod';
import type { PeerService } from '../../shell/peers/secure.ts';
import type { Shell } from '../../shell/shell.ts';
import { listOf } from './block-list.ts';
import type { Source } from './fetch.ts';
import type { Offers } from './offers.ts';
import type { Held, Receiving } from './receiving.ts';
import type { Holdings } from './serve.ts';

export interface Peers {
  receiving: Receiving;
  /** Files of guests that are on their way to another host. */
  offers: Offers;
  /** Id and name of this host, as others know it. */
  self: Source;
  /** A stream to that host's worker. Throws `host-unreachable`, `host-key-mismatch`, `permission`, `not-found`. */
  connect(source: Source, signal: AbortSignal, service?: PeerService): Promise<Duplex>;
}

const file = z.object({ path: z.string() });
/** What of a sealed base's manifest says which files it has. */
const manifestSchema = z.object({
  digest: z.string(),
  disks: z.array(file),
  nvramPath: z.string().optional(),
  memory: file.optional(),
});

/** Files of the bases in the store, whole or still coming, and what is offered just now. Nothing else can be asked for. */
export function holdingsOf(
  store: string,
  shell: Pick<Shell, 'readText' | 'stat' | 'writeFile' | 'remove'>,
  receiving: Receiving,
  offers?: Offers,
): Holdings {
  return async (base, name): Promise<Held | undefined> => {
    const offered = offers?.find(base, name);
    if (offered !== undefined) {
      const { size } = (await shell.stat(offered)) ?? { size: 0 };
      return { path: offered, bytes: size, reach: () => Promise.resolve(size) };
    }
    const folder = `${store}/bases/${base.slice(0, 12)}`;
    const text = await shell.readText(`${folder}/base.json`);
    if (text !== undefined) {
      const manifest = manifestSchema.parse(JSON.parse(text));
      const paths = [
        ...manifest.disks.map((disk) => disk.path),
        ...(manifest.nvramPath === undefined ? [] : [manifest.nvramPath]),
        ...(manifest.memory === undefined ? [] : [manifest.memory.path]),
      ];
      const path = paths.find((each) => each === `${folder}/${name}`);
      const stat = manifest.digest === base && path !== undefined ? await shell.stat(path) : undefined;
      if (path !== undefined && stat?.type === 'file')
        return {
          path,
          bytes: stat.size,
          reach: () => Promise.resolve(stat.size),
          // Of the rest, which is small or never asked for by blocks, no list is kept.
          ...(manifest.disks.some((disk) => disk.path === path)
            ? { list: (log) => listOf(path, shell, log) }
            : {}),
        };
    }
    return receiving.find(base, name);
  };
}
