/** The lab's network: a bridge on this machine, a cable (veth pair) to every host, its speed limited by `tc`. */
import { OffshootError } from '@offshoot/clone-core/errors';
import { execa } from 'execa';
import { z } from 'zod';
import { addressOf, bridgeOf, bytesPerSecond, cableOf, gatewayOf, type LabRecord } from './layout.ts';
import { runInside, type Init } from './namespaces.ts';

/** Free ones are looked for from here; the lab of the command line comes first. */
const SUBNETS = { first: 77, last: 250 } as const;
/** Segmentation is done late: a packet on its way through `tc` may be 64 KiB, bytes. */
const LARGEST_PACKET = 65_536;

const ip = async (...words: string[]): Promise<string> =>
  (await execa('ip', words, { stdin: 'ignore', timeout: 20_000 })).stdout;

const addressesSchema = z.array(
  z.object({ ifname: z.string(), addr_info: z.array(z.object({ local: z.string().optional() })) }),
);

/** Third octet that no interface of this machine uses. @throws OffshootError `in-use` when none is left. */
export async function freeSubnet(): Promise<number> {
  const links = addressesSchema.parse(JSON.parse(await ip('-j', '-4', 'addr')));
  const used = new Set(links.flatMap((link) => link.addr_info.map(({ local }) => local ?? '')));
  for (let subnet = SUBNETS.first; subnet <= SUBNETS.last; subnet++)
    if (!used.has(gatewayOf(subnet))) return subnet;
  throw new OffshootError('in-use', {
    publicMessage: 'All addresses for labs are in use on this machine.',
    remedy: 'Take down labs that are no longer needed.',
  });
}

const linksSchema = z.array(z.object({ ifname: z.string(), operstate: z.string().optional() }));

/** Interfaces of a lab on this machine: its bridge and the near ends of its cables. */
export async function linksOf(id: string): Promise<string[]> {
  const names = linksSchema.parse(JSON.parse(await ip('-j', 'link'))).map(({ ifname }) => ifname);
  const bridge = bridgeOf(id);
  return names.filter((name) => name === bridge || new RegExp(`^${bridge}-\\d+$`).test(name));
}

/** Ids of all labs that left interfaces on this machine. */
export async function labsWithLinks(): Promise<string[]> {
  const names = linksSchema.parse(JSON.parse(await ip('-j', 'link'))).map(({ ifname }) => ifname);
  return [...new Set(names.flatMap((name) => /^ol-([a-z0-9]{1,6})(?:-\d+)?$/.exec(name)?.[1] ?? []))];
}

export async function makeBridge(id: string, subnet: number): Promise<void> {
  const bridge = bridgeOf(id);
  if (!(await linksOf(id)).includes(bridge)) await ip('link', 'add', bridge, 'type', 'bridge');
  await ip('addr', 'replace', `${gatewayOf(subnet)}/24`, 'dev', bridge);
  await ip('link', 'set', bridge, 'up');
}

/** Plugs a host in, at the lab's rate in both directions. */
export async function plugIn(
  lab: Pick<LabRecord, 'id' | 'subnet' | 'rate'>,
  number: number,
  init: Init,
): Promise<void> {
  const cable = cableOf(lab.id, number);
  await ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(init.pid));
  await ip('link', 'set', cable, 'master', bridgeOf(lab.id), 'up');
  const inside = (...argv: string[]): Promise<string> => runInside(lab.id, init, argv);
  await inside('ip', 'link', 'set', 'lo', 'up');
  await inside('ip', 'addr', 'add', `${addressOf(lab.subnet, number)}/24`, 'dev', 'eth0');
  await inside('ip', 'link', 'set', 'eth0', 'up');
  await inside('ip', 'route', 'add', 'default', 'via', gatewayOf(lab.subnet));
  await limit(lab.id, number, init, lab.rate);
}

/** Sets the rate of a host's cable in both directions. */
export async function limit(id: string, number: number, init: Init, rate: string): Promise<void> {
  // A millisecond's worth, so that the limit holds within short transfers too.
  const burst = Math.max(2 * LARGEST_PACKET, Math.round(bytesPerSecond(rate) / 1000));
  const words = ['tbf', 'rate', rate, 'burst', String(burst), 'latency', '40ms'];
  const qdisc = (device: string): string[] => ['tc', 'qdisc', 'replace', 'dev', device, 'root', ...words];
  const [, ...near] = qdisc(cableOf(id, number));
  await execa('tc', near, { stdin: 'ignore' });
  await runInside(id, init, qdisc('eth0'));
}

/** Pulls the cable, or plugs it in again. Connections are not told: they notice by silence, as with a real one. */
export const setCable = async (id: string, number: number, state: 'up' | 'down'): Promise<void> => {
  await ip('link', 'set', cableOf(id, number), state);
};

export async function isPlugged(id: string, number: number): Promise<boolean> {
  const [link] = z
    .array(z.object({ flags: z.array(z.string()) }))
    .parse(JSON.parse(await ip('-j', 'link', 'show', 'dev', cableOf(id, number))));
  return link?.flags.includes('UP') ?? false;
}

const statsSchema = z.array(
  z.object({
    stats64: z.object({ rx: z.object({ bytes: z.number() }), tx: z.object({ bytes: z.number() }) }),
  }),
);

/** Bytes that went over a host's cable since it was plugged in, as the host sees it; headers included. */
export async function traffic(id: string, number: number): Promise<{ sent: number; received: number }> {
  const [link] = statsSchema.parse(
    JSON.parse(await ip('-j', '-s', 'link', 'show', 'dev', cableOf(id, number))),
  );
  // The near end receives what the host sends.
  return { sent: link?.stats64.rx.bytes ?? 0, received: link?.stats64.tx.bytes ?? 0 };
}

/** Deletes the lab's interfaces. Those whose namespace just ended may go by themselves meanwhile. */
export async function removeLinks(id: string): Promise<void> {
  for (const name of await linksOf(id)) {
    const done = await execa('ip', ['link', 'delete', name], { stdin: 'ignore', reject: false });
    if (done.exitCode !== 0 && !/Cannot find device/.test(done.stderr))
      throw new OffshootError('command-failed', {
        publicMessage: `The interface ${name} could not be deleted: ${done.stderr.trim()}`,
      });
  }
}
