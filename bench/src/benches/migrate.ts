/** A running guest from one host to another at 1 Gbit/s, against virsh's own migration of the same disk. */
import { randomBytes, randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cloneRequestSchema, type CloneMode, type OperationResult } from '@offshoot/clone-core/contract';
import { requestClone, requestMove } from '@offshoot/db/operations';
import type { FleetHost } from '@offshoot/tools/fleet-lab';
import { ensureSampleImage } from '@offshoot/tools/sample-guest';
import { execa } from 'execa';
import { coldSeconds } from '../disk.ts';
import { LINK, openBenchFleet, type BenchFleet, type Version } from '../fleet.ts';
import { perform, type Portal } from '../portal.ts';
import { median, round, type Bench, type Lab } from '../result.ts';
import { scratchDisk } from '../source.ts';

const MIB = 1024 ** 2;
/** On the guest's disk, besides its system. */
const DATA_BYTES = 512 * MIB;
/** Where libvirt keeps disks: a folder of its own on every host of the lab, at the same path. */
const IMAGES = '/var/lib/libvirt/images';
const PEER = 'bench-peer';

interface Sample {
  seconds: number;
  /** How long it stood still, as libvirt of the host it came to says. */
  pauseMs: number;
  /** What the host it left sent meanwhile, headers included. */
  sentBytes: number;
}

export const migrate: Bench = {
  id: 'migrate',
  title: `a running guest with ${DATA_BYTES / MIB} MiB of data to another host at ${LINK}, against virsh migrate`,
  async run(lab) {
    const image = await makeImage(lab);
    const portal = await lab.portal();
    const fleet = await openBenchFleet(lab, 2);
    const samples = new Map<string, Sample[]>();
    try {
      const version = await fleet.template('bench-guest', image, 'default');
      // The linked clone finds its base on both hosts.
      await fleet.distribute(version);
      const full = await boot(portal, version, 'full');
      const linked = await boot(portal, version, 'linked');
      await bootPeer(fleet, image);
      const entrants: Record<string, (from: FleetHost, to: FleetHost) => Promise<Sample>> = {
        offshoot: (from, to) => moveThroughPortal(portal, full, from, to),
        linked: (from, to) => moveThroughPortal(portal, linked, from, to),
        'virsh-migrate': (from, to) => moveByVirsh(fleet, from, to),
      };
      const names = Object.keys(entrants);
      for (let run = 0; run < lab.runs; run++) {
        const [from, to] = hostsOf(fleet, run);
        for (let turn = 0; turn < names.length; turn++) {
          const name = names[(run + turn) % names.length] ?? '';
          const sample = await entrants[name]?.(from, to);
          if (!sample) continue;
          samples.set(name, [...(samples.get(name) ?? []), sample]);
          lab.say(
            `${name}: ${sample.seconds.toFixed(2)} s, stood still ${sample.pauseMs} ms, ${(sample.sentBytes / MIB).toFixed(0)} MiB sent`,
          );
        }
      }
      const middle = (name: string, field: keyof Sample): number =>
        round(median((samples.get(name) ?? []).map((sample) => sample[field])));
      return {
        id: 'migrate',
        unit: 's',
        ours: middle('offshoot', 'seconds'),
        peers: { 'virsh-migrate': middle('virsh-migrate', 'seconds') },
        ratio: round(middle('offshoot', 'seconds') / middle('virsh-migrate', 'seconds')),
        of: 'virsh-migrate',
        runs: lab.runs,
        pauseMs: middle('offshoot', 'pauseMs'),
        sentBytes: middle('offshoot', 'sentBytes'),
        peerPauseMs: middle('virsh-migrate', 'pauseMs'),
        peerSentBytes: middle('virsh-migrate', 'sentBytes'),
        linkedSeconds: middle('linked', 'seconds'),
        linkedPauseMs: middle('linked', 'pauseMs'),
        linkedSentBytes: middle('linked', 'sentBytes'),
        diskBytes: version.bytes,
        notes: `stood still ${middle('offshoot', 'pauseMs')} ms (virsh: ${middle('virsh-migrate', 'pauseMs')}); ours is encrypted, disk and memory of virsh migrate --live --copy-storage-all go in the clear; a linked clone whose base is there: ${middle('linked', 'seconds')} s, ${Math.round(middle('linked', 'sentBytes') / MIB)} MiB`,
      };
    } finally {
      await fleet.close();
      await rm(image, { force: true });
    }
  },
};

/** The sample guest on a disk that holds more than its system. */
async function makeImage(lab: Lab): Promise<string> {
  const image = scratchDisk(lab.scratch, 'migrate');
  const noise = join(lab.scratch, 'migrate.noise');
  const piece = 64 * MIB;
  await execa('qemu-img', [
    'convert',
    '-O',
    'qcow2',
    await ensureSampleImage(join(lab.scratch, 'cache')),
    image,
  ]);
  const { stdout } = await execa('qemu-img', ['info', '--output=json', image]);
  const end = (JSON.parse(stdout) as { 'virtual-size': number })['virtual-size'];
  await execa('qemu-img', ['resize', '-q', image, `+${DATA_BYTES}`]);
  await writeFile(noise, randomBytes(piece));
  const writes = Array.from({ length: DATA_BYTES / piece }, (_, at) => [
    '-c',
    `write -q -s ${noise} ${end + at * piece} ${piece}`,
  ]);
  await execa('qemu-io', ['-f', 'qcow2', ...writes.flat(), image]);
  await rm(noise);
  return image;
}

