/** What a refresh or a reset carries over into the new disk, as planned, done to real small disks. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readInside } from '../../src/disks/inside/edit.ts';
import { lookInside } from '../../src/disks/inside/look.ts';
import type { InsideDisk, InsideRoot } from '../../src/disks/inside/types.ts';
import type { Plan, StepContext } from '../../src/driver.ts';
import { planCarry } from '../../src/drivers/libvirt/plan-carry.ts';
import { carryInsideStep } from '../../src/drivers/libvirt/steps/carry-inside.ts';
import type { CarryInsideStep } from '../../src/drivers/libvirt/types.ts';
import type { GuestInside, IdentityOptions } from '../../src/identity/contract.ts';
import { localShell } from '../../src/shell/local.ts';
import { decided, insideOf, optionsOf } from '../unit/identity/facts.ts';
import { linux, makeInsideLab, type Files, type InsideLab } from './inside.lab.ts';

const shell = localShell();
const signal = AbortSignal.timeout(170_000);
let lab: InsideLab;
beforeAll(async () => {
  lab = await makeInsideLab();
});
afterAll(() => lab.destroy());

const zabbix = (host: string): string => `Server=10.0.0.1\nHostname=${host}\n`;
/** What a source has by the time of the refresh, agents that it was given after the cloning too. */
const source: Files = {
  ...linux,
  '/var/ossec/etc/client.keys': '001 source any key-of-source\n',
  '/var/lib/tailscale/tailscaled.state': 'node of source',
  '/etc/puppetlabs/puppet/ssl/private_keys/source.pem': 'key of source',
  '/etc/puppetlabs/puppet/ssl/certs/ca.pem': 'authority',
  '/var/cache/salt/minion/grains.cache': 'cache of source',
  '/etc/zabbix/zabbix_agentd.conf': zabbix('source'),
  '/etc/inittab': '::sysinit:/etc/init.d/boot\n',
};
/** Of the clone, which enrolled with Puppet and Wazuh itself. */
const own: Files = {
  '/etc/puppetlabs/puppet/ssl/private_keys/web-07.pem': 'key of clone',
  '/etc/puppetlabs/puppet/ssl/certs/ca.pem': 'authority',
  '/etc/cloud/cloud.cfg.d/zz-offshoot.cfg': 'datasource_list: [NoCloud, ConfigDrive, None]\n',
  '/var/lib/offshoot/static-address': '#!/bin/sh\n',
  '/var/lib/offshoot/address': "ADDRESS='10.0.0.7/24'\n",
  '/var/lib/offshoot/first-boot': '#!/bin/sh\n',
  '/var/lib/offshoot/pending': 'not yet',
  '/var/lib/offshoot/users/ada/keys': 'ssh-ed25519 AAAA\n',
  '/etc/systemd/system/offshoot-first-boot.service': '[Unit]\n',
};
const tab = '::sysinit:/etc/init.d/boot\n::wait:/bin/sh /var/lib/offshoot/static-address\n';

interface Opened {
  disk: InsideDisk;
  root: InsideRoot;
  inside: GuestInside;
}
async function made(files: Files): Promise<Opened> {
  const disk = await lab.partitioned('dos', await lab.filesystem('ext4', files));
  const inside = await lookInside(shell, [disk], { store: lab.folder, signal });
  if (!inside.root) throw new Error(`no root: ${inside.why ?? ''}`);
  return { disk, root: inside.root, inside };
}

/** Files of the new disk by path, after the step of the plan. */
async function carried(
  files: Files,
  init: GuestInside['init'],
  options: Partial<IdentityOptions> = {},
): Promise<Record<string, string>> {
  const [before, after] = [await made({ ...linux, ...files }), await made(source)];
  const guest = { uuid: 'a', name: 'web-07' };
  const facts = { inside: { ...insideOf({}), ...before.inside, ...(init ? { init } : {}) }, source: {} };
  const { target, path, format } = before.disk;
  const carry = planCarry(guest, facts, { [target]: { path, format } }, [after.disk], {
    identity: { options: optionsOf(options), index: 0, decided },
  });
  const [step] = carry.why === undefined ? carry.steps : expect.fail(carry.why);
  const context: StepContext = {
    signal,
    operationId: 'x',
    plan: {} as Plan,
    log: () => undefined,
    result: () => undefined,
    note: (text) => expect.fail(text),
  };
  const handler = carryInsideStep(shell, lab.folder);
  for await (const _progress of handler.run({ ...step, id: 'carry' } as unknown as CarryInsideStep, context));
  const deep = ['', '/*', '/*/*', '/*/*/*', '/*/*/*/*'];
  const look = ['/etc/puppetlabs', '/var/ossec', '/var/lib/tailscale', '/var/cache', '/etc/zabbix']
    .concat('/var/lib/offshoot', '/etc/inittab', '/etc/cloud', '/etc/systemd')
    .flatMap((folder) => deep.map((more) => `${folder}${more}`));
  const found = await readInside(shell, after.disk, after.root, look, { store: lab.folder, signal });
  return Object.fromEntries(found.map((one) => [one.path, Buffer.from(one.content, 'base64').toString()]));
}

it('agents keep the ids that the clone has by now; nothing that makes them the source’s comes with its disk', async () => {
  const keys = '002 web-07 any key-of-clone\n';
  const found = await carried({ ...own, '/var/ossec/etc/client.keys': keys, '/etc/inittab': tab }, 'systemd');
  expect(found).toEqual({
    ...own,
    '/var/ossec/etc/client.keys': keys,
    '/etc/zabbix/zabbix_agentd.conf': zabbix(decided.hostname),
    '/etc/inittab': source['/etc/inittab'],
  });
});

it('what was to be done at its first start, and the address of a busybox, are there still', async () => {
  const found = await carried({ ...own, '/etc/inittab': tab }, 'busybox', { agents: ['wazuh'] });
  expect(found).toMatchObject({
    '/var/lib/offshoot/static-address': '#!/bin/sh\n',
    '/var/lib/offshoot/address': "ADDRESS='10.0.0.7/24'\n",
    '/etc/inittab': tab,
    // Not enrolled yet: its agent does not start without the file.
    '/var/ossec/etc/client.keys': '',
    // Asked for was Wazuh alone.
    '/var/lib/tailscale/tailscaled.state': 'node of source',
  });
});

it('what was set up when it was cloned is prepared once more, for a guest whose first start is over', async () => {
  const asked = {
    users: [{ name: 'ada', sshKeys: ['ssh-ed25519 AAAA'], administrator: true }],
    firstBootScript: '#!/bin/sh\n',
  };
  const over = { '/var/lib/offshoot/first-boot.done': '0\n', '/etc/inittab': tab };
  const [systemd, busybox] = [await carried(over, 'systemd', asked), await carried(over, 'busybox', asked)];
  for (const found of [systemd, busybox]) {
    expect(found).toMatchObject({
      '/var/lib/offshoot/first-boot': expect.stringContaining('early()'),
      '/var/lib/offshoot/pending': '',
      '/var/lib/offshoot/users/ada/keys': 'ssh-ed25519 AAAA\n',
      '/var/lib/offshoot/users/ada/admin': '',
      '/var/lib/offshoot/script': '#!/bin/sh\n',
    });
    // Else its end would be taken for that of the work that is still to come.
    expect(found).not.toHaveProperty('/var/lib/offshoot/first-boot.done');
  }
  expect(systemd['/etc/systemd/system/offshoot-first-boot.service']).toContain('first-boot early');
  expect(busybox['/etc/inittab']).toBe(`${tab}::wait:/bin/sh /var/lib/offshoot/first-boot early\n`);
});
