/** Clones become themselves before their network is connected: real guests, watched on the host's bridge. */
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CapturedBase, GuestRef, OperationRequest, Plan } from '../../src/driver.ts';
import {
  generateInstallationKey,
  signCertificate,
  verifyCertificate,
} from '../../src/identity/certificate.ts';
import {
  cleanKinds,
  identityOptionsSchema,
  type IdentityOptions,
  type IdentityOutcome,
} from '../../src/identity/contract.ts';
import { cdImage } from '../../src/disks/iso9660.ts';
import { baseOf } from '../conformance/cases/base.ts';
import { MemoryJournal } from '../conformance/journal.ts';
import { until } from '../conformance/until.ts';
import {
  finish,
  options,
  ownedBy,
  perform,
  performUntil,
  planOf,
  resetOf,
  seededIds,
  workerStopped,
} from '../conformance/workbench.ts';
import { labNetwork, type LabNetwork } from './libvirt.network.ts';
import {
  defineGuest,
  exists,
  inGuest,
  makeLab,
  sampleImage,
  startGuest,
  virsh,
  type Lab,
} from './libvirt.lab.ts';

/** Clones of each kind. */
const THOROUGH = process.env['OFFSHOOT_THOROUGH'] === '1';
const EACH = THOROUGH ? 5 : 1;
const KEY =
  'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFfH0pXbQ3Q8zYt1sY7uVh0Q4nZ6G5i3o5mM0r8o0p1a ada@example.org';
/** Of the source: what clones can leave out. */
const PAST = '/root/.ash_history /root/.ssh/authorized_keys /root/.ssh/id_ed25519 /var/log/past/day.log';

let lab: Lab;
let network: LabNetwork;
let source: GuestRef;
let sourceMac: string;
let base: CapturedBase;
const run = process.pid.toString(36);
const named = (name: string): string => `i${run}-${name}`;
const shell = (name: string, line: string): Promise<string> => inGuest(name, '/bin/sh', '-c', line);
const identity = (part: Partial<IdentityOptions> = {}): IdentityOptions => ({
  ...identityOptionsSchema.parse({}),
  deadlineSeconds: 150,
  ...part,
});

const request = (
  from: CapturedBase | GuestRef,
  mode: 'full' | 'linked' | 'memory',
  name: string,
  part: { start?: boolean; identity?: Partial<IdentityOptions> } = {},
): OperationRequest => ({
  kind: 'clone',
  source: 'digest' in from ? { type: 'base', label: 'a base', base: from } : { type: 'guest', guest: from },
  mode,
  name: named(name),
  options: { ...options({ start: part.start ?? true }), identity: identity(part.identity) },
  index: 0,
});

const guestOf = (plan: Plan): GuestRef => ({ uuid: plan.guest?.uuid ?? '', name: plan.guest?.name ?? '' });
const inactive = (name: string): Promise<string> => virsh('dumpxml', '--inactive', name);

async function make(
  asked: OperationRequest,
  seed: string,
): Promise<{ plan: Plan; identity: IdentityOutcome }> {
  const driver = lab.driver();
  // Suites that run side by side make other UUIDs.
  const plan = await planOf(driver, asked, named(seed));
  const { result } = await finish(driver, plan);
  if (!result.identity) throw new Error('the result says nothing of its identity');
  return { plan, identity: result.identity };
}
/** Starts it through the driver, as the portal does. */
async function start(guest: GuestRef): Promise<IdentityOutcome | undefined> {
  const driver = lab.driver();
  const asked = { kind: 'start', guest, waitForAgent: false, agentTimeoutSeconds: 60 } as const;
  const plan = await planOf(driver, asked, guest.uuid);
  return (await finish(driver, plan)).result.identity;
}
async function remove(plan: Plan): Promise<void> {
  const driver = lab.driver();
  const guest = guestOf(plan);
  await finish(driver, await planOf(driver, { kind: 'delete', guest, owned: ownedBy(plan) }, guest.uuid));
}

