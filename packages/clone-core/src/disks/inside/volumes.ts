/** Which filesystems are on a disk: partitions, logical volumes, or the disk as a whole. */
import { z } from 'zod';
import { logicalVolumes } from './lvm.ts';
import type { Session } from './session.ts';
import type { InsideRoot } from './types.ts';

export interface Volume {
  target: string;
  /** Bytes on the disk. */
  offset: number;
  size: number;
  /** As blkid names it: ext4, xfs, btrfs, ntfs, vfat, swap, crypto_LUKS, BitLocker, …; empty: nothing known. */
  type: string;
  uuid?: string;
  label?: string;
  partUuid?: string;
  lvm?: InsideRoot['lvm'];
  /** A logical volume that is not in one piece of this disk. */
  scattered?: boolean;
}

const tableSchema = z.object({
  partitiontable: z.object({
    label: z.string(),
    sectorsize: z.number().default(512),
    partitions: z
      .array(
        z.object({
          start: z.number(),
          size: z.number(),
          type: z.string(),
          uuid: z.string().optional(),
        }),
      )
      .default([]),
  }),
});
/** Types of partitions that only hold others. */
const EXTENDED = new Set(['5', 'f', '85']);
/** More partitions than these are not looked at. */
const MOST = 64;

/** Never throws for what is on the disk: what can't be read has the empty type. */
export async function volumesOf(session: Session, target: string): Promise<Volume[]> {
  const whole = await probe(session, { target, offset: 0, size: 0, type: '' });
  // A filesystem on the whole disk may look like a partition table too, boot code in front of NTFS for one.
  if (whole.type !== '') return whole.type === 'LVM2_member' ? logicalOf(session, whole) : [whole];
  const partitions = await Promise.all(
    (await partitionsOf(session, target)).map((partition) => probe(session, partition)),
  );
  const all = await Promise.all(
    partitions.map(async (one) => (one.type === 'LVM2_member' ? logicalOf(session, one) : [one])),
  );
  return all.flat();
}

async function partitionsOf(session: Session, target: string): Promise<Volume[]> {
  const { code, stdout } = await session.run(['sfdisk', '--json', session.fileOf(target)], {
    okCodes: [0, 1],
  });
  if (code !== 0) return [];
  const table = tableSchema.safeParse(parsed(stdout));
  if (!table.success) return [];
  const { sectorsize, partitions } = table.data.partitiontable;
  return partitions
    .filter(({ type, size }) => size > 0 && !EXTENDED.has(type))
    .slice(0, MOST)
    .map(({ start, size, uuid }) => ({
      target,
      offset: start * sectorsize,
      size: size * sectorsize,
      type: '',
      ...(uuid === undefined ? {} : { partUuid: uuid.toLowerCase() }),
    }));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // names in the table that break sfdisk's JSON: no table that can be used
  }
}

/** What filesystem it is; size 0: the whole disk. */
export async function probe(session: Session, volume: Volume): Promise<Volume> {
  const { target, offset, size } = volume;
  const part = size > 0 ? ['-O', String(offset), '-S', String(size)] : [];
  // 2: nothing found; 8: more than one thing found.
  const { stdout } = await session.run(
    ['blkid', '--probe', '--output', 'export', ...part, '--', session.fileOf(target)],
    { okCodes: [0, 2, 4, 8] },
  );
  const said = new Map(
    stdout.split('\n').map((line) => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)] as const;
    }),
  );
  const [uuid, label] = [said.get('UUID'), said.get('LABEL')];
  return {
    ...volume,
    type: said.get('TYPE') ?? '',
    ...(uuid === undefined ? {} : { uuid }),
    ...(label === undefined ? {} : { label }),
  };
}

async function logicalOf(session: Session, physical: Volume): Promise<Volume[]> {
  const found = await logicalVolumes(session, physical);
  return Promise.all(
    found.map(async (one) => (one.scattered === true || one.size === 0 ? one : probe(session, one))),
  );
}
