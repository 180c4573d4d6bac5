/** The scripts that run inside guests, run: with this machine's shell and programs, and with BusyBox. */
import { afterEach, describe, expect, it } from 'vitest';
import { agentWords, withUserAgents } from '../../src/identity/agents.ts';
import { parseAttestation } from '../../src/identity/attestation.ts';
import { cleanWords } from '../../src/identity/clean.ts';
import { cleanKinds } from '../../src/identity/contract.ts';
import { DONE, firstBootByAgent, LOG, PENDING, SCRIPT } from '../../src/identity/first-boot.ts';
import { judge } from '../../src/identity/judge.ts';
import { attest, goOnline, settleSeed, takeIdentity } from '../../src/identity/scripts.ts';
import { decided, HASH, KEY, optionsOf } from '../unit/identity/facts.ts';
import { makeBox, noBox, type Box } from './identity.box.ts';

const BUSYBOX = process.env.OFFSHOOT_TEST_BUSYBOX ?? '/bin/busybox';
const own = { ...decided, macs: [] };
const OLD = 'f'.repeat(32);

let box: Box | undefined;
afterEach(async () => {
  await box?.close();
  box = undefined;
});

const list = withUserAgents(
  JSON.stringify([
    {
      id: 'own',
      name: 'Own',
      detect: ['/etc/own/id'],
      remove: ['/etc/own/*.key', '/etc/own/state'],
      empty: ['/etc/own/id'],
      lines: [{ path: '/etc/own/conf', begins: 'Hostname=', line: 'Hostname={hostname}' }],
      services: ['own.service'],
      note: 'It is new.',
      source: 'https://example.org/',
    },
  ]),
  [],
);

async function source(): Promise<Box> {
  if (!box) throw new Error('No box was made.');
  await box.write('/etc/hostname', 'template\n');
  await box.write('/etc/hosts', '127.0.0.1 localhost\n127.0.1.1\ttemplate.old template\n10.0.0.9 kept\n');
  await box.write('/etc/machine-id', `${OLD}\n`);
  await box.write('/var/lib/dbus/machine-id', `${OLD}\n`);
  await box.write('/var/lib/dhcp/dhclient.eth0.leases', '  option dhcp-client-identifier ff:00:11:22:33;\n');
  await box.write('/var/lib/NetworkManager/secret_key', 'old');
  await box.write('/var/lib/systemd/random-seed', 'old');
  await box.write('/etc/own/a.key', 'old');
  await box.write('/etc/own/state/deep', 'old');
  await box.write('/etc/own/id', 'old');
  await box.write('/etc/own/conf', '# Hostname=example\n  Hostname=template\nServer=x|y\\n\nlast');
  return box;
}