const installation = generateInstallationKey();
/** What its certificate is worth to someone who knows the installation's public key. */
function certified(plan: Plan, outcome: IdentityOutcome): ReturnType<typeof verifyCertificate> {
  const { uuid, name } = guestOf(plan);
  const certificate = signCertificate(
    {
      version: 1,
      id: uuid,
      issuedAt: new Date().toISOString(),
      installation: 'test',
      guest: { id: uuid, name, uuid, hostId: 'test' },
      source: { type: 'guest', label: source.name, uuid: source.uuid },
      mode: 'test',
      operationId: uuid,
      identity: outcome,
    },
    installation.privateKey,
  );
  const stored = JSON.parse(JSON.stringify(certificate)) as typeof certificate;
  return verifyCertificate(stored, installation.publicKey);
}

beforeAll(async () => {
  lab = await makeLab();
  network = await labNetwork(lab, run);
  const disk = join(lab.root, 'source.qcow2');
  await copyFile(await sampleImage(), disk);
  const guest = await defineGuest(lab, {
    name: named('source'),
    network: network.name,
    disks: [{ target: 'vda', path: disk, format: 'qcow2' }],
  });
  source = { uuid: guest.uuid, name: guest.name };
  await startGuest(source.name);
  sourceMac = guest.macs[0] ?? '';
}, 120_000);
afterAll(async () => {
  await lab.destroy();
  await network.destroy();
});

it(
  'clones of a running guest are themselves before their network is connected',
  { timeout: 180_000 * EACH },
  async () => {
    const driver = lab.driver();
    await shell(
      source.name,
      `mkdir -p /root/.ssh /var/log/past; for file in ${PAST}; do echo past > $file; done; sync`,
    );
    const capture = await finish(
      driver,
      await planOf(driver, { kind: 'capture', guest: source, label: 'point', memory: true }, 'point'),
    );
    base = baseOf(capture.result);
    expect(base.inside).toMatchObject({ kind: 'linux', seedReader: 'nocloud-subset', agent: true });
    // From now on a frame with the source's address is one of a clone that still takes itself for it.
    await virsh('domif-setlink', source.name, sourceMac, 'down');
    const frames = await network.watch();
    const made: { plan: Plan; identity: IdentityOutcome }[] = [];
    // Of full clones the disk is changed, of those with memory the running guest; linked ones keep what is left out of these.
    const leavingOut: Partial<IdentityOptions> = {
      clean: [...cleanKinds],
      users: [{ name: 'root', sshKeys: [KEY], administrator: false }],
    };
    for (const mode of ['full', 'linked', 'memory'] as const)
      for (let index = 0; index < EACH; index++)
        made.push(
          await make(
            request(mode === 'full' ? source : base, mode, `${mode}-${index}`, {
              identity: { policy: 'strict', ...(mode === 'linked' ? {} : leavingOut) },
            }),
            `${mode}-${index}`,
          ),
        );
    const ways = made.map(({ identity: { way } }) => way);
    expect(ways).toEqual((['offline', 'seed', 'agent'] as const).flatMap((way) => Array(EACH).fill(way)));
    for (const { identity: outcome } of made)
      expect(outcome).toMatchObject({
        verdict: 'attested',
        policy: 'strict',
        problems: [],
        linkUpAt: expect.any(String),
      });
    const attested = await driver.attest?.(source, new AbortController().signal);
    const everyone = [...made.map((one) => one.identity.attested), attested];
    for (const field of ['hostname', 'machineId', 'macs', 'sshHostKeys'] as const) {
      const values = everyone.map((one) => JSON.stringify(one?.[field]));
      expect(values).not.toContain(undefined);
      expect(new Set(values).size, field).toBe(values.length);
    }
    for (const { plan, identity: outcome } of made) {
      const { name } = guestOf(plan);
      const left = `for file in ${PAST}; do [ ! -e $file ] || cat $file; done`;
      expect(await shell(name, left), name).toBe(
        // The sample guest's reader of seeds replaces the keys.
        outcome.way === 'seed' ? 'past\n'.repeat(3) : `${KEY}\n`,
      );
      expect(certified(plan, outcome), name).toEqual({ valid: true });
    }
    expect(await shell(source.name, `cat ${PAST}`), 'the source keeps its own').toBe('past\n'.repeat(4));
    for (const { plan } of made)
      await until(async () => network.hasLease(plan.guest?.macs[0] ?? ''), 'its address', 30_000);
    const seen = await frames.stop();
    for (const { plan, identity: outcome } of made) {
      const own = seen.filter((frame) => frame.from === plan.guest?.macs[0]);
      expect(own.length, 'frames of its own').toBeGreaterThan(0);
      // QEMU itself announces the MAC of a card whose memory it has read, with the clone's own and nothing of its guest in it.
      const announced = (text: string): boolean => outcome.way === 'agent' && text.includes('Reverse ARP');
      const early = own.filter(
        (frame) => frame.at < Date.parse(outcome.linkUpAt ?? '') && !announced(frame.text),
      );
      expect(
        early.map((frame) => frame.text),
        `${guestOf(plan).name} before ${outcome.linkUpAt ?? ''}`,
      ).toEqual([]);
      expect(Date.parse(outcome.attested?.at ?? '')).toBeLessThanOrEqual(Date.parse(outcome.linkUpAt ?? ''));
      // Its definition is as its source's again.
      const xml = await inactive(guestOf(plan).name);
      expect(xml).not.toMatch(/offshoot:identity|first-settings|<link |virtio-scsi/);
      expect(await exists(ownedBy(plan).find((path) => path.endsWith('.iso')) ?? '/nowhere')).toBe(false);
    }
    expect(seen.filter((frame) => frame.from === network.macOf(attested))).toEqual([]);
    expect(seen.filter((frame) => frame.text.includes('"sample"'))).toEqual([]);
    for (const { plan } of made) await remove(plan);
  },
);

