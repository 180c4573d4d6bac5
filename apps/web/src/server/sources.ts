import type { Source } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { db } from './services.ts';

/** The host that holds a source. Throws `source-missing` when it is gone. */
export async function hostOfSource(source: Source): Promise<string> {
  if (source.type === 'guest') {
    const guest = await db().prisma.guest.findUnique({ where: { id: source.id }, select: { hostId: true } });
    if (guest) return guest.hostId;
  } else {
    const version = await db().prisma.templateVersion.findUnique({
      where: { id: source.versionId },
      select: { base: { select: { hostId: true } } },
    });
    if (version) return version.base.hostId;
  }
  throw new OffshootError('source-missing', {
    publicMessage: 'The source is gone: someone deleted it.',
    remedy: 'Pick another source.',
    field: 'source',
  });
}

/** The host that a guest is on. Throws `not-found`. */
export async function hostOfGuest(id: string): Promise<string> {
  const guest = await db().prisma.guest.findUnique({ where: { id }, select: { hostId: true } });
  if (guest) return guest.hostId;
  throw new OffshootError('not-found', {
    publicMessage: 'That guest does not exist any more.',
    remedy: 'Reload the list.',
    field: 'guestId',
  });
}
