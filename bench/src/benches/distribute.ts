/** An image to three hosts at 1 Gbit/s, and then its next version, against what people copy images with. */
import { copyFile, rm } from 'node:fs/promises';
import type { FleetHost } from '@offshoot/tools/fleet-lab';
import { execa } from 'execa';
import { coldSeconds, makeMixedDisk } from '../disk.ts';
import {
  LINK_BYTES,
  openBenchFleet,
  peerFile,
  removePeerFiles,
  type BenchFleet,
  type Version,
} from '../fleet.ts';
import { median, round, type Bench } from '../result.ts';
import { scratchDisk } from '../source.ts';

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const DATA_BYTES = 1.5 * GIB;
const CHANGED_BYTES = 50 * MIB;
const NBD_PORT = '10809';

interface Peer {
  name: string;
  copy(fleet: BenchFleet, version: Version): Promise<void>;
}

const scpTo = async (fleet: BenchFleet, { path }: Version, host: FleetHost): Promise<void> => {
  const to = await peerFile(host);
  await fleet.on(fleet.source, ['scp', '-q', ...fleet.sshOptions, path, `root@${host.address}:${to}`]);
  await execa('sync', [to]);
};

const scpSequential: Peer = {
  name: 'scp-sequential',
  async copy(fleet, version) {
    for (const host of fleet.targets) await scpTo(fleet, version, host);
  },
};
const scpParallel: Peer = {
  name: 'scp-parallel',
  copy: async (fleet, version) =>
    void (await Promise.all(fleet.targets.map((host) => scpTo(fleet, version, host)))),
};

/** One host after the other, and not encrypted. */
const convertNbd: Peer = {
  name: 'qemu-img-nbd-sequential',
  async copy(fleet, { path }) {
    const { stdout } = await execa('qemu-img', ['info', '--output=json', path]);
    const size = (JSON.parse(stdout) as { 'virtual-size': number })['virtual-size'];
    for (const host of fleet.targets) {
      const to = await peerFile(host);
      await execa('qemu-img', ['create', '-q', '-f', 'qcow2', to, String(size)]);
      // It forks when it listens, and ends with its one client.
      await fleet.on(host, [
        'qemu-nbd',
        '--fork',
        '--format=qcow2',
        `--bind=${host.address}`,
        `--port=${NBD_PORT}`,
        to,
      ]);
      await fleet.on(fleet.source, [
        'qemu-img',
        'convert',
        '-n',
        '-f',
        'qcow2',
        '-O',
        'raw',
        path,
        `nbd://${host.address}:${NBD_PORT}`,
      ]);
      await execa('sync', [to]);
    }
  },
};

export const distribute3: Bench = {
  id: 'distribute-3',
  title:
    '1.5 GiB to three hosts at 1 Gbit/s, from the request to synced and verified on all, against scp and NBD',
  async run(lab) {
    const image = scratchDisk(lab.scratch, 'distribute');
    await makeMixedDisk(image, DATA_BYTES, 4 * GIB);
    const fleet = await openBenchFleet(lab);
    const times = new Map<string, number[]>();
    const sent: number[] = [];
    const note = (name: string, seconds: number): void => {
      times.set(name, [...(times.get(name) ?? []), seconds]);
      lab.say(`${name}: ${seconds.toFixed(2)} s`);
    };
    try {
      const version = await fleet.template('bench-image', image);
      const ours = async (): Promise<void> => {
        const before = (await fleet.source.traffic()).sent;
        note('offshoot', await coldSeconds(() => fleet.distribute(version)));
        sent.push((await fleet.source.traffic()).sent - before);
        await fleet.withdraw(version);
      };
      const entrants = [
        ours,
        ...[scpSequential, scpParallel, convertNbd].map((peer) => async () => {
          note(peer.name, await coldSeconds(() => peer.copy(fleet, version)));
          await removePeerFiles(fleet.targets);
        }),
      ];
      for (let run = 0; run < lab.runs; run++)
        for (let turn = 0; turn < entrants.length; turn++) await entrants[(run + turn) % entrants.length]?.();
      const middle = (name: string): number => round(median(times.get(name) ?? []));
      const limit = round(version.bytes / LINK_BYTES);
      return {
        id: 'distribute-3',
        unit: 's',
        ours: middle('offshoot'),
        peers: {
          'scp-sequential': middle('scp-sequential'),
          'scp-parallel': middle('scp-parallel'),
          'qemu-img-nbd-sequential': middle('qemu-img-nbd-sequential'),
          'wire-limit': limit,
        },
        ratio: round(middle('offshoot') / limit),
        of: 'wire-limit',
        runs: lab.runs,
        sentBytes: median(sent),
        imageBytes: version.bytes,
        notes: `the source sent ${round(median(sent) / version.bytes)} × the image; encrypted and verified, NBD is not; wire-limit: the image’s bytes ÷ 1 Gbit/s, calculated`,
      };
    } finally {
      await fleet.close();
      await rm(image, { force: true });
    }
  },
};