it('reset where no disk is edited: cut from the network until its agent has made it itself again', async () => {
  const { seedReader: _reader, ...inside } = base.inside ?? expect.fail('nobody looked into the base');
  const on: CapturedBase = { ...base, inside: { ...inside, notEditable: 'its disk is left alone here' } };
  const { plan, identity: made } = await make(request(on, 'linked', 'again'), 'again');
  expect(made).toMatchObject({ way: 'agent', policy: 'strict', verdict: 'attested' });
  const guest = guestOf(plan);
  const before = await inactive(guest.name);
  const asked: OperationRequest = {
    ...resetOf(plan, on),
    identity: { options: identity(), index: 0, decided: made.decided },
  };
  const driver = lab.driver();
  const reset = await planOf(driver, asked, named('reset'));
  // What is seen from now on is not of its life before.
  await virsh('domif-setlink', guest.name, plan.guest?.macs[0] ?? '', 'down');
  const frames = await network.watch();
  const { identity: outcome } = (await finish(driver, reset)).result;
  expect(outcome).toMatchObject({
    way: 'agent',
    verdict: 'attested',
    attested: { hostname: guest.name, machineId: made.decided.machineId, macs: made.decided.macs },
  });
  expect(outcome?.attested?.bootId).not.toBe(made.attested?.bootId);
  await until(async () => network.hasLease(plan.guest?.macs[0] ?? ''), 'its address', 30_000);
  const own = (await frames.stop()).filter((frame) => frame.from === plan.guest?.macs[0]);
  expect(own.length).toBeGreaterThan(0);
  expect(Math.min(...own.map((frame) => frame.at))).toBeGreaterThanOrEqual(
    Date.parse(outcome?.linkUpAt ?? ''),
  );
  expect(await inactive(guest.name)).toBe(before);

  // Cut once it is held back, and undone: as it was, with its network.
  await virsh('destroy', guest.name);
  const cut = await planOf(driver, asked, named('cut'));
  const at = cut.steps.findIndex(({ kind }) => kind === 'redefine');
  const journal = new MemoryJournal();
  await performUntil(driver, cut, { step: at, moment: 'after' }, workerStopped(), journal);
  expect(await inactive(guest.name)).toContain("<link state='down'/>");
  const undoing = { nextStep: at, undoing: { cancelled: true } };
  expect(await perform(driver, cut, journal, undefined, undoing)).toMatchObject({ undo: { leftBehind: [] } });
  expect(await inactive(guest.name)).toBe(before);
  await remove(plan);
});

