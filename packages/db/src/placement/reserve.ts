/**
 * Reservations: what of a host is promised to operations. A column of the operation, counted while that has not ended: its
 * end in any state, also by the reconciler or a crash's undo, is the release. Internal to this package.
 */
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Tx } from '../transaction.ts';

/** Bytes; processors and memory of what will run. */
export interface Reserve {
  vcpus: number;
  memoryBytes: number;
  storeBytes: number;
}

/** Counted by every look at what is free: operations that have not ended. */
export const OPEN = `"state" IN ('waiting', 'queued', 'running', 'undoing')`;

/** Of an operation: the host that it takes something of. A move takes nothing more where the guest is. */
export const TAKES_OF = `COALESCE(CASE WHEN "kind" = 'migrate' THEN "request" ->> 'targetHostId' END, "hostId")`;

/**
 * From here to the end of the transaction nobody else promises anything: two batches can't both get the last space. Taken
 * after guests' rows and before a base's transfers, by everyone in that order.
 */
export async function lockReservations(tx: Tx): Promise<void> {
  await tx.query('SELECT pg_advisory_xact_lock(7067466)');
}

const gib = (bytes: number): string => `${(bytes / 1024 ** 3).toFixed(1)} GiB`;

/**
 * Throws `no-space` when there would be room on the host, had it not been promised to others. What does not fit at all is for
 * the plan to say, which knows the disks.
 */
export async function refuseOverpromised(
  tx: Tx,
  hostId: string,
  storeBytes: number,
  { field = 'names', mayShare = true }: { field?: string; mayShare?: boolean } = {},
): Promise<void> {
  const { rows } = await tx.query<{ free: string | null; reflink: boolean | null; promised: string }>(
    `SELECT "facts" #>> '{store,freeBytes}' AS free, ("facts" #>> '{store,reflink}')::boolean AS reflink,
       (SELECT COALESCE(sum(("reserves" ->> 'storeBytes')::bigint), 0) FROM "operation" WHERE ${TAKES_OF} = $1 AND ${OPEN}) AS promised
     FROM "host" WHERE "id" = $1`,
    [hostId],
  );
  const row = rows[0];
  // Copies that share blocks take nothing now.
  if (!row || row.free === null || (mayShare && row.reflink === true)) return;
  const [free, promised] = [Number(row.free), Number(row.promised)];
  if (promised === 0 || storeBytes > free || storeBytes + promised <= free) return;
  throw new OffshootError('no-space', {
    publicMessage: `This would store ${gib(storeBytes)}. ${gib(free)} are free on the host, but ${gib(promised)} of that are promised to what others asked for.`,
    remedy: 'Wait until theirs is done, make fewer or linked clones, or choose another host.',
    field,
    retryable: true,
  });
}
