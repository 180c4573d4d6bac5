/** A fleet of real hypervisor hosts on this machine: made, used, taken away. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { OffshootError } from '@offshoot/clone-core/errors';
import { killLibvirtd, labKeys, startDefaultNetwork, startLibvirtd, startSshd } from './daemons.ts';
import {
  addressOf,
  checkedId,
  checkedRate,
  gatewayOf,
  hostFolder,
  hostName,
  labFolder,
  MAX_HOSTS,
  readRecord,
  storeOf,
  writeRecord,
  type LabRecord,
} from './layout.ts';
import { beginNamespaces, entering, furnish, isAlive, runInside, startOf, type Init } from './namespaces.ts';
import { freeSubnet, isPlugged, limit, makeBridge, plugIn, setCable, traffic } from './network.ts';
import { removeLab, removeOrphans } from './remove.ts';
import { obstacle } from './requirements.ts';
import { hasWorker, startLabWorker, type LabWorker, type Portal } from './worker.ts';

export { relayPostgres, type Relay } from './relay.ts';
export type { LabWorker, Portal };
export { obstacle };

export interface FleetOptions {
  hosts: number;
  /** Of every host's cable, each way, as `tc` reads it. Default 1gbit. */
  rate?: string;
  /** Default: one of its own, which ends with this process. */
  id?: string;
  /** It outlives this process. */
  stays?: boolean;
  /** Told what is being done. */
  say?: (line: string) => void;
}

export interface FleetHost {
  name: string;
  address: string;
  /** Folder for its disks, seen from here and from inside at the same path. */
  store: string;
  folder: string;
  /** Runs a program inside; resolves with its output. */
  run(argv: readonly string[]): Promise<string>;
  /** The command line that runs `argv` inside. */
  entering(argv: readonly string[]): [string, ...string[]];
  cut(): Promise<void>;
  restore(): Promise<void>;
  isPlugged(): Promise<boolean>;
  limit(rate: string): Promise<void>;
  /** Bytes over its cable so far, headers included. */
  traffic(): Promise<{ sent: number; received: number }>;
  killLibvirtd(): Promise<void>;
  startLibvirtd(): Promise<void>;
  hasWorker(): Promise<boolean>;
  startWorker(
    portal: Portal,
    options?: { program?: 'built' | 'sources'; environment?: NodeJS.ProcessEnv },
  ): Promise<LabWorker>;
}

export interface Fleet {
  id: string;
  folder: string;
  rate: string;
  hosts: FleetHost[];
  /** The key that logs in to every host as root. */
  keyFile: string;
  close(): Promise<void>;
}

/**
 * Makes a fleet, or brings the one with that id to the wanted number of hosts.
 * @throws OffshootError `permission`, `not-found` (packages), `invalid-input`, `in-use`
 */
export async function openFleet(options: FleetOptions): Promise<Fleet> {
  const rate = checkedRate(options.rate ?? '1gbit');
  const id = checkedId(options.id ?? randomBytes(3).toString('hex'));
  const stays = options.stays ?? false;
  const say = options.say ?? (() => undefined);
  if (!Number.isInteger(options.hosts) || options.hosts < 1 || options.hosts > MAX_HOSTS)
    throw new OffshootError('invalid-input', {
      publicMessage: `A lab has 1 to ${MAX_HOSTS} hosts.`,
      field: 'hosts',
    });
  const hindrance = await obstacle();
  if (hindrance) throw hindrance;
  await removeOrphans();
  try {
    const record = await begin(id, rate, stays);
    const keys = await labKeys(labFolder(id));
    for (let number = 1; number <= options.hosts; number++) {
      const known = record.hosts.find((host) => host.number === number);
      if (known && (await isAlive(initOf(known)))) continue;
      const name = hostName(number);
      say(`${name}: namespaces, network, sshd, libvirt`);
      const init = await beginNamespaces(id, !stays);
      record.hosts = [
        ...record.hosts.filter((host) => host.number !== number),
        { name, number, init: init.pid, started: init.started },
      ];
      await writeRecord(record);
      await mkdir(storeOf(id, name), { recursive: true, mode: 0o711 });
      await furnish(id, init, {
        name,
        folder: hostFolder(id, name),
        uuid: uuidOf(`${id} ${name}`),
        hosts: hostsFile(record.subnet),
      });
      await plugIn(record, number, init);
      await startSshd(id, init, hostFolder(id, name), keys);
    }
    await Promise.all(
      record.hosts.map(async (host) => {
        await startLibvirtd(id, initOf(host));
        await startDefaultNetwork(id, initOf(host));
      }),
    );
    return fleetOf(record, keys.file);
  } catch (error) {
    if (!stays) await removeLab(id);
    throw error;
  }
}