it('a clone that is started later is cut until then, whoever starts it', async () => {
  const { plan, identity: made } = await make(request(base, 'linked', 'later', { start: false }), 'later');
  const guest = guestOf(plan);
  expect(made).toMatchObject({ way: 'seed', policy: 'strict', verdict: 'unasked' });
  expect(await inactive(guest.name)).toContain("<link state='down'/>");
  const frames = await network.watch();
  await startGuest(guest.name); // by virsh, not by us
  expect(await shell(guest.name, 'cat /sys/class/net/eth0/carrier')).toBe('0\n');
  const began = Date.now();
  const outcome = await start(guest);
  expect(outcome).toMatchObject({ verdict: 'attested', attested: { hostname: guest.name } });
  await until(async () => network.hasLease(plan.guest?.macs[0] ?? ''), 'its address', 30_000);
  const seen = (await frames.stop()).filter((frame) => frame.from === plan.guest?.macs[0]);
  expect(Math.min(...seen.map((frame) => frame.at))).toBeGreaterThan(began);
  expect(await inactive(guest.name)).not.toMatch(/offshoot:identity|first-settings|<link /);

  // It stays itself without its drive.
  const before = await shell(guest.name, 'hostname; cat /etc/machine-id');
  await virsh('destroy', guest.name);
  expect(await start(guest), 'nothing to attest any more').toBeUndefined();
  await until(async () => network.hasLease(plan.guest?.macs[0] ?? ''), 'its address again', 30_000);
  await startedAgain(guest.name);
  expect(await shell(guest.name, 'hostname; cat /etc/machine-id')).toBe(before);
  await remove(plan);
});

const startedAgain = (name: string): Promise<void> =>
  until(
    async () =>
      (await lab.driver().attest?.({ uuid: name, name }, new AbortController().signal)) !== undefined,
    `the agent of ${name}`,
    60_000,
  );

it('no proof by the deadline: strict keeps it, cut; a later start attests it', async () => {
  const frames = await network.watch();
  const asked = request(base, 'linked', 'slow', { identity: { deadlineSeconds: 1 } });
  const { plan, identity: first } = await make(asked, 'slow');
  const guest = guestOf(plan);
  expect(first).toMatchObject({ verdict: 'silent', problems: [expect.any(String)] });
  expect(first.linkUpAt).toBeUndefined();
  expect(await virsh('domstate', guest.name), 'kept for people to look at').toBe('running');
  await startedAgain(guest.name);
  expect(await virsh('domif-getlink', guest.name, plan.guest?.macs[0] ?? '')).toContain('down');
  expect((await frames.stop()).filter((frame) => frame.from === plan.guest?.macs[0])).toEqual([]);
  // A second was enough to be late; on a busy machine it may be too short for an agent that answers, too.
  const noted = (await inactive(guest.name)).replace(
    /(deadlineSeconds\W+)1\b/,
    (_, before: string) => `${before}60`,
  );
  const file = join(lab.root, 'patient.xml');
  await writeFile(file, noted);
  await virsh('define', file);
  const second = await start(guest);
  expect(second).toMatchObject({ verdict: 'attested', linkUpAt: expect.any(String) });
  await remove(plan);
});

it('no agent at all: warn connects it at the deadline and says so', async () => {
  const mute = {
    ...base,
    definition: base.definition.replace(/<channel type='unix'>[\s\S]*?<\/channel>/, ''),
  };
  const asked = request(mute, 'linked', 'mute', { identity: { policy: 'warn', deadlineSeconds: 3 } });
  const { plan, identity: outcome } = await make(asked, 'mute');
  expect(outcome).toMatchObject({ verdict: 'silent', policy: 'warn', linkUpAt: expect.any(String) });
  expect(await virsh('domif-getlink', guestOf(plan).name, plan.guest?.macs[0] ?? '')).toContain('up');
  await remove(plan);
});

it('a guest that says it is someone else stays cut', async () => {
  const { plan } = await make(
    request(base, 'linked', 'liar', { start: false, identity: { deadlineSeconds: 20 } }),
    'liar',
  );
  const drive = ownedBy(plan).find((path) => path.endsWith('.iso')) ?? '';
  const meta = 'instance-id: other\nlocal-hostname: sample\n';
  await writeFile(
    drive,
    cdImage(
      'cidata',
      [
        { name: 'meta-data', content: meta },
        { name: 'user-data', content: '' },
      ],
      new Date(),
    ),
  );
  const outcome = await start(guestOf(plan));
  expect(outcome).toMatchObject({ verdict: 'mismatch', attested: { hostname: 'sample' } });
  expect(outcome?.problems.join(' ')).toContain('Its host name is sample');
  expect(await virsh('domif-getlink', guestOf(plan).name, plan.guest?.macs[0] ?? '')).toContain('down');
  await remove(plan);
});

