/** Row locks and the rule that one guest has one operation at a time. Internal to this package. */
import type {
  CloneMode,
  Generations,
  GuestSnapshot,
  GuestState,
  OperationKind,
} from '@offshoot/clone-core/contract';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Tx } from './transaction.ts';

export interface LockedGuest {
  id: string;
  hostId: string;
  name: string;
  uuid: string | null;
  state: GuestState;
  managed: boolean;
  mode: CloneMode | null;
  baseId: string | null;
  snapshots: GuestSnapshot[] | null;
  generations: Generations | null;
}

/** Locks the guest's row until the transaction ends; `shared` lets others lock it shared too. Throws `not-found`. */
export async function lockGuest(
  tx: Tx,
  guestId: string,
  lock: 'exclusive' | 'shared',
  field = 'guestId',
): Promise<LockedGuest> {
  const { rows } = await tx.query<LockedGuest>(
    `SELECT "id", "hostId", "name", "uuid", "state", "managed", "mode", "baseId", "snapshots", "generations" FROM "guest" WHERE "id" = $1
     ${lock === 'exclusive' ? 'FOR NO KEY UPDATE' : 'FOR SHARE'}`,
    [guestId],
  );
  const guest = rows[0];
  if (guest) return guest;
  throw new OffshootError('not-found', {
    publicMessage: 'That guest does not exist any more.',
    remedy: 'Reload the list.',
    field,
  });
}

const doing: Record<OperationKind, string> = {
  clone: 'is being made',
  capture: 'is being captured',
  import: 'is being imported',
  start: 'is being started',
  stop: 'is being stopped',
  delete: 'is being deleted',
  'remove-base': 'is being removed',
  verify: 'is being compared with what it was cloned from',
  reset: 'is being reset',
  refresh: 'is being refreshed',
  restore: 'is being put back',
  snapshot: 'is being put into a snapshot',
  revert: 'is being put back to a snapshot',
  'remove-snapshot': 'is losing a snapshot',
  promote: 'is getting disks of its own',
  transfer: 'is being brought from another host',
  migrate: 'is on its way to another host',
  export: 'is being exported',
};

/** What reads the disks of a guest as they are. */
const READERS: readonly OperationKind[] = ['clone', 'refresh', 'verify'];

export interface BusyOptions {
  /** Also while a full clone or a refresh still reads its disks, or one is being compared with it. */
  alsoAsSource: boolean;
  /**
   * It is going to be read as it is. A refresh from a stopped guest notes its point in its disks, which all others that read
   * them would take for a change: such a refresh is not begun beside others, nor others beside it.
   */
  reading?: 'refresh' | 'other';
}

/** Throws `busy` (retryable) when an operation on the guest has not ended. The caller holds the guest's row lock. */
export async function refuseIfBusy(tx: Tx, guest: LockedGuest, options: BusyOptions): Promise<void> {
  const beside = guest.state !== 'stopped' ? [] : options.reading === 'other' ? ['refresh'] : READERS;
  const asSource = options.alsoAsSource ? READERS : options.reading === undefined ? [] : beside;
  const { rows } = await tx.query<{ kind: OperationKind; own: boolean; title: string }>(
    `SELECT "kind", true AS own, "title" FROM "operation"
       WHERE "guestId" = $1 AND "state" IN ('waiting', 'queued', 'running', 'undoing')
     UNION ALL
     SELECT o."kind", false, o."title" FROM "guest" g JOIN "operation" o ON o."guestId" = g."id"
       WHERE g."sourceGuestId" = $1 AND g."mode" = 'full' AND o."kind" = ANY($2)
         AND o."state" IN ('waiting', 'queued', 'running', 'undoing')
     LIMIT 1`,
    [guest.id, asSource],
  );
  const row = rows[0];
  if (!row) return;
  throw new OffshootError('busy', {
    publicMessage: row.own
      ? `“${guest.name}” ${doing[row.kind]} just now.`
      : row.kind === 'refresh'
        ? `“${row.title}” is being refreshed from “${guest.name}” just now.`
        : `“${guest.name}” is being ${row.kind === 'verify' ? 'compared with' : 'cloned to'} “${row.title}” just now.`,
    remedy: 'Try again when that has ended, or cancel it.',
    retryable: true,
  });
}
