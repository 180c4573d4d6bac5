/** All that the checks of a round look at, read once. */
import type { Db } from '@offshoot/db/client';
import { domains, type Domain } from '../host.ts';
import { HOST_ID } from '../workers.ts';
import { patiently, type World } from '../world.ts';
import { contentOf, type StoreContent } from './files.ts';

export type GuestRow = Awaited<ReturnType<Db['prisma']['guest']['findMany']>>[number];
export type BaseRow = Awaited<ReturnType<Db['prisma']['base']['findMany']>>[number];

export interface Snapshot {
  store: string;
  content: StoreContent;
  /** All of the host, also of others. */
  domains: Domain[];
  /** Rows of guests that the product made. */
  guests: GuestRow[];
  bases: BaseRow[];
}

export async function takeSnapshot(world: World): Promise<Snapshot> {
  const [content, host, guests, bases] = await Promise.all([
    contentOf(world.store.path),
    domains(world.services.libvirtUri),
    patiently(() => world.db.prisma.guest.findMany({ where: { hostId: HOST_ID, managed: true } })),
    patiently(() => world.db.prisma.base.findMany({ where: { hostId: HOST_ID } })),
  ]);
  return { store: world.store.path, content, domains: host, guests, bases };
}
