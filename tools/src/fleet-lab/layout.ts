/** Names, addresses and folders of a lab: all of them follow from its id, so that `down` finds what a crash left. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OffshootError } from '@offshoot/clone-core/errors';
import { z } from 'zod';

/** The lab of the command line. */
export const DEFAULT_ID = 'lab';
export const MAX_HOSTS = 32;
const PARENT = '/var/tmp';
/** In the environment of every process that is started for a lab. */
export const MARK = 'OFFSHOOT_LAB';

const idSchema = z.string().regex(/^[a-z0-9]{1,6}$/, 'A lab’s id is 1 to 6 lower-case letters and digits.');
const rateSchema = z
  .string()
  .regex(/^\d+(?:\.\d+)?(?:kbit|mbit|gbit)$/, 'A rate is a number with kbit, mbit or gbit: 1gbit, 200mbit.');

const recordSchema = z.object({
  id: idSchema,
  /** Third octet of the lab's addresses. */
  subnet: z.number(),
  rate: z.string(),
  /** Process that the lab ends with; null: it outlives whoever made it. */
  owner: z.object({ pid: z.number(), started: z.string() }).nullable(),
  hosts: z.array(z.object({ name: z.string(), number: z.number(), init: z.number(), started: z.string() })),
});
/** What a lab says of itself, in its folder. `started`: the process's start in clock ticks, as a pid may be used again. */
export type LabRecord = z.infer<typeof recordSchema>;

const checked = <T>(schema: z.ZodType<T>, value: unknown, field: string): T => {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new OffshootError('invalid-input', {
    publicMessage: parsed.error.issues[0]?.message ?? `${field} can’t be read.`,
    field,
  });
};

/** @throws OffshootError `invalid-input` */
export const checkedId = (id: string): string => checked(idSchema, id, 'id');
/** @throws OffshootError `invalid-input` */
export const checkedRate = (rate: string): string => checked(rateSchema, rate, 'rate');

/** Bytes per second of a rate as `tc` reads it. @throws OffshootError `invalid-input` */
export function bytesPerSecond(rate: string): number {
  const unit = { kbit: 1e3, mbit: 1e6, gbit: 1e9 } as const;
  const [, number = '', name = ''] = /^([\d.]+)(kbit|mbit|gbit)$/.exec(checkedRate(rate)) ?? [];
  return (Number(number) * (unit[name as keyof typeof unit] ?? 0)) / 8;
}

export const labFolder = (id: string): string => join(PARENT, `offshoot-fleet-${id}`);
export const idOfFolder = (name: string): string | undefined =>
  /^offshoot-fleet-([a-z0-9]{1,6})$/.exec(name)?.[1];
export const labParent = PARENT;

export const bridgeOf = (id: string): string => `ol-${id}`;
/** This machine's end of a host's cable; the host's own end is called eth0. */
export const cableOf = (id: string, number: number): string => `ol-${id}-${number}`;
export const gatewayOf = (subnet: number): string => `10.213.${subnet}.1`;
export const addressOf = (subnet: number, number: number): string => `10.213.${subnet}.${10 + number}`;
export const hostName = (number: number): string => `host-${number}`;

export const hostFolder = (id: string, name: string): string => join(labFolder(id), name);
/** Folder for disks of a host. */
export const storeOf = (id: string, name: string): string => join(hostFolder(id, name), 'store');

const recordPath = (id: string): string => join(labFolder(id), 'lab.json');

/** Undefined when there is no lab, or its beginning was cut short. */
export async function readRecord(id: string): Promise<LabRecord | undefined> {
  try {
    const parsed = recordSchema.safeParse(JSON.parse(await readFile(recordPath(id), 'utf8')));
    return parsed.success ? parsed.data : undefined;
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (missing || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export const writeRecord = (record: LabRecord): Promise<void> =>
  writeFile(recordPath(record.id), `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600 });
