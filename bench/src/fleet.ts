/** Hosts (four, unless told otherwise) at 1 Gbit/s with a template on the first, as the benches of transfers want them. */
import { randomUUID } from 'node:crypto';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { importRequestSchema } from '@offshoot/clone-core/contract';
import { requestImport, requestRemoveBase, requestTransfer } from '@offshoot/db/operations';
import { openFleet, type Fleet, type FleetHost } from '@offshoot/tools/fleet-lab';
import { execa } from 'execa';
import { perform, type Portal } from './portal.ts';
import type { Lab } from './result.ts';

export const LINK = '1gbit';
export const LINK_BYTES = 1e9 / 8;

export interface BenchFleet {
  source: FleetHost;
  targets: FleetHost[];
  /** Makes a template version of the image on the first host. */
  template(name: string, image: string, network?: string): Promise<Version>;
  /** Brings it to all other hosts; resolves when it is there. */
  distribute(version: Version): Promise<void>;
  /** Takes it away from all other hosts. */
  withdraw(version: Version): Promise<void>;
  /** Runs a program on a host. */
  on(host: FleetHost, argv: readonly string[]): Promise<void>;
  /** Logs in to every host as root. */
  keyFile: string;
  /** The options that OpenSSH's programs take to log in to another host of the fleet. */
  sshOptions: string[];
  close(): Promise<void>;
}

export interface Version {
  id: string;
  digest: string;
  /** Its one file on the first host. */
  path: string;
  bytes: number;
}

/** @throws where no lab can be made (not root). */
export async function openBenchFleet(lab: Lab, hosts = 4): Promise<BenchFleet> {
  const portal = await lab.portal();
  const fleet = await openFleet({ hosts, rate: LINK, say: (line) => lab.say(line) });
  try {
    for (const host of fleet.hosts)
      await host.startWorker(
        { databaseUrl: portal.databaseUrl, redisUrl: portal.redisUrl },
        { program: 'built' },
      );
    return benchFleet(fleet, portal);
  } catch (error) {
    await fleet.close();
    throw error;
  }
}

function benchFleet(fleet: Fleet, portal: Portal): BenchFleet {
  const [source, ...targets] = fleet.hosts;
  if (!source) throw new Error('a fleet has hosts');
  const asked = () => ({ userId: null, idempotencyKey: randomUUID() });
  return {
    source,
    targets,
    async template(name, image, network) {
      const request = importRequestSchema.parse({
        template: name,
        hostId: source.name,
        imagePath: image,
        ...(network === undefined ? {} : { network }),
      });
      await perform(portal, requestImport(portal.db, { ...asked(), request }));
      const version = await portal.db.prisma.templateVersion.findFirstOrThrow({
        where: { template: { name } },
        orderBy: { number: 'desc' },
        include: { base: true },
      });
      const [disk] = version.base.disks as { path: string }[];
      if (!disk) throw new Error('a template has a disk');
      return {
        id: version.id,
        digest: version.base.digest,
        path: disk.path,
        bytes: (await stat(disk.path)).size,
      };
    },
    async distribute({ id }) {
      const hostIds = targets.map(({ name }) => name);
      await perform(portal, requestTransfer(portal.db, { ...asked(), versionId: id, hostIds }));
    },
    async withdraw({ digest }) {
      const copies = await portal.db.prisma.base.findMany({
        where: { digest, hostId: { not: source.name } },
      });
      for (const { id } of copies)
        await perform(portal, requestRemoveBase(portal.db, { ...asked(), baseId: id, onlyHere: true }));
    },
    async on(host, argv) {
      const [program, ...args] = host.entering(argv);
      await execa(program, args, { stdin: 'ignore' });
    },
    keyFile: fleet.keyFile,
    sshOptions: [
      '-i',
      fleet.keyFile,
      '-o',
      'StrictHostKeyChecking=no',
      '-o',
      'UserKnownHostsFile=/dev/null',
      '-o',
      'LogLevel=ERROR',
    ],
    async close() {
      await fleet.close();
      // Hosts of a fleet that is gone, and what they had: later benches of this portal must not wait for them.
      const ids = fleet.hosts.map(({ name }) => name);
      await portal.db.pool.query(`DELETE FROM "operation" WHERE "hostId" = ANY($1::text[])`, [ids]);
      await portal.db.pool.query(
        `DELETE FROM "template" t USING "template_version" v, "base" b WHERE v."templateId" = t."id" AND b."id" = v."baseId" AND b."hostId" = ANY($1::text[])`,
        [ids],
      );
      await portal.db.pool.query(`DELETE FROM "guest" WHERE "hostId" = ANY($1::text[])`, [ids]);
      await portal.db.pool.query(`DELETE FROM "base" WHERE "hostId" = ANY($1::text[])`, [ids]);
      await portal.db.pool.query(`DELETE FROM "host" WHERE "id" = ANY($1::text[])`, [ids]);
    },
  };
}

/** Where a peer puts its copy on a host. */
export async function peerFile(host: FleetHost): Promise<string> {
  const folder = join(host.folder, 'peer');
  await mkdir(folder, { recursive: true });
  return join(folder, 'copy.qcow2');
}

export async function removePeerFiles(hosts: readonly FleetHost[]): Promise<void> {
  for (const host of hosts) await rm(join(host.folder, 'peer'), { recursive: true, force: true });
}
