/**
 * Change records: libvirt checkpoints, each one bitmap per disk that notes what is written from its point on. Since
 * libvirt 6.6 they do not depend on each other. Only those named here are ever touched.
 */
import { z } from 'zod';
import { checkpointXml } from '../../disks/backup.ts';
import { stderrOf } from '../../disks/stderr.ts';
import type { GuestRef } from '../../driver.ts';
import type { Shell } from '../../shell/shell.ts';
import { readDomain } from './domain-read.ts';
import type { RecordFacts } from './types.ts';
import { foundIn, namesIn, type Answer, type Virsh } from './virsh.ts';
import { attribute, child, childrenOf, parseXml } from './xml.ts';

/** Granularity of a record, bytes: qcow2's cluster, below which nothing is gained. */
const GRANULARITY = 65536;

const prefixOf = (clone: { uuid: string }): string => `offshoot-${clone.uuid.slice(0, 13)}-`;

/** The record at the point of the clone's generation. */
export const recordName = (clone: { uuid: string }, generation: number): string =>
  `${prefixOf(clone)}${generation}`;

/** Records at the source that were made for this clone; none when the source is gone. */
export async function recordsOf(
  virsh: Virsh,
  source: GuestRef,
  clone: { uuid: string },
  signal: AbortSignal,
): Promise<string[]> {
  return (await readRecords(virsh, source, clone, undefined, signal)).records;
}

/**
 * The clone's records, and of the named one the bytes changed since, per disk of the running source. A record that is
 * missing or inconsistent (its host crashed) is a `problem`.
 */
export async function readRecords(
  virsh: Virsh,
  source: GuestRef,
  clone: { uuid: string },
  name: string | undefined,
  signal: AbortSignal,
): Promise<{ records: string[]; record?: RecordFacts }> {
  const dump = ['checkpoint-dumpxml', '--no-domain', '--size', '--domain', source.uuid, '--checkpointname'];
  const [list, sizes] = await virsh.ask(
    [
      ['checkpoint-list', '--name', '--domain', source.uuid],
      ...(name === undefined ? [] : [[...dump, name]]),
    ],
    { signal },
  );
  const records = namesIn(foundIn(list)).filter((each) => each.startsWith(prefixOf(clone)));
  return { records, ...(sizes ? { record: recordIn(sizes) } : {}) };
}

function recordIn(answer: Answer): RecordFacts {
  if ('error' in answer) {
    if (answer.error.code === 'host-unreachable') throw answer.error;
    return isUnknown(answer.error)
      ? { problem: 'its change record is gone' }
      : { problem: 'its change record is damaged, as after a crash of the source' };
  }
  const { root } = parseXml(answer.out, 'domaincheckpoint');
  const sizes: Record<string, number> = {};
  for (const disk of childrenOf(child(root, 'disks'), 'disk')) {
    const size = attribute(disk, 'size');
    if (size !== undefined) sizes[attribute(disk, 'name') ?? ''] = Number(size);
  }
  return { sizes };
}

/** The record's facts, when it covers all of these disks; what it lacks is a `problem`. */
export function covering(record: RecordFacts, targets: readonly string[]): RecordFacts {
  if ('problem' in record) return record;
  const { sizes } = record;
  const lacking = targets.filter((target) => sizes[target] === undefined);
  return lacking.length === 0
    ? { sizes }
    : { problem: `its change record does not cover ${lacking.join(', ')}` };
}

/** Adds one disk's part of a record at a stopped guest; from then on every program that writes to the file notes it. */
export async function addBitmap(
  shell: Shell,
  path: string,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  await shell.run(
    ['qemu-img', 'bitmap', '--add', '-g', String(GRANULARITY), '-f', 'qcow2', '--', path, name],
    { signal },
  );
}

/** Tells libvirt of a record whose bitmaps are in the files of a stopped guest. Harmless when it knows it. */
export async function adoptRecord(
  virsh: Virsh,
  record: { source: GuestRef; record: string; disks: readonly { target: string }[]; scratch: string },
  signal: AbortSignal,
): Promise<void> {
  const targets = record.disks.map((disk) => disk.target);
  const xml = checkpointXml(record.record, targets, [], Math.floor(Date.now() / 1000));
  await virsh.withFile(record.scratch, xml, () =>
    virsh.run(
      ['checkpoint-create', '--redefine', '--domain', record.source.uuid, '--xmlfile', record.scratch],
      { signal },
    ),
  );
}

/** Removes one record with its bitmaps, of a running or a stopped guest. Harmless when it, or the guest, is gone. */
export async function removeRecord(
  shell: Shell,
  virsh: Virsh,
  guest: GuestRef,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const state = await virsh.state(guest.uuid, signal);
  if (state === undefined) return;
  const words = ['checkpoint-delete', '--domain', guest.uuid, '--checkpointname', name];
  try {
    if (state === 'stopped') {
      await removeBitmaps(shell, virsh, guest, name, signal);
      await virsh.run([...words, '--metadata'], { signal });
    } else await virsh.run(words, { signal });
  } catch (thrown) {
    if (isUnknown(thrown)) return;
    // A crash of the host's QEMU came before the bitmaps were written: libvirt remembers what no file holds.
    if (!/bitmap .* not found in backing chain/i.test(stderrOf(thrown))) throw thrown;
    await virsh.run([...words, '--metadata'], { signal });
  }
}

const isUnknown = (thrown: unknown): boolean =>
  /no domain checkpoint|checkpoint .*not found/i.test(stderrOf(thrown));

const bitmapsSchema = z.object({
  'format-specific': z
    .object({ data: z.object({ bitmaps: z.array(z.object({ name: z.string() })).optional() }).optional() })
    .optional(),
});

/** Whether the closed file has the bitmap. */
export async function hasBitmap(
  shell: Shell,
  path: string,
  name: string,
  signal: AbortSignal,
): Promise<boolean> {
  const { stdout } = await shell.run(['qemu-img', 'info', '-U', '--output=json', '-f', 'qcow2', '--', path], {
    signal,
  });
  const bitmaps = bitmapsSchema.parse(JSON.parse(stdout))['format-specific']?.data?.bitmaps ?? [];
  return bitmaps.some((bitmap) => bitmap.name === name);
}

async function removeBitmaps(
  shell: Shell,
  virsh: Virsh,
  guest: GuestRef,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const definition = await virsh.maybe(['dumpxml', '--inactive', '--domain', guest.uuid], { signal });
  if (definition === undefined) return;
  for (const disk of readDomain(definition).disks) {
    if (disk.format !== 'qcow2' || disk.path === undefined || disk.type !== 'file') continue;
    if ((await shell.stat(disk.path))?.type !== 'file') continue;
    if (await hasBitmap(shell, disk.path, name, signal))
      await shell.run(['qemu-img', 'bitmap', '--remove', '-f', 'qcow2', '--', disk.path, name], { signal });
  }
}
