/** Asking to bring a full clone up to date with its source, or to put it back. */
import { refreshOptionsSchema, type RefreshOptions } from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import { ask, inventoryEvent, type Asked } from './ask.ts';
import type { Db } from './client.ts';
import { appendEvents } from './events.ts';
import { lockGuest, refuseIfBusy } from './guest-lock.ts';
import {
  askOf,
  idleGuest,
  operation,
  parseOrRefuse,
  refuseIfMissing,
  type AskedOfGuest,
  type Made,
} from './guest-requests.ts';
import { persistently, transaction, type Tx } from './transaction.ts';
import type { BatchResult, StoredRequest } from './types.ts';

type StoredRefresh = Extract<StoredRequest, { kind: 'refresh' }>;

/** What is stored for a refresh; also what its preview is asked with. Throws `invalid-input`. */
export const refreshRequest = (options: unknown): StoredRefresh => ({
  kind: 'refresh',
  options: parseOrRefuse(refreshOptionsSchema, options),
});

/** The rows of one refresh, inside the asker's transaction. Also used to ask again for one that failed. */
export async function makeRefresh(
  tx: Tx,
  guestId: string,
  request: StoredRefresh,
  agreedFingerprint: string | null,
): Made {
  const guest = await idleGuest(tx, guestId);
  refuseIfMissing(guest);
  await lockSource(tx, guestId, guest.name);
  return {
    operations: [
      {
        ...operation({ hostId: guest.hostId, guestId, title: guest.name, request, lane: 'bulk' }),
        agreedFingerprint,
      },
    ],
  };
}

/** Locks the source's row: it can't be deleted or stopped while it is read. */
async function lockSource(tx: Tx, guestId: string, name: string): Promise<void> {
  const { rows } = await tx.query<{
    mode: string | null;
    sourceGuestId: string | null;
    sourceName: string | null;
  }>('SELECT "mode", "sourceGuestId", "sourceName" FROM "guest" WHERE "id" = $1', [guestId]);
  const row = rows[0];
  if (row?.mode !== 'full')
    throw new OffshootError('unavailable-mode', {
      publicMessage: `“${name}” is not a full clone, so there is nothing to bring up to date.`,
      remedy:
        row?.mode === 'linked'
          ? 'Reset it to its base, or make a linked clone of a newer version.'
          : 'Make a full clone of it, and refresh that.',
      field: 'guestId',
    });
  if (row.sourceGuestId === null)
    throw new OffshootError('source-missing', {
      publicMessage: row.sourceName
        ? `The source of “${name}”, ${row.sourceName}, is no guest that is there now.`
        : `“${name}” has no source any more.`,
      remedy: 'Clone another guest.',
      field: 'guestId',
    });
  const source = await lockGuest(tx, row.sourceGuestId, 'exclusive');
  refuseIfMissing(source);
  await refuseIfBusy(tx, source, { alsoAsSource: false, reading: 'refresh' });
}

/**
 * Asks for a refresh. Throws `busy`, `not-found`, `source-missing`, `unavailable-mode` for what is no full clone, and
 * `invalid-input`.
 */
export function requestRefresh(
  db: Db,
  asked: Asked & { guestId: string; options: RefreshOptions; agreedFingerprint?: string },
): Promise<BatchResult> {
  const request = refreshRequest(asked.options);
  const agreed = asked.agreedFingerprint ?? null;
  return ask(db, asked, { guestId: asked.guestId, request, agreed }, (tx) =>
    makeRefresh(tx, asked.guestId, request, agreed),
  );
}

/**
 * A state that was kept on purpose becomes one like others: a later refresh removes it. Throws `busy` while something is
 * done with the guest, `not-found`.
 */
export function releaseState(
  db: Db,
  { guestId, number }: { guestId: string; number: number },
): Promise<void> {
  return persistently(() =>
    transaction(db, async (tx) => {
      const { generations, hostId, name } = await idleGuest(tx, guestId);
      if (!generations?.list.some((each) => each.number === number))
        throw new OffshootError('not-found', {
          publicMessage: `“${name}” has no state ${number} any more.`,
          remedy: 'Reload its page.',
          field: 'number',
        });
      const list = generations.list.map((each) => (each.number === number ? { ...each, kept: false } : each));
      await tx.query('UPDATE "guest" SET "generations" = $2 WHERE "id" = $1', [
        guestId,
        JSON.stringify({ ...generations, list }),
      ]);
      await appendEvents(tx, [inventoryEvent(hostId, [guestId])]);
    }),
  );
}

/** Puts a refreshed clone back to one of its earlier states. Throws `busy`, `not-found`, `source-missing`. */
export function requestRestore(db: Db, asked: AskedOfGuest & { to: number }): Promise<BatchResult> {
  return askOf(db, asked, { kind: 'restore', to: asked.to });
}
