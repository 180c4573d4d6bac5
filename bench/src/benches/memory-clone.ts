import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import {
  cloneRequestSchema,
  importRequestSchema,
  type CloneMode,
  type OperationResult,
  type Source,
} from '@offshoot/clone-core/contract';
import { requestCapture, requestImport } from '@offshoot/db/operations';
import type { BatchResult } from '@offshoot/db/types';
import { execa } from 'execa';
import { batchFinished, deleteGuests, type Portal } from '../portal.ts';
import { median, quantile, round, type Bench, type Lab } from '../result.ts';
import { virsh } from '../source.ts';

const CLONES = 10;
/** Clicks on the running guest itself, which take a memory point each. */
const LIVE = 3;

/** The sample guest: OFFSHOOT_SAMPLE_IMAGE, or built into the scratch folder. */
export async function sampleImage(lab: Lab): Promise<string> {
  const given = process.env['OFFSHOOT_SAMPLE_IMAGE'];
  if (given !== undefined && given !== '') return given;
  const builder = fileURLToPath(new URL('../../../tools/src/sample-guest/main.ts', import.meta.url));
  return (await execa(process.execPath, ['--import', 'tsx', builder, lab.scratch])).stdout;
}

async function finished(portal: Portal, batch: BatchResult): Promise<void> {
  await Promise.all(batch.jobs.map((job) => portal.queues.enqueueOperation(job)));
  await batchFinished(portal, batch.batchId, batch.operationIds.length);
}

async function newestVersion(portal: Portal, name: string): Promise<Source> {
  const version = await portal.db.prisma.templateVersion.findFirstOrThrow({
    where: { template: { name } },
    orderBy: { number: 'desc' },
  });
  return { type: 'template', versionId: version.id };
}

async function importSample(lab: Lab, portal: Portal): Promise<Source> {
  const template = `bench-${randomUUID().slice(0, 8)}`;
  const request = importRequestSchema.parse({
    template,
    hostId: 'local',
    imagePath: await sampleImage(lab),
    memoryMiB: 128,
  });
  await finished(
    portal,
    await requestImport(portal.db, { userId: null, idempotencyKey: randomUUID(), request }),
  );
  return newestVersion(portal, template);
}

/** One click (HTTP) until the guest runs and its agent has answered; seconds, and what its operations say. */
async function click(
  portal: Portal,
  source: Source,
  mode: CloneMode,
  name: string,
): Promise<{ seconds: number; results: OperationResult[] }> {
  const request = cloneRequestSchema.parse({ source, mode, names: [name] });
  const from = performance.now();
  const { batchId, operationIds } = (await portal.mutate('operation.create.clone', {
    idempotencyKey: randomUUID(),
    request,
  })) as { batchId: string; operationIds: string[] };
  await batchFinished(portal, batchId, operationIds.length);
  const seconds = (performance.now() - from) / 1000;
  const rows = await portal.db.prisma.operation.findMany({ where: { batchId }, orderBy: { id: 'asc' } });
  return { seconds, results: rows.map((row) => row.result as OperationResult) };
}

/** What makes a guest itself, as its agent and libvirt have it. */
async function identity(name: string): Promise<string[]> {
  const { stdout: uuid } = await virsh('domuuid', name);
  const { stdout: host } = await virsh('qemu-agent-command', name, '{"execute":"guest-get-host-name"}');
  const { stdout: nics } = await virsh(
    'qemu-agent-command',
    name,
    '{"execute":"guest-network-get-interfaces"}',
  );
  const { stdout: xml } = await virsh('dumpxml', name);
  const hostname = (JSON.parse(host) as { return: { 'host-name': string } }).return['host-name'];
  const mac = /<mac address='([^']+)'/.exec(xml)?.[1] ?? '';
  if (hostname !== name) throw new Error(`${name} calls itself ${hostname}`);
  if (!nics.includes(mac)) throw new Error(`inside ${name} no card has the MAC ${mac}`);
  return [uuid.trim(), hostname, mac];
}

export const memoryClone: Bench = {
  id: 'memory-clone',
  title: `${CLONES} clones with memory of one warm template, from click to an agent that answers as itself, against a boot`,
  async run(lab) {
    const portal = await lab.portal();
    const cold = await importSample(lab, portal);
    await click(portal, cold, 'linked', 'bench-warm-source');
    const guest = await portal.db.prisma.guest.findFirstOrThrow({ where: { name: 'bench-warm-source' } });
    const template = { name: `bench-warm-${randomUUID().slice(0, 8)}`, description: '' };
    await finished(
      portal,
      await requestCapture(portal.db, {
        userId: null,
        idempotencyKey: randomUUID(),
        guestId: guest.id,
        template,
        memory: true,
      }),
    );
    const warm = await newestVersion(portal, template.name);
    const names: string[] = [];
    const [ours, boots, live, pauses]: [number[], number[], number[], number[]] = [[], [], [], []];
    for (let index = 1; index <= CLONES; index++) {
      const name = `bench-warm-${index}`;
      ours.push((await click(portal, warm, 'memory', name)).seconds);
      names.push(name);
      const booted = await click(portal, cold, 'linked', `bench-boot-${index}`);
      boots.push((booted.results.at(-1)?.agentMs ?? Number.NaN) / 1000);
      await deleteGuests(portal, [`bench-boot-${index}`]);
      lab.say(`with memory ${ours.at(-1)?.toFixed(2)} s, boot ${boots.at(-1)?.toFixed(2)} s`);
    }
    const identities = (await Promise.all(names.map(identity))).flat();
    if (new Set(identities).size !== identities.length) throw new Error('two clones share an identity');
    await deleteGuests(portal, names);
    for (let index = 1; index <= LIVE; index++) {
      const name = `bench-live-${index}`;
      const made = await click(portal, { type: 'guest', id: guest.id }, 'memory', name);
      live.push(made.seconds);
      pauses.push(made.results[0]?.pauseMs ?? Number.NaN);
      lab.say(`of the running guest ${made.seconds.toFixed(2)} s, which stood still ${pauses.at(-1)} ms`);
      await deleteGuests(portal, [name]);
    }
    await deleteGuests(portal, ['bench-warm-source']);
    const [mine, boot] = [round(median(ours)), round(median(boots))];
    return {
      id: 'memory-clone',
      unit: 's',
      ours: mine,
      peers: { boot },
      ratio: round(mine / boot),
      of: 'boot',
      runs: CLONES,
      notes: `from the click (HTTP) to finished: own UUID, MAC and host name, agent answered; p95 ${round(quantile(ours, 0.95), 2)} s; boot is a linked clone’s start to its agent; of a running guest, its memory saved first: ${round(median(live), 2)} s, the guest stood still ${round(median(pauses), 0)} ms`,
      p95: round(quantile(ours, 0.95)),
      live: round(median(live)),
      pauseMs: round(median(pauses), 0),
    };
  },
};
