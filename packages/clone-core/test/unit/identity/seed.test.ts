import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { seedFiles, type SeedQuestion } from '../../../src/identity/seed.ts';
import { agents } from '../../../src/identity/agents.ts';
import { decided, everything, KEY, optionsOf } from './facts.ts';

const text = (question: SeedQuestion): string =>
  seedFiles(question)
    .map((file) => `=== ${file.name}\n${file.content}`)
    .join('\n');
const read = (question: SeedQuestion, name: string): Record<string, unknown> =>
  parse(seedFiles(question).find((file) => file.name === name)?.content ?? '', { version: '1.1' }) as Record<
    string,
    unknown
  >;
const { address: _address, fqdn: _fqdn, ...plain } = decided;
const cloudInit = { seedReader: 'cloud-init', init: 'systemd', network: ['netplan'] } as const;
const base: SeedQuestion = {
  decided: plain,
  options: optionsOf(),
  inside: { ...cloudInit, network: ['netplan'] },
  policy: 'strict',
};

describe('seed files', () => {
  it.each<[string, SeedQuestion]>([
    ['plain', base],
    [
      'everything',
      {
        ...base,
        decided,
        options: optionsOf(everything),
        resets: agents.filter((agent) => ['wazuh', 'zabbix-agent'].includes(agent.id)),
        randomSeed: new Uint8Array([1, 2, 3]),
      },
    ],
    [
      // Before users get their keys: bootcmd is the first that runs, and it runs once.
      'clean',
      {
        ...base,
        options: optionsOf({ users: [{ name: 'ada', sshKeys: [KEY] }], clean: ['logs', 'authorized-keys'] }),
        clean: ['logs', 'authorized-keys'],
      },
    ],
    [
      'ifupdown',
      {
        ...base,
        decided,
        options: optionsOf({ addressing: everything.addressing }),
        inside: { seedReader: 'cloud-init', init: 'systemd', network: ['ifupdown'] },
      },
    ],
    [
      'ipv6-off',
      {
        ...base,
        decided: { ...plain, address: '2001:db8::5/64' },
        options: optionsOf({
          addressing: { type: 'static', first: '2001:db8::5/64', gateway: '2001:db8::1' },
        }),
        policy: 'off',
        inside: { seedReader: 'cloud-init', init: 'systemd' },
      },
    ],
    [
      'sample-guest',
      {
        ...base,
        options: optionsOf({ users: [{ name: 'root', sshKeys: [KEY] }] }),
        inside: { seedReader: 'nocloud-subset', init: 'busybox' },
      },
    ],
    [
      'cloudbase',
      {
        ...base,
        decided: { ...plain, computerName: 'WEB-07' },
        options: optionsOf({
          windows: { timezone: 'W. Europe Standard Time' },
          users: [{ name: 'ada', sshKeys: [KEY], administrator: true }],
          firstBootScript: '#!ps1\nGet-Date\n',
        }),
        inside: { seedReader: 'cloudbase-init' },
        administratorPassword: 'given at write time',
      },
    ],
  ])('%s', async (name, question) => {
    await expect(text(question)).toMatchFileSnapshot(`golden/seed-${name}.txt`);
    expect(text(question)).toBe(text(question));
  });

  it('merges user data after ours, which holds', () => {
    const userData = [
      '#cloud-config',
      'hostname: other',
      'ssh_deletekeys: false',
      'bootcmd: [[touch, /theirs]]',
      'runcmd: [echo theirs]',
      'ntp: {enabled: yes, servers: ["010"]}',
      'users: [{name: theirs}]',
    ].join('\n');
    const made = read({ ...base, options: optionsOf({ userData, users: [{ name: 'ada' }] }) }, 'user-data');
    expect(made).toMatchObject({
      hostname: 'web-07',
      ssh_deletekeys: true,
      runcmd: ['echo theirs'],
      ntp: { enabled: true, servers: ['010'] },
      users: ['default', { name: 'ada' }, { name: 'theirs' }],
    });
    expect(made.bootcmd).toEqual([expect.arrayContaining(['cloud-init-per']), ['touch', '/theirs']]);
  });

  it('does not wait for links that are cut, and does for those that are not', () => {
    const cut = read(base, 'network-config').ethernets as Record<string, Record<string, unknown>>;
    expect(Object.values(cut).map((nic) => nic.optional)).toEqual([true, true]);
    const off = read({ ...base, policy: 'off' }, 'network-config').ethernets as typeof cut;
    expect(Object.values(off).map((nic) => nic.optional)).toEqual([undefined, undefined]);
  });

  it('keeps a script with its line ends put right, whatever is in it', () => {
    const script = '#!/bin/sh\r\n: EOF \'"`$(x)\\ {{ }} # é\r\n';
    const made = read({ ...base, options: optionsOf({ firstBootScript: script }) }, 'user-data');
    const files = made.write_files as { path: string; content: string }[];
    const file = files.find((each) => each.path.endsWith('/script'));
    expect(Buffer.from(file?.content ?? '', 'base64').toString()).toBe(script.replaceAll('\r', ''));
  });

  it('gives the sample guest lines that its reader takes', () => {
    const question: SeedQuestion = {
      ...base,
      options: optionsOf({ users: [{ name: 'root', sshKeys: [KEY] }] }),
      inside: { seedReader: 'nocloud-subset' },
    };
    const [meta, user] = seedFiles(question);
    // What tools/src/sample-guest/rootfs/etc/init.d/seed looks for with sed.
    expect(meta?.content).toMatch(/^instance-id: *offshoot-[0-9a-f-]+$/m);
    expect(meta?.content).toMatch(/^local-hostname: *web-07$/m);
    expect(user?.content).toMatch(/^ *- *["']?(ssh|ecdsa)-[a-z0-9-]* [^"']*["']? *$/m);
  });
});
