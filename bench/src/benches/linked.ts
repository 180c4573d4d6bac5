import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { importRequestSchema } from '@offshoot/clone-core/contract';
import { requestImport } from '@offshoot/db/operations';
import { execa } from 'execa';
import { makeMixedDisk } from '../disk.ts';
import { batchFinished, cloneInput, deleteGuests, type Portal } from '../portal.ts';
import { median, quantile, round, type Bench, type Lab } from '../result.ts';
import { LIBVIRT_URI, scratchDisk, virsh } from '../source.ts';

const COUNT = 30;
const SINGLES = 20;

/** Imports a template to link to; resolves with its version and the base's file. */
export async function template(lab: Lab, portal: Portal): Promise<{ versionId: string; base: string }> {
  const image = scratchDisk(lab.scratch, 'linked-source');
  await makeMixedDisk(image, 64 * 1024 ** 2, 1024 ** 3);
  const name = `bench-${randomUUID().slice(0, 8)}`;
  const request = importRequestSchema.parse({ template: name, hostId: 'local', imagePath: image });
  const batch = await requestImport(portal.db, { userId: null, idempotencyKey: randomUUID(), request });
  await Promise.all(batch.jobs.map((job) => portal.queues.enqueueOperation(job)));
  await batchFinished(portal, batch.batchId, 1);
  const version = await portal.db.prisma.templateVersion.findFirstOrThrow({
    where: { template: { name } },
    include: { base: true },
  });
  const [disk] = version.base.disks as { path: string }[];
  if (disk === undefined) throw new Error('the imported base has no disk');
  return { versionId: version.id, base: disk.path };
}

/** What someone would script: overlay and define, one after the other. The definition is that of a clone made before. */
async function shellLoop(folder: string, base: string, xml: string): Promise<number> {
  await mkdir(folder);
  const script = `set -e
for i in $(seq 1 ${COUNT}); do
  qemu-img create -q -f qcow2 -b "$2" -F qcow2 "$1/loop-$i.qcow2"
  sed -e "s#@NAME@#bench-loop-$i#" -e "s#@DISK@#$1/loop-$i.qcow2#" > "$1/x.xml" <<'XML'
${xml}
XML
  virsh -q -c "$3" define "$1/x.xml"
done`;
  const from = performance.now();
  await execa('bash', ['-c', script, 'loop', folder, base, LIBVIRT_URI]);
  const seconds = (performance.now() - from) / 1000;
  for (let i = 1; i <= COUNT; i++) await virsh('undefine', `bench-loop-${i}`);
  await rm(folder, { recursive: true });
  return seconds;
}

/** The definition of a clone, made a pattern for the shell loop. */
async function pattern(name: string): Promise<string> {
  const { stdout } = await virsh('dumpxml', '--inactive', name);
  return stdout
    .replace(/<name>[^<]*<\/name>/, '<name>@NAME@</name>')
    .replace(/\s*<uuid>[^<]*<\/uuid>/, '')
    .replace(/\s*<mac address=[^>]*>/g, '')
    .replace(/(<source file=)'[^']*'/, "$1'@DISK@'");
}

export const click = async (portal: Portal, versionId: string, names: string[]): Promise<number> => {
  const from = performance.now();
  const answer = (await portal.mutate(
    'operation.create.clone',
    cloneInput({ source: { type: 'template', versionId }, mode: 'linked', names }),
  )) as { batchId: string };
  await batchFinished(portal, answer.batchId, names.length);
  return performance.now() - from;
};

export const linked30: Bench = {
  id: 'linked-30',
  title: '30 linked clones in one click, until all are defined, against a shell loop',
  async run(lab) {
    const portal = await lab.portal();
    const { versionId, base } = await template(lab, portal);
    await click(portal, versionId, ['bench-pattern']);
    const xml = await pattern('bench-pattern');
    await deleteGuests(portal, ['bench-pattern']);
    const ours: number[] = [];
    const loops: number[] = [];
    for (let run = 0; run < lab.runs; run++) {
      const names = Array.from({ length: COUNT }, (_, index) => `bench-l${run}-${index + 1}`);
      ours.push((await click(portal, versionId, names)) / 1000);
      await deleteGuests(portal, names);
      loops.push(await shellLoop(join(lab.scratch, 'loop'), base, xml));
      lab.say(`offshoot ${ours.at(-1)?.toFixed(2)} s, loop ${loops.at(-1)?.toFixed(2)} s`);
    }
    const [mine, theirs] = [round(median(ours)), round(median(loops))];
    return {
      id: 'linked-30',
      unit: 's',
      ours: mine,
      peers: { 'shell-loop': theirs },
      ratio: round(mine / theirs),
      of: 'shell-loop',
      runs: lab.runs,
      notes: 'from the click (HTTP) to the last one finished; not started',
    };
  },
};

export const linkedOne: Bench = {
  id: 'linked-one',
  title: 'one linked clone, from click to defined',
  async run(lab) {
    const portal = await lab.portal();
    const { versionId } = await template(lab, portal);
    const times: number[] = [];
    for (let run = 0; run < SINGLES; run++) {
      times.push(await click(portal, versionId, [`bench-one-${run}`]));
      await deleteGuests(portal, [`bench-one-${run}`]);
    }
    return {
      id: 'linked-one',
      unit: 'ms',
      ours: round(median(times), 1),
      peers: {},
      ratio: null,
      of: null,
      runs: SINGLES,
      notes: `p50 from the click (HTTP) to finished; p95 ${round(quantile(times, 0.95), 1)} ms`,
      p95: round(quantile(times, 0.95), 1),
    };
  },
};