it('after a refresh it is itself still, with the SSH host keys that clients know', async () => {
  await virsh('domif-setlink', source.name, sourceMac, 'down');
  const driver = lab.driver();
  const options: Partial<IdentityOptions> = {
    clean: ['shell-history'],
    users: [{ name: 'root', sshKeys: [KEY], administrator: false }],
  };
  const asked = request(source, 'full', 'fresh', { identity: options });
  if (asked.kind !== 'clone') throw new Error('no clone');
  const refreshable = { ...asked, options: { ...asked.options, refreshable: true } };
  const { plan, identity: made } = await make(refreshable, 'fresh');
  const guest = guestOf(plan);
  expect(made).toMatchObject({ verdict: 'attested', attested: { hostname: guest.name } });
  expect(made.attested?.sshHostKeys).toHaveLength(1);
  expect(await shell(guest.name, 'cat /root/.ash_history')).toBe('');
  await shell(guest.name, 'sync');
  await virsh('destroy', guest.name);

  await shell(source.name, 'echo new > /root/from-source; sync');
  const refresh = await planOf(
    driver,
    {
      kind: 'refresh',
      guest,
      source,
      owned: ownedBy(plan),
      clean: ['shell-history'],
      ...(plan.generations ? { generations: plan.generations } : {}),
      options: { ownChanges: 'discard', keepPrevious: 1 },
      identity: { options: identity(options), index: 0, decided: made.decided },
    },
    'refresh',
  );
  const noted = refresh.notes.map(({ text }) => text).join(' ');
  expect(noted).toContain('it keeps its own identity');
  expect(noted).toContain('Left out again, as when it was made: its source’s shell histories.');
  expect(noted).toContain('Set up again at its next start, as when it was cloned: users.');
  await finish(driver, refresh);
  await startGuest(guest.name);
  expect(await shell(guest.name, 'cat /root/from-source /root/.ash_history')).toBe('new\n');
  const key = 'cat /var/lib/offshoot/first-boot.done && grep -cF "ssh-" /root/.ssh/authorized_keys';
  await until(async () => (await shell(guest.name, key).catch(() => '')) !== '', 'its first start', 30_000);
  expect(await shell(guest.name, 'cat /root/.ssh/authorized_keys')).toContain(KEY);
  const now = await driver.attest?.(guest, new AbortController().signal);
  const { hostname, machineId, macs, sshHostKeys } = made.attested ?? {};
  expect(now).toMatchObject({ hostname, machineId, macs, sshHostKeys });
  let last = refresh;
  if (THOROUGH) {
    // Where no disk is edited: the drive again, read at its next start while its network is cut.
    await virsh('destroy', guest.name);
    const again: OperationRequest = {
      kind: 'refresh',
      guest,
      source,
      owned: [...ownedBy(plan), ...ownedBy(refresh)],
      ...(refresh.generations ? { generations: refresh.generations } : {}),
      options: { ownChanges: 'discard', keepPrevious: 1 },
      identity: { options: identity(), index: 0, decided: made.decided },
    };
    const facts = await driver.inspect(again, new AbortController().signal);
    const { clone, source: from } = facts;
    if (!clone?.inside || !from) throw new Error('nobody looked into the clone');
    const inside = { ...clone.inside.inside, notEditable: 'its disk is left alone here' };
    const odd = { inside: { inside, source: {} } };
    const seen = { ...facts, clone: { ...clone, ...odd }, source: { ...from, ...odd } };
    last = driver.plan(again, seen, seededIds(named('again')));
    expect((await finish(driver, last)).result.identity).toMatchObject({ way: 'seed', verdict: 'unasked' });
    expect(await inactive(guest.name)).toMatch(/first-settings[^]*<link state='down'/);
    const outcome = await start(guest);
    expect(outcome).toMatchObject({ verdict: 'attested', attested: { hostname, machineId, macs } });
    expect(outcome?.attested?.sshHostKeys).not.toEqual(sshHostKeys);
    expect(await inactive(guest.name)).not.toMatch(/offshoot:identity|first-settings|<link /);
  }
  const gone: OperationRequest = {
    kind: 'delete',
    guest,
    owned: [...new Set([refresh, last, plan].flatMap(ownedBy))],
    source,
    ...(last.generations ? { generations: last.generations } : {}),
  };
  await finish(driver, await planOf(driver, gone, guest.uuid));
});
