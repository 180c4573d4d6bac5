/**
 * A real Debian with systemd, cloud-init, networkd, OpenSSH and a guest agent: its clones are themselves before their network
 * is connected, and are what was asked for. Run by `OFFSHOOT_THOROUGH=1`: it builds Debian and boots it for minutes.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CapturedBase, GuestRef, Plan } from '../../src/driver.ts';
import {
  identityOptionsSchema,
  type AttestedIdentity,
  type IdentityOptions,
  type IdentityOutcome,
} from '../../src/identity/contract.ts';
import { baseOf } from '../conformance/cases/base.ts';
import { until } from '../conformance/until.ts';
import { finish, options, ownedBy, planOf, resetOf } from '../conformance/workbench.ts';
import { debianImage } from './debian-guest.ts';
import { labNetwork, type LabNetwork } from './libvirt.network.ts';
import {
  attempt,
  command,
  defineGuest,
  inGuest,
  makeLab,
  startGuest,
  virsh,
  type Lab,
} from './libvirt.lab.ts';

const thorough = process.env['OFFSHOOT_THOROUGH'] === '1';
const LEFT_OUT = thorough ? '' : ' (takes minutes: OFFSHOOT_THOROUGH=1 runs it)';
/** `OFFSHOOT_DEBIAN_EACH=1` for a quicker look. */
const EACH = Number(process.env['OFFSHOOT_DEBIAN_EACH'] ?? 5);
const run = process.pid.toString(36);
const named = (name: string): string => `d${run}-${name}`;
const never = new AbortController().signal;
const SCRIPT = '#!/bin/sh\necho "first boot of $(hostname)" > /var/lib/first-boot-ran\n';

let lab: Lab;
let network: LabNetwork;
let key: string;
let publicKey: string;

beforeAll(async () => {
  lab = await makeLab();
  network = await labNetwork(lab, `d${run}`);
  key = join(lab.root, 'key');
  await command('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', key);
  publicKey = await command('cat', `${key}.pub`);
}, 300_000);
afterAll(async () => {
  await lab.destroy();
  await network.destroy();
});

async function baseFrom(kind: 'cloud' | 'bare'): Promise<CapturedBase> {
  const image = await debianImage(lab, kind);
  const guest = await defineGuest(lab, {
    name: named(kind),
    network: network.name,
    memoryMiB: 512,
    os: image.os,
    disks: [{ target: 'vda', path: image.disk, format: 'qcow2' }],
  });
  const driver = lab.driver();
  const ref: GuestRef = { uuid: guest.uuid, name: guest.name };
  const capture = await planOf(driver, { kind: 'capture', guest: ref, label: kind }, kind);
  return baseOf((await finish(driver, capture)).result);
}

const ssh = (address: string, line: string): Promise<string> =>
  command(
    'ssh',
    '-i',
    key,
    '-o',
    'StrictHostKeyChecking=no',
    '-o',
    `UserKnownHostsFile=${lab.root}/known`,
    '-o',
    'ConnectTimeout=10',
    `ada@${address}`,
    line,
  );

interface Made {
  plan: Plan;
  options: IdentityOptions;
  outcome: IdentityOutcome;
  address: string;
}

async function clone(
  base: CapturedBase,
  mode: 'full' | 'linked',
  index: number,
  first: number,
): Promise<Made> {
  const driver = lab.driver();
  const name = named(`${mode}${first}-${index}`);
  const asked = identityOptionsSchema.parse({
    policy: 'strict',
    deadlineSeconds: 170,
    domain: 'lab.example.org',
    users: [{ name: 'ada', sshKeys: [publicKey], administrator: true }],
    timezone: 'Europe/Berlin',
    addressing: { type: 'static', first: `${network.address(first)}/24`, gateway: network.address(1) },
    firstBootScript: SCRIPT,
  });
  const plan = await planOf(
    driver,
    {
      kind: 'clone',
      source: { type: 'base', label: 'debian', base },
      mode,
      name,
      index,
      options: {
        ...options({ start: true }),
        identity: asked,
      },
    },
    name,
  );
  const { result } = await finish(driver, plan);
  if (!result.identity) throw new Error('no identity in the result');
  return { plan, options: asked, outcome: result.identity, address: network.address(first + index) };
}

