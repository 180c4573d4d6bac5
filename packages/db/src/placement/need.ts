/** What clones take of a host, from what is stored of their source. Internal to this package. */
import type { CloneRequest, GuestNeeds } from '@offshoot/clone-core/contract';
import type { Tx } from '../transaction.ts';
import type { Reserve } from './reserve.ts';

type Query = Pick<Tx, 'query'>;

/** More than an empty overlay (192 KiB) takes. Its plan says it exactly. */
const OVERLAY_BYTES = 2 ** 18;

/** A source as far as space, memory and processors go. */
export interface SourceSize {
  /** What its disks take in a store. */
  diskBytes: number;
  /** Saved memory that each memory clone has a copy of. */
  memoryFileBytes: number;
  /** Null: not known. */
  needs: GuestNeeds | null;
}

/** What one clone takes, by its mode and what was asked for. */
export function needOf(
  request: Pick<CloneRequest, 'mode' | 'options'>,
  source: SourceSize,
): Reserve & { networks: string[] } {
  const { mode, options } = request;
  const runs = mode === 'memory' || options.start;
  const memory =
    options.memoryMiB === undefined ? (source.needs?.memoryBytes ?? 0) : options.memoryMiB * 2 ** 20;
  const store = {
    full: source.diskBytes,
    linked: OVERLAY_BYTES,
    memory: OVERLAY_BYTES + source.memoryFileBytes,
  };
  return {
    vcpus: runs ? (options.vcpus ?? source.needs?.vcpus ?? 1) : 0,
    memoryBytes: runs ? memory : 0,
    storeBytes: store[mode],
    networks: options.network === undefined ? (source.needs?.networks ?? []) : [options.network],
  };
}

/** Of a guest's row: what its own disks take, what it has of memory and processors. */
export async function sizeOfGuest(tx: Query, guestId: string): Promise<SourceSize> {
  const { rows } = await tx.query<{
    vcpus: number | null;
    memoryBytes: string | null;
    usedBytes: string | null;
  }>('SELECT "vcpus", "memoryBytes", "usedBytes" FROM "guest" WHERE "id" = $1', [guestId]);
  const row = rows[0];
  const memoryBytes = Number(row?.memoryBytes ?? 0);
  return {
    diskBytes: Number(row?.usedBytes ?? 0),
    memoryFileBytes: memoryBytes,
    needs: { vcpus: row?.vcpus ?? 1, memoryBytes, networks: [] },
  };
}

/** Of a template version: the same on every host that has it. */
export async function sizeOfVersion(tx: Query, versionId: string): Promise<SourceSize> {
  const { rows } = await tx.query<{
    allocatedBytes: string;
    memoryFile: string | null;
    needs: GuestNeeds | null;
  }>(
    `SELECT b."allocatedBytes", b."memory" ->> 'bytes' AS "memoryFile", b."needs"
     FROM "template_version" v JOIN "base" b ON b."id" = v."baseId" WHERE v."id" = $1`,
    [versionId],
  );
  const row = rows[0];
  return {
    diskBytes: Number(row?.allocatedBytes ?? 0),
    memoryFileBytes: Number(row?.memoryFile ?? 0),
    needs: row?.needs ?? null,
  };
}

/** What a copy of the base itself takes on a host. */
export const baseBytes = ({ diskBytes, memoryFileBytes }: SourceSize): number => diskBytes + memoryFileBytes;

export const reserveOf = ({ vcpus, memoryBytes, storeBytes }: Reserve): Reserve => ({
  vcpus,
  memoryBytes,
  storeBytes,
});