describe.each([
  ['this machine’s programs', undefined],
  ['BusyBox', BUSYBOX],
])('with %s', (_what, busybox) => {
  const needsBox = async (context: { skip(why: string): void }): Promise<void> => {
    const why = noBox(busybox);
    if (why !== undefined) context.skip(why);
    box = await makeBox(busybox);
  };

  it('a guest takes its identity, attests it, and is judged', async (context) => {
    await needsBox(context);
    const guest = await source();
    if (busybox === undefined) {
      await guest.write('/etc/ssh/sshd_config', '');
      expect((await guest.run('ssh-keygen -q -A')).code).toBe(0);
    }
    const before = parseAttestation((await guest.run(attest)).stdout, new Date());
    expect(before).toMatchObject({
      hostname: 'template',
      machineId: OLD,
      dhcpIds: ['ff00112233'],
      hostsFile: true,
    });
    expect(before.sshHostKeys).toHaveLength(busybox === undefined ? 3 : 0);
    const words = [`fqdn=${own.fqdn ?? ''}`, ...agentWords(list, own)];
    const now = String(Math.round(Date.now() / 1000));
    const took = await guest.run(takeIdentity, [own.hostname, own.machineId, now, ...words], 'random');
    expect(took).toMatchObject({ code: 0, stdout: 'name web-07\n' });
    const after = parseAttestation((await guest.run(attest)).stdout, new Date());
    const changed = ['hostname', 'machine-id', 'ssh-host-keys', 'dhcp-id', 'hosts-file'] as const;
    expect(judge({ decided: own, changed, attested: after, source: before })).toEqual({
      verdict: 'attested',
      problems: [],
    });
    expect(after.sshHostKeys).toHaveLength(before.sshHostKeys.length);
    expect(await guest.read('/etc/hosts')).toBe(
      '127.0.0.1 localhost\n127.0.1.1 web-07.lab.example.org web-07\n10.0.0.9 kept\n',
    );
    expect(await guest.read('/var/lib/dbus/machine-id')).toBe(`${own.machineId}\n`);
    expect((await guest.read('/var/lib/systemd/random-seed')).length).toBeGreaterThan(100);
    expect(
      [
        '/etc/own/a.key',
        '/etc/own/state',
        '/var/lib/NetworkManager/secret_key',
        '/var/lib/dhcp/dhclient.eth0.leases',
      ].filter((path) => guest.has(path)),
    ).toEqual([]);
    expect(await guest.read('/etc/own/id')).toBe('');
    expect(await guest.read('/etc/own/conf')).toBe(
      '# Hostname=example\nHostname=web-07\nServer=x|y\\n\nlast\n',
    );
    expect((await guest.run(goOnline, [own.hostname])).code).toBe(0);
  });

  it('a seeded guest is settled once', async (context) => {
    await needsBox(context);
    const guest = await source();
    const settle = () => guest.run(settleSeed, [own.machineId, ...agentWords(list, own)]);
    expect((await settle()).code).toBe(0);
    expect(await guest.read('/etc/machine-id')).toBe(`${own.machineId}\n`);
    expect(guest.has('/var/lib/dhcp/dhclient.eth0.leases')).toBe(false);
    // The lease of its own stays.
    await guest.write('/var/lib/dhcp/dhclient.eth0.leases', 'own');
    expect((await settle()).code).toBe(0);
    expect(guest.has('/var/lib/dhcp/dhclient.eth0.leases')).toBe(true);
  });

  it('what is left out goes, the keys it is given stay', async (context) => {
    await needsBox(context);
    const guest = await source();
    const past: Readonly<Record<string, string>> = {
      '/var/log/syslog': 'past',
      '/var/log/apt/history.log': 'past',
      '/var/log/apt/history.log.1.gz': 'past',
      '/var/log/journal/0123/system.journal': 'past',
      '/root/.bash_history': 'past',
      '/home/bo b/.ash_history': 'past',
      '/root/.ssh/authorized_keys': 'ssh-ed25519 PAST past\n',
      '/root/.ssh/id_ed25519': 'past',
      '/home/bo b/.aws/credentials': 'past',
      '/root/.ssh/known_hosts': 'stays',
      '/home/bo b/notes': 'stays',
    };
    for (const [path, content] of Object.entries(past)) await guest.write(path, content);
    const words = cleanWords(cleanKinds);
    const now = String(Math.round(Date.now() / 1000));
    const take = () => guest.run(takeIdentity, [own.hostname, own.machineId, now, ...words], 'random');
    const work = firstBootByAgent(optionsOf({ users: [{ name: 'root', sshKeys: [KEY] }] }));
    const give = () => guest.run(work?.script ?? '', [], work?.input);
    // Cut off and done again, as after a crash of the worker.
    for (const step of [take, give, take, give]) expect(await step()).toMatchObject({ code: 0 });
    const left = Object.entries(past).flatMap(([path]) => (guest.has(path) ? [path] : []));
    expect(
      Object.fromEntries(await Promise.all(left.map(async (path) => [path, await guest.read(path)]))),
    ).toEqual({
      '/var/log/syslog': '',
      '/var/log/apt/history.log': '',
      '/root/.bash_history': '',
      '/home/bo b/.ash_history': '',
      '/root/.ssh/authorized_keys': `${KEY}\n`,
      '/root/.ssh/known_hosts': 'stays',
      '/home/bo b/notes': 'stays',
    });
  });

  it('a seed’s first command leaves out what could not be cleaned before, once', async (context) => {
    await needsBox(context);
    const guest = await source();
    await guest.write('/root/.ssh/authorized_keys', 'ssh-ed25519 PAST past\n');
    await guest.write('/root/.bash_history', 'past');
    const words = cleanWords(['shell-history', 'authorized-keys']);
    expect(await guest.run(settleSeed, [own.machineId, ...words])).toMatchObject({ code: 0 });
    expect(await guest.read('/root/.ssh/authorized_keys')).toBe('');
    expect(await guest.read('/root/.bash_history')).toBe('');
    // What settles it again before the proof has no such words: cloud-init has given it its users by then.
    await guest.write('/root/.ssh/authorized_keys', `${KEY}\n`);
    await guest.run(settleSeed, [own.machineId, ...agentWords(list, own)]);
    expect(await guest.read('/root/.ssh/authorized_keys')).toBe(`${KEY}\n`);
  });

  it('first-boot work: users, keys, password, time zone, locale, script', async (context) => {
    await needsBox(context);
    const guest = await source();
    await guest.write('/etc/sudoers.d/README', '');
    await guest.write(PENDING, '');
    await guest.write(
      '/etc/inittab',
      '::sysinit:/etc/init.d/boot\n::wait:/bin/sh /var/lib/offshoot/first-boot early\n',
    );
    expect(parseAttestation((await guest.run(attest)).stdout, new Date()).busy).toBe(true);
    const options = optionsOf({
      users: [
        { name: 'ada', sshKeys: [KEY], passwordHash: HASH, administrator: true },
        { name: 'root', sshKeys: [KEY] },
      ],
      locale: 'de_DE.UTF-8',
      firstBootScript: '#!/bin/sh\r\necho "ran as $(id -u) with \'$HOME\'"\r\nexit 7\r\n',
    });
    const work = firstBootByAgent(options);
    // What goes on beside it ends with the box: wait for it.
    const done = await guest.run(
      `${work?.script.replace('exec /bin/sh', '/bin/sh') ?? ''}\nuntil [ -e ${DONE} ]; do sleep 0.1; done`,
      [],
      work?.input,
    );
    expect(done).toMatchObject({ code: 0 });
    expect(await guest.read('/etc/passwd')).toMatch(/^ada:x:\d+:\d+:.*:\/home\/ada:\/bin\/(ba)?sh$/m);
    expect(await guest.read('/etc/shadow')).toContain(`ada:${HASH}:`);
    expect(await guest.read('/home/ada/.ssh/authorized_keys')).toBe(`${KEY}\n`);
    expect(await guest.read('/root/.ssh/authorized_keys')).toBe(`${KEY}\n`);
    expect(await guest.read('/etc/sudoers.d/90-offshoot-ada')).toBe('ada ALL=(ALL) NOPASSWD:ALL\n');
    const owners = await guest.run(
      'stat -c "%U %a" /home/ada/.ssh /home/ada/.ssh/authorized_keys /etc/sudoers.d/90-offshoot-ada',
    );
    expect(owners.stdout).toBe('ada 700\nada 600\nroot 440\n');
    expect(await guest.read('/etc/locale.conf')).toBe('LANG=de_DE.UTF-8\n');
    expect(await guest.read(LOG)).toMatch(/ran as 0 with/);
    expect(await guest.read(DONE)).toMatch(/^7 [0-9a-f]{32}\n$/);
    expect(await guest.read('/etc/inittab')).toBe('::sysinit:/etc/init.d/boot\n');
    expect(
      [SCRIPT, PENDING, '/var/lib/offshoot/users', '/var/lib/offshoot/script'].filter((path) =>
        guest.has(path),
      ),
    ).toEqual([]);
    const said = async () => parseAttestation((await guest.run(attest)).stdout, new Date());
    expect(await said()).toMatchObject({ firstBoot: 7 });
    expect((await said()).busy).toBeUndefined();
    await guest.write('/var/lib/offshoot/script', '#!/bin/sh\n');
    expect(await said(), 'another is to run').toMatchObject({ firstBoot: 'running' });
    await guest.run('rm /var/lib/offshoot/script');
    await guest.write('/etc/machine-id', `${OLD.replaceAll('f', 'e')}\n`);
    expect((await said()).firstBoot, 'a clone of it has its file, and ran nothing').toBeUndefined();
  });
});