/** Each is itself, none was heard before its proof, and SSH reads back what was asked for. */
async function proves(base: CapturedBase, first: number, way: IdentityOutcome['way']): Promise<void> {
  const frames = await network.watch();
  const made: Made[] = [];
  for (const mode of ['full', 'linked'] as const)
    for (let index = 0; index < EACH; index++)
      made.push(await clone(base, mode, index, first + (mode === 'full' ? 0 : 20)));
  for (const { outcome } of made)
    expect(outcome).toMatchObject({ way, verdict: 'attested', problems: [], linkUpAt: expect.any(String) });
  const said = made.map(({ outcome }) => outcome.attested);
  for (const field of ['hostname', 'fqdn', 'machineId', 'macs', 'bootId'] as const) distinct(said, field);
  const keys = said.flatMap((one) => one?.sshHostKeys.map(({ fingerprint }) => fingerprint) ?? []);
  expect(keys.length).toBeGreaterThanOrEqual(made.length);
  expect(new Set(keys).size).toBe(keys.length);
  for (const { plan, address, outcome } of made) {
    const { hostname } = outcome.decided;
    await until(async () => (await attempt('ssh', '-V')) !== undefined, 'ssh', 1000);
    await until(
      async () =>
        (await ssh(address, 'test -e /var/lib/first-boot-ran && hostname').catch(() => '')) === hostname,
      `ssh to ${hostname}`,
      90_000,
    );
    expect(await ssh(address, 'cat /var/lib/first-boot-ran')).toBe(`first boot of ${hostname}`);
    expect(await ssh(address, 'sudo -n id -u 2>/dev/null || id -un')).toMatch(/^(0|ada)$/);
    expect(await ssh(address, 'cat /etc/machine-id; hostname -f; date +%Z')).toMatch(
      new RegExp(`^${outcome.decided.machineId}\n${hostname}\\.lab\\.example\\.org\nCES?T$`),
    );
    const offered = await command('ssh-keyscan', '-t', 'ed25519', address);
    expect(offered).toContain('ssh-ed25519');
    expect(plan.guest?.macs).toHaveLength(1);
  }
  const seen = await frames.stop();
  for (const { plan, outcome } of made) {
    const own = seen.filter((frame) => frame.from === plan.guest?.macs[0]);
    expect(own.length).toBeGreaterThan(0);
    expect(Math.min(...own.map((frame) => frame.at))).toBeGreaterThanOrEqual(
      Date.parse(outcome.linkUpAt ?? ''),
    );
  }
  expect(seen.filter((frame) => frame.text.includes('debian-template'))).toEqual([]);

  // Without its drive it is still itself after it was switched off and on.
  const [one] = made;
  if (!one?.plan.guest) throw new Error('nothing was made');
  const { name } = one.plan.guest;
  await virsh('destroy', name);
  await startGuest(name);
  await until(
    async () => (await inGuest(name, '/bin/systemctl', 'is-system-running', '--wait').catch(() => '')) !== '',
    'the end of its boot',
    120_000,
  );
  const again = await lab.driver().attest?.({ uuid: name, name }, never);
  expect(again).toMatchObject({
    hostname: one.outcome.attested?.hostname,
    machineId: one.outcome.attested?.machineId,
    sshHostKeys: one.outcome.attested?.sshHostKeys,
  });
  await resetKeeps(base, made.at(-1) ?? expect.fail('nothing was made'), EACH - 1);
  for (const { plan } of made) {
    const guest = { uuid: plan.guest?.uuid ?? '', name: plan.guest?.name ?? '' };
    const driver = lab.driver();
    await finish(driver, await planOf(driver, { kind: 'delete', guest, owned: ownedBy(plan) }, guest.uuid));
  }
}

/** Its new disk has neither its users nor what its first-boot script did: both are set up once more. */
async function resetKeeps(
  base: CapturedBase,
  { plan, options: asked, outcome: { decided }, address }: Made,
  index: number,
): Promise<void> {
  const driver = lab.driver();
  const keys = await command('ssh-keyscan', '-t', 'ed25519', address);
  const request = { ...resetOf(plan, base), identity: { options: asked, index, decided } };
  await ssh(address, 'echo mine > /home/ada/mine; sync');
  await finish(driver, await planOf(driver, request, `reset ${decided.hostname}`));
  await until(
    async () => (await ssh(address, 'cat /var/lib/first-boot-ran; ls /home/ada').catch(() => '')) !== '',
    `ssh to ${decided.hostname}, which was reset`,
    150_000,
  );
  await until(
    async () => (await ssh(address, 'cat /var/lib/first-boot-ran').catch(() => '')) !== '',
    'its first-boot script',
    90_000,
  );
  expect(
    await ssh(address, 'cat /var/lib/first-boot-ran; ls /home/ada; cat /etc/machine-id; date +%Z'),
  ).toMatch(new RegExp(`^first boot of ${decided.hostname}\n${decided.machineId}\nCES?T$`));
  expect(await command('ssh-keyscan', '-t', 'ed25519', address)).toBe(keys);
}

function distinct(said: (AttestedIdentity | undefined)[], field: keyof AttestedIdentity): void {
  const values = said.map((one) => JSON.stringify(one?.[field]));
  expect(values.filter((value) => value === undefined)).toEqual([]);
  expect(new Set(values).size, field).toBe(values.length);
}

it.runIf(thorough)(`clones of a Debian with cloud-init${LEFT_OUT}`, { timeout: 600_000 * EACH }, async () => {
  const base = await baseFrom('cloud');
  expect(base.inside).toMatchObject({
    kind: 'linux',
    init: 'systemd',
    seedReader: 'cloud-init',
    agent: true,
  });
  await proves(base, 50, 'seed');
});

it.runIf(thorough)(
  `clones of a Debian without cloud-init: its disk is changed before they start${LEFT_OUT}`,
  { timeout: 600_000 * EACH },
  async () => {
    const base = await baseFrom('bare');
    expect(base.inside).toMatchObject({ kind: 'linux', init: 'systemd', agent: true });
    expect(base.inside?.seedReader).toBeUndefined();
    await proves(base, 100, 'offline');
  },
);