/** The next version over a copy of the one before, one host after the other. */
const rsync = async (fleet: BenchFleet, before: Version, version: Version): Promise<number> => {
  for (const host of fleet.targets) await copyFile(before.path, await peerFile(host));
  return coldSeconds(async () => {
    for (const host of fleet.targets) {
      const to = await peerFile(host);
      const shell = ['ssh', ...fleet.sshOptions].join(' ');
      await fleet.on(fleet.source, [
        'rsync',
        '--no-whole-file',
        '-e',
        shell,
        version.path,
        `root@${host.address}:${to}`,
      ]);
      await execa('sync', [to]);
    }
  });
};

export const distributeDelta: Bench = {
  id: 'distribute-delta',
  title:
    'the next version of 1.5 GiB, 50 MiB changed, to three hosts that have the one before, against rsync',
  async run(lab) {
    const image = scratchDisk(lab.scratch, 'delta');
    await makeMixedDisk(image, DATA_BYTES, 4 * GIB);
    const fleet = await openBenchFleet(lab);
    const [times, peerTimes, sent, received]: number[][] = [[], [], [], []];
    try {
      const before = await fleet.template('bench-image', image);
      await fleet.distribute(before);
      await change(image);
      const version = await fleet.template('bench-image', image);
      for (let run = 0; run < lab.runs; run++) {
        const was = await Promise.all([fleet.source, ...fleet.targets].map((host) => host.traffic()));
        const seconds = await coldSeconds(() => fleet.distribute(version));
        const is = await Promise.all([fleet.source, ...fleet.targets].map((host) => host.traffic()));
        times?.push(seconds);
        sent?.push((is[0]?.sent ?? 0) - (was[0]?.sent ?? 0));
        received?.push(
          Math.max(...is.slice(1).map((each, at) => each.received - (was[at + 1]?.received ?? 0))),
        );
        lab.say(`offshoot: ${seconds.toFixed(2)} s, ${((sent?.at(-1) ?? 0) / MIB).toFixed(1)} MiB sent`);
        await fleet.withdraw(version);
        peerTimes?.push(await rsync(fleet, before, version));
        lab.say(`rsync-sequential: ${(peerTimes?.at(-1) ?? 0).toFixed(2)} s`);
        await removePeerFiles(fleet.targets);
      }
      const ours = round(median(times ?? []));
      const perHost = median(received ?? []);
      return {
        id: 'distribute-delta',
        unit: 's',
        ours,
        peers: {
          'rsync-sequential': round(median(peerTimes ?? [])),
          'wire-limit': round(CHANGED_BYTES / LINK_BYTES),
        },
        ratio: round(ours / median(peerTimes ?? [])),
        of: 'rsync-sequential',
        runs: lab.runs,
        sentBytes: median(sent ?? []),
        bytesPerHost: perHost,
        changedBytes: CHANGED_BYTES,
        imageBytes: version.bytes,
        notes: `at most ${round(perHost / CHANGED_BYTES)} × the changed bytes came to a host, headers and digests included; every host reads the version it has once, its source only what changed`,
      };
    } finally {
      await fleet.close();
      await rm(image, { force: true });
    }
  },
};

/** 50 places of 1 MiB, aligned as what qcow2 allocates at once. */
async function change(image: string): Promise<void> {
  const commands: string[] = [];
  for (let place = 0; place < CHANGED_BYTES / MIB; place++)
    commands.push('-c', `write -q -P ${(place % 250) + 1} ${place * 30 * MIB} ${MIB}`);
  await execa('qemu-io', ['-f', 'qcow2', ...commands, image]);
}