/** A lab that is there. @throws OffshootError `not-found` */
export async function findFleet(id: string): Promise<Fleet> {
  const record = await readRecord(checkedId(id));
  if (!record)
    throw new OffshootError('not-found', {
      publicMessage: 'No lab is up on this machine.',
      remedy: 'Make one: npm run lab -- up 4',
    });
  return fleetOf(record, (await labKeys(labFolder(id))).file);
}

async function begin(id: string, rate: string, stays: boolean): Promise<LabRecord> {
  const before = await readRecord(id);
  if (before) {
    if (before.rate !== rate) {
      for (const host of before.hosts)
        if (await isAlive(initOf(host))) await limit(id, host.number, initOf(host), rate);
      before.rate = rate;
    }
    // A restart of the machine takes the bridge, not the folder.
    await makeBridge(id, before.subnet);
    await writeRecord(before);
    return before;
  }
  await removeLab(id); // of a beginning that was cut short
  await mkdir(labFolder(id), { recursive: true, mode: 0o711 });
  const owner = stays ? null : { pid: process.pid, started: (await startOf(process.pid)) ?? '' };
  const record: LabRecord = { id, subnet: await freeSubnet(), rate, owner, hosts: [] };
  await writeRecord(record);
  await makeBridge(id, record.subnet);
  return record;
}

const initOf = (host: LabRecord['hosts'][number]): Init => ({ pid: host.init, started: host.started });

const hostsFile = (subnet: number): string =>
  [
    '127.0.0.1 localhost',
    `${gatewayOf(subnet)} portal`,
    ...Array.from({ length: MAX_HOSTS }, (_, at) => `${addressOf(subnet, at + 1)} ${hostName(at + 1)}`),
    '',
  ].join('\n');

/** The same for the same host of the same lab (version 8: made up by us). */
function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

function fleetOf(record: LabRecord, keyFile: string): Fleet {
  const { id } = record;
  return {
    id,
    folder: labFolder(id),
    rate: record.rate,
    keyFile,
    hosts: record.hosts.toSorted((a, b) => a.number - b.number).map((host) => hostOf(record, host)),
    close: async () => void (await removeLab(id)),
  };
}

function hostOf(record: LabRecord, host: LabRecord['hosts'][number]): FleetHost {
  const { id } = record;
  const { name, number } = host;
  const init = initOf(host);
  const place = {
    id,
    init,
    name,
    address: addressOf(record.subnet, number),
    folder: hostFolder(id, name),
    store: storeOf(id, name),
  };
  return {
    name,
    address: place.address,
    store: place.store,
    folder: place.folder,
    run: (argv) => runInside(id, init, argv),
    entering: (argv) => entering(init, argv),
    cut: () => setCable(id, number, 'down'),
    restore: () => setCable(id, number, 'up'),
    isPlugged: () => isPlugged(id, number),
    limit: (rate) => limit(id, number, init, checkedRate(rate)),
    traffic: () => traffic(id, number),
    killLibvirtd: async () => void (await killLibvirtd(init)),
    startLibvirtd: () => startLibvirtd(id, init),
    hasWorker: () => hasWorker(id, name),
    startWorker: (portal, { program = 'sources', environment = {} } = {}) =>
      startLabWorker({ ...place, attached: record.owner !== null, program, environment }, portal),
  };
}
