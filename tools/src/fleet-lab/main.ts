/** `npm run lab -- up N | status | cut HOST | restore HOST | down`: real hypervisor hosts on this machine. */
import { parseArgs } from 'node:util';
import { OffshootError, toOffshootError } from '@offshoot/clone-core/errors';
import { readRun } from '../start/instance.ts';
import { sealSecret } from '../start/secrets.ts';
import { findFleet, obstacle, openFleet, type Fleet, type FleetHost, type Portal } from './fleet.ts';
import { DEFAULT_ID } from './layout.ts';
import { knownLabs, removeLab, removeOrphans } from './remove.ts';

const USAGE = `npm run lab -- COMMAND

  up N [--rate 1gbit]   N hosts, or as many as are missing; each with a worker when a portal runs (npm start)
  status                what is there
  cut HOST              pull a host's network cable
  restore HOST          plug it in again
  down                  take everything away, also what a crash left

  --rate RATE           speed of every host's cable, each way: 1gbit, 200mbit
  --data FOLDER         data folder of the portal, when it is not the usual one
  --id ID               another lab beside the first, 1 to 6 letters and digits
`;

// Whoever reads may have seen enough (`… | head`).
process.stdout.on('error', () => process.exit());

const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function main(): Promise<void> {
  const { values, positionals } = parse();
  const id = values.id ?? DEFAULT_ID;
  const [command, argument, ...more] = positionals;
  if (more.length > 0 || (argument !== undefined && (command === 'status' || command === 'down')))
    throw usage(`${command} takes fewer words.`);
  switch (command) {
    case 'up':
      return up(id, argument, values.rate, values.data);
    case 'status':
      return status(id);
    case 'cut':
    case 'restore': {
      const host = hostNamed(await findFleet(id), argument);
      await host[command]();
      say(command === 'cut' ? `${host.name} is cut off.` : `${host.name} is plugged in again.`);
      return;
    }
    case 'down':
      return down(id, values.id === undefined);
    case undefined:
      throw usage('Say what to do.');
    default:
      throw usage(`There is no command ${command}.`);
  }
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { rate: { type: 'string' }, data: { type: 'string' }, id: { type: 'string' } },
    });
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error));
  }
}

const usage = (what: string): OffshootError =>
  new OffshootError('invalid-input', { publicMessage: what, remedy: `\n${USAGE}` });

async function up(
  id: string,
  count: string | undefined,
  rate: string | undefined,
  data: string | undefined,
): Promise<void> {
  const hosts = Number(count);
  if (count === undefined || !/^\d+$/.test(count)) throw usage('Say how many hosts: up 4');
  const fleet = await openFleet({ hosts, id, stays: true, say, ...(rate === undefined ? {} : { rate }) });
  const portalData = data ?? process.env['OFFSHOOT_DATA'] ?? '/var/lib/offshoot';
  const portal = await portalOf(portalData);
  if (portal) {
    const environment = { OFFSHOOT_SEAL_SECRET: await sealSecret(portalData) };
    for (const host of fleet.hosts)
      if (!(await host.hasWorker())) {
        say(`${host.name}: worker`);
        await host.startWorker(portal, { program: 'built', environment });
      }
  }
  await show(fleet);
  if (!portal) say('\nNo portal runs, so no worker was started. Run npm start, then up again.');
}

async function portalOf(data: string): Promise<Portal | undefined> {
  const run = await readRun(data);
  if (run?.databaseUrl === undefined || run.redisUrl === undefined) return undefined;
  return { databaseUrl: run.databaseUrl, redisUrl: run.redisUrl };
}

async function status(id: string): Promise<void> {
  await show(await findFleet(id));
}

async function show(fleet: Fleet): Promise<void> {
  say(
    `\nLab ${fleet.id}: ${fleet.hosts.length === 1 ? '1 host' : `${fleet.hosts.length} hosts`}, cables of ${fleet.rate}\n`,
  );
  for (const host of fleet.hosts) say(await line(host));
  const [first] = fleet.hosts;
  if (first) say(`\n  Log in   ssh -i ${fleet.keyFile} root@${first.address}\n  Folder   ${fleet.folder}`);
}

async function line(host: FleetHost): Promise<string> {
  const parts: string[] = [];
  try {
    const guests = await host.run(['virsh', '-q', '-c', 'qemu:///system', 'list', '--all', '--name']);
    parts.push(`libvirt answers, ${guests.split('\n').filter(Boolean).length} guests`);
  } catch {
    // Whatever it is: the table says what works, and this does not.
    parts.push('libvirt does not answer');
  }
  parts.push((await host.hasWorker()) ? 'worker runs' : 'no worker');
  if (!(await host.isPlugged())) parts.push('CUT OFF');
  return `  ${host.name.padEnd(8)} ${host.address.padEnd(14)} ${parts.join(', ')}`;
}

function hostNamed(fleet: Fleet, name: string | undefined): FleetHost {
  const host = fleet.hosts.find((each) => each.name === name);
  if (host) return host;
  throw new OffshootError('not-found', {
    publicMessage: name === undefined ? 'Say which host.' : `There is no host ${name} in the lab.`,
    remedy: `It has ${fleet.hosts.map((each) => each.name).join(', ')}.`,
  });
}

async function down(id: string, orphansToo: boolean): Promise<void> {
  const hindrance = await obstacle();
  if (hindrance?.code === 'permission') throw hindrance;
  const known = (await knownLabs()).includes(id);
  const { processes, links } = await removeLab(id);
  const orphans = orphansToo ? await removeOrphans() : [];
  say(
    known ? `The lab is gone: ${processes} processes, ${links} interfaces, its files.` : 'There was no lab.',
  );
  if (orphans.length > 0) say(`So are those that tests left: ${orphans.join(', ')}.`);
}

try {
  await main();
} catch (thrown) {
  const error = toOffshootError(thrown);
  process.stderr.write(`${error.publicMessage}${error.remedy === undefined ? '' : `\n${error.remedy}`}\n`);
  if (error.code === 'internal') process.stderr.write(`${String(error.context['thrown'])}\n`);
  process.exitCode = error.code === 'invalid-input' ? 2 : 1;
}
