/** A network of the test's own, with DHCP, and what is seen on its bridge. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AttestedIdentity } from '../../src/identity/contract.ts';
import { attempt, virsh, type Lab } from './libvirt.lab.ts';

/** One frame on the bridge. */
export interface Frame {
  /** Milliseconds since 1970. */
  at: number;
  /** MAC of its sender. */
  from: string;
  /** As tcpdump prints it. */
  text: string;
}

export interface LabNetwork {
  name: string;
  bridge: string;
  /** Address of its network with this last part: 10.213.7.50. */
  address(last: number): string;
  hasLease(mac: string): Promise<boolean>;
  macOf(who: AttestedIdentity | undefined): string;
  watch(): Promise<{ stop(): Promise<Frame[]> }>;
  destroy(): Promise<void>;
}

export async function labNetwork(lab: Lab, run: string): Promise<LabNetwork> {
  const [name, bridge] = [`offshoot-${run}`, `ofs${run}`.slice(0, 14)];
  const third = process.pid % 250;
  const file = join(lab.root, 'network.xml');
  await writeFile(
    file,
    `<network><name>${name}</name><bridge name='${bridge}' stp='off' delay='0'/>
      <ip address='10.213.${third}.1' netmask='255.255.255.0'><dhcp><range start='10.213.${third}.100' end='10.213.${third}.200'/></dhcp></ip>
    </network>`,
  );
  await virsh('net-create', file);
  return {
    name,
    bridge,
    address: (last) => `10.213.${third}.${last}`,
    hasLease: async (mac) => (await virsh('net-dhcp-leases', name)).includes(mac),
    macOf: (who) => who?.macs[0] ?? '',
    async watch() {
      const child = spawn('tcpdump', ['-i', bridge, '-l', '-n', '-e', '-tt', '-v', '-U'], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      await new Promise<void>((resolve, reject) => {
        child.once('error', reject);
        child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
          if (chunk.includes('listening on')) resolve();
        });
      });
      return {
        async stop() {
          child.kill('SIGINT');
          await once(child, 'close');
          return framesOf(text);
        },
      };
    },
    async destroy() {
      await attempt('virsh', '-q', 'net-destroy', name);
    },
  };
}

/** A frame begins with its time; what is indented belongs to the one before. */
function framesOf(text: string): Frame[] {
  return text.split(/\n(?=\d+\.\d+ )/).flatMap((one) => {
    const [, seconds, from] = /^(\d+\.\d+) ([0-9a-f:]{17}) > /.exec(one) ?? [];
    return seconds === undefined || from === undefined
      ? []
      : [{ at: Math.round(Number(seconds) * 1000), from, text: one }];
  });
}