/** They go there and back again. */
function hostsOf({ source, targets: [other] }: BenchFleet, run: number): [FleetHost, FleetHost] {
  if (!other) throw new Error('there is a second host');
  return run % 2 === 0 ? [source, other] : [other, source];
}

async function measured(from: FleetHost, work: () => Promise<number>): Promise<Sample> {
  const before = (await from.traffic()).sent;
  let pauseMs = Number.NaN;
  const seconds = await coldSeconds(async () => (pauseMs = await work()));
  return { seconds, pauseMs, sentBytes: (await from.traffic()).sent - before };
}

/** A clone that runs and whose agent answers, on the host of the template; resolves with its id. */
async function boot(portal: Portal, version: Version, mode: CloneMode): Promise<string> {
  const name = `bench-${mode}`;
  const request = cloneRequestSchema.parse({
    source: { type: 'template', versionId: version.id },
    mode,
    names: [name],
  });
  await perform(portal, requestClone(portal.db, { userId: null, idempotencyKey: randomUUID(), request }));
  return (await portal.db.prisma.guest.findFirstOrThrow({ where: { name } })).id;
}

function moveThroughPortal(portal: Portal, guestId: string, from: FleetHost, to: FleetHost): Promise<Sample> {
  return measured(from, async () => {
    const asked = { userId: null, idempotencyKey: randomUUID(), guestId, hostId: to.name };
    const { operationIds } = await perform(portal, requestMove(portal.db, asked));
    const { result } = await portal.db.prisma.operation.findUniqueOrThrow({
      where: { id: operationIds.at(-1) ?? '' },
    });
    const { pauseMs } = result as OperationResult;
    if (pauseMs === undefined) throw new Error('it was not moved while it ran');
    return pauseMs;
  });
}

const virsh = (host: FleetHost, ...words: string[]): Promise<string> =>
  host.run(['virsh', '-q', '-c', 'qemu:///system', ...words]);

/** A guest of the same disk that the portal knows nothing of, as `virsh` alone makes one. */
async function bootPeer(fleet: BenchFleet, image: string): Promise<void> {
  const { source } = fleet;
  const disk = join(IMAGES, `${PEER}.qcow2`);
  await fleet.on(source, ['mkdir', '-p', IMAGES]);
  await fleet.on(source, ['cp', '--', image, disk]);
  const file = join(source.folder, `${PEER}.xml`);
  await writeFile(file, definition(disk));
  await virsh(source, 'define', file);
  await virsh(source, 'start', PEER);
  const ping = JSON.stringify({ execute: 'guest-ping' });
  const answers = () =>
    virsh(source, 'qemu-agent-command', PEER, ping).then(
      () => true,
      () => false,
    );
  while (!(await answers())) await new Promise((resolve) => setTimeout(resolve, 250));
}

/** What its administrator types: a disk to copy into, the migration, and the old disk away. */
function moveByVirsh(fleet: BenchFleet, from: FleetHost, to: FleetHost): Promise<Sample> {
  const disk = join(IMAGES, `${PEER}.qcow2`);
  return measured(from, async () => {
    const size = /^Capacity:\s+(\d+)$/m.exec(await virsh(from, 'domblkinfo', PEER, 'vda'))?.[1] ?? '';
    await fleet.on(to, ['mkdir', '-p', IMAGES]);
    await fleet.on(to, ['qemu-img', 'create', '-q', '-f', 'qcow2', disk, size]);
    await fleet.on(from, [
      'virsh',
      '-q',
      '-c',
      'qemu:///system',
      'migrate',
      '--live',
      '--persistent',
      '--undefinesource',
      '--copy-storage-all',
      '--auto-converge',
      PEER,
      `qemu+ssh://root@${to.name}/system?keyfile=${fleet.keyFile}&no_verify=1&no_tty=1`,
    ]);
    await fleet.on(from, ['rm', '--', disk]);
    if (!(await virsh(to, 'domstate', PEER)).includes('running')) throw new Error('it does not run there');
    const stats = await virsh(to, 'domjobinfo', PEER, '--completed', '--keep-completed', '--rawstats');
    return Number(/^\s*downtime:\s*(\d+)/m.exec(stats)?.[1]);
  });
}

const definition = (disk: string): string => `<domain type='qemu'>
  <name>${PEER}</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os>
  <features><acpi/><apic/><tcg><tb-cache unit='MiB'>64</tb-cache></tcg></features><cpu mode='maximum'/>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>
    <interface type='network'><source network='default'/><model type='virtio'/></interface>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>`;
