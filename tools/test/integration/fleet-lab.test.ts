/** The fleet lab: its hosts are real and apart, their cables have the promised speed, and nothing of it stays behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { findFleet, obstacle, openFleet, type Fleet } from '../../src/fleet-lab/fleet.ts';
import { knownLabs, removeLab, removeOrphans } from '../../src/fleet-lab/remove.ts';
import { processesOf } from '../../src/fleet-lab/namespaces.ts';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const hindrance = await obstacle();
let fleet: Fleet;

const guest = (
  name: string,
): string => `<domain type='qemu'><name>${name}</name><memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os><devices/></domain>`;

const ssh = (target: Fleet, host: string, ...words: string[]) =>
  execa('ssh', [
    '-i',
    target.keyFile,
    '-o',
    'StrictHostKeyChecking=no',
    '-o',
    'UserKnownHostsFile=/dev/null',
    '-o',
    'LogLevel=ERROR',
    `root@${host}`,
    ...words,
  ]);

describe.skipIf(hindrance !== undefined)(
  `the fleet lab${hindrance ? ` (skipped: ${hindrance.publicMessage})` : ''}`,
  () => {
    beforeAll(async () => {
      fleet = await openFleet({ hosts: 2, rate: '200mbit' });
    }, 120_000);
    afterAll(async () => {
      await fleet.close();
      expect(await knownLabs()).not.toContain(fleet.id);
      expect(await processesOf(fleet.id)).toEqual([]);
    });

    it('hosts are apart: each has its own guests, of the same name too', async () => {
      for (const host of fleet.hosts) {
        await execa('tee', [join(host.folder, 'guest.xml')], { input: guest('twin'), stdout: 'ignore' });
        await host.run(['virsh', '-q', '-c', 'qemu:///system', 'create', join(host.folder, 'guest.xml')]);
      }
      const ids = await Promise.all(
        fleet.hosts.map((host) => host.run(['virsh', '-q', '-c', 'qemu:///system', 'domuuid', 'twin'])),
      );
      expect(new Set(ids).size).toBe(2);
      const [one, other] = fleet.hosts;
      await one?.run(['virsh', '-q', '-c', 'qemu:///system', 'destroy', 'twin']);
      expect(await other?.run(['virsh', '-q', '-c', 'qemu:///system', 'domstate', 'twin'])).toBe('running');
    }, 60_000);

    it('answers over SSH from outside, and one host from another', async () => {
      const [one, other] = fleet.hosts;
      if (!one || !other) throw new Error('two hosts');
      expect((await ssh(fleet, one.address, 'hostname')).stdout).toBe('host-1');
      const [program, ...args] = one.entering([
        'ssh',
        '-i',
        fleet.keyFile,
        '-o',
        'StrictHostKeyChecking=no',
        '-o',
        'UserKnownHostsFile=/dev/null',
        'root@host-2',
        'hostname',
      ]);
      expect((await execa(program, args)).stdout).toBe('host-2');
    });

    it('a cable counts its bytes, and carries nothing while it is cut', async () => {
      const [one] = fleet.hosts;
      if (!one) throw new Error('a host');
      const before = await one.traffic();
      const { stdout } = await ssh(
        fleet,
        one.address,
        'head -c 10000000 /dev/zero | wc -c; head -c 10000000 /dev/zero',
      );
      expect(stdout).toContain('10000000');
      const sent = (await one.traffic()).sent - before.sent;
      expect(sent).toBeGreaterThan(10_000_000);
      expect(sent).toBeLessThan(11_500_000);
      await one.cut();
      const ping = ['-c', '1', '-W', '1', one.address];
      expect(await one.isPlugged()).toBe(false);
      expect((await execa('ping', ping, { reject: false })).exitCode).not.toBe(0);
      await one.restore();
      expect(await one.isPlugged()).toBe(true);
      await ssh(fleet, one.address, 'true');
    }, 60_000);

    it('is the same lab to whoever looks for it by its id', async () => {
      expect((await findFleet(fleet.id)).hosts.map((host) => host.address)).toEqual(
        fleet.hosts.map((host) => host.address),
      );
    });

    it('a lab whose maker is killed in the middle is taken away by the next', async () => {
      const maker = join(import.meta.dirname, '../support/open-lab.ts');
      const child = spawn(process.execPath, ['--import', 'tsx', maker, 'orphan'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(child.stdout, 'data'); // its first host is being made
      child.kill('SIGKILL');
      await once(child, 'exit');
      await removeOrphans();
      expect(await knownLabs()).not.toContain('orphan');
      expect(await processesOf('orphan')).toEqual([]);
      expect(await leftovers('orphan')).toEqual([]);
      await removeLab('orphan'); // once more does no harm
    }, 60_000);

    it('refuses what it can’t make, in a sentence', async () => {
      await expect(openFleet({ hosts: 0 })).rejects.toThrow('1 to 32 hosts');
      await expect(openFleet({ hosts: 1, rate: 'fast' })).rejects.toThrow('A rate is a number with kbit');
      await expect(openFleet({ hosts: 1, id: '../etc' })).rejects.toThrow('A lab’s id');
      await expect(findFleet('none')).rejects.toThrow('No lab is up');
    });
  },
);

async function leftovers(id: string): Promise<string[]> {
  const links = (await execa('ip', ['-br', 'link'])).stdout
    .split('\n')
    .filter((line) => line.startsWith(`ol-${id}`));
  const mounts = (await execa('findmnt', ['-rno', 'TARGET'])).stdout
    .split('\n')
    .filter((line) => line.includes(`offshoot-fleet-${id}`));
  const folders = (await readdir('/var/tmp')).filter((name) => name === `offshoot-fleet-${id}`);
  const groups = (await execa('find', ['/sys/fs/cgroup', '-name', '*-twin.libvirt-qemu'])).stdout;
  return [...links, ...mounts, ...folders, ...groups.split('\n').filter(Boolean)];
}
