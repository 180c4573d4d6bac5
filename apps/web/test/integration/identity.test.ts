/** Identities at the portal's doors: what is refused, certificates, alarms. */
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { cloneOptionsSchema } from '@offshoot/clone-core/contract';
import type { Certificate, SharedIdentity } from '@offshoot/clone-core/contract/identity';
import { open } from '@offshoot/clone-core/identity/secrets';
import { keepAttestation } from '@offshoot/db/identity';
import { registerHost, syncGuests } from '@offshoot/db/inventory';
import { claim, finish, requestClone, savePlan } from '@offshoot/db/operations';
import { reported, somePlan, someTemplate } from '@offshoot/db/testing/fixtures';
import '@offshoot/db/testing/global-setup';
import { someAttestation, someOutcome } from '@offshoot/db/testing/identity';
import { compare } from 'bcryptjs';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { CertificateView, Verified } from '../../src/server/identity/certificates.ts';
import { runNotary, signPending } from '../../src/server/identity/notary.ts';
import { signingKey } from '../../src/server/identity/key.ts';
import { db, hub } from '../../src/server/services.ts';
import { openDoor, type Door } from '../support/door.ts';

const privateKey = () =>
  generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const sealSecret = 'a-seal-secret-for-tests-only-0123456789';
let door: Door;
let versionId = '';
const notary = new AbortController();
let notaryEnded: Promise<void>;

beforeAll(async () => {
  door = await openDoor(inject('postgresUrl'), {
    // As in an .env file: one line.
    OFFSHOOT_IDENTITY_KEY: Buffer.from(privateKey()).toString('base64'),
    OFFSHOOT_SEAL_SECRET: sealSecret,
  });
  ({ versionId } = await someTemplate(db(), 'sample'));
});
afterAll(async () => {
  notary.abort();
  await notaryEnded;
  await door.close();
});

/** A clone that is finished with an identity of its own; resolves with its guest's id. */
async function cloned(name: string): Promise<string> {
  const batch = await requestClone(db(), {
    userId: null,
    idempotencyKey: randomUUID(),
    request: {
      source: { type: 'template', versionId },
      mode: 'linked',
      names: [name],
      options: cloneOptionsSchema.parse({}),
    },
  });
  const held = await claim(db(), { operationId: batch.operationIds[0] ?? '', workerId: 'w1' });
  if (!held?.guestId) throw new Error('not claimable');
  await savePlan(db(), held, somePlan(name));
  await finish(db(), held, { state: 'finished', result: { identity: someOutcome(name) } });
  return held.guestId;
}

const certificatesOf = async (guestId: string) =>
  (await door.call<CertificateView[]>('certificate.list', { guestId })).data ?? [];
const download = async (id: string) => door.call<Certificate>('certificate.get', { id });
const verify = async (text: string) => (await door.call<Verified>('certificate.verify', { text })).data;

/** Resolves when browsers were told that this guest changed. */
async function told(work: () => Promise<string>): Promise<string> {
  const stop = new AbortController();
  const events = (await hub()).subscribe({}, stop.signal);
  const id = await work();
  let times = 0;
  for await (const { data } of events)
    // Once when the clone is finished, once when its certificate is signed.
    if (data.type === 'inventory' && data.guestIds.includes(id) && ++times === 2) break;
  stop.abort();
  return id;
}

describe('certificates', () => {
  it('what was certified while no web ran is signed at its start, the rest as it comes', async () => {
    const before = await cloned('before');
    const [unsigned] = await certificatesOf(before);
    expect(unsigned).toMatchObject({ guestName: 'before', verdict: 'attested', signedBy: null });
    expect((await download(unsigned?.id ?? '')).error).toMatchObject({
      code: 'busy',
      remedy: 'Try again in a moment.',
    });
    const later = await told(async () => {
      notaryEnded = runNotary(notary.signal);
      return cloned('later');
    });
    for (const id of [before, later])
      expect(await certificatesOf(id)).toMatchObject([{ signedBy: signingKey()?.fingerprint }]);
  });

  it('one that was downloaded verifies; one that was changed, another’s and no certificate at all do not', async () => {
    const [row] = await certificatesOf((await idOf('before')) ?? '');
    const { data: certificate } = await download(row?.id ?? '');
    if (!certificate) throw new Error('no certificate');
    expect(await verify(JSON.stringify(certificate, null, 4))).toMatchObject({
      valid: true,
      by: 'here',
      fingerprint: signingKey()?.fingerprint,
      guestId: await idOf('before'),
      body: {
        guest: { name: 'before' },
        installation: signingKey()?.fingerprint,
        source: { label: 'sample v1' },
      },
    });
    const changed = structuredClone(certificate);
    changed.body.guest.name = 'another';
    expect(await verify(JSON.stringify(changed))).toEqual({
      valid: false,
      why: 'it was changed after it was signed',
    });
    const wild = ['', '{', '7', 'null', '[]', '{}', JSON.stringify({ ...certificate, body: {} })];
    for (const text of wild) expect(await verify(text), text).toMatchObject({ valid: false });
    // What was signed is all of the body: what nobody reads counts too.
    for (const more of ['{"x":1e999}', `${'['.repeat(5000)}${']'.repeat(5000)}`]) {
      const text = JSON.stringify(certificate).replace('"body":{', `"body":{"more":${more},`);
      expect(await verify(text)).toMatchObject({ valid: false });
    }
    expect((await door.call('certificate.verify', { text: 'x'.repeat(200_001) })).status).toBe(400);
  });

  it('a key that only the certificate names is not taken for this installation’s', async () => {
    notary.abort();
    await notaryEnded;
    const id = await cloned('elsewhere');
    const foreign = { privateKey: privateKey(), publicKey: '', fingerprint: 'SHA256:foreign' };
    await signPending(db(), foreign);
    const [row] = await certificatesOf(id);
    const { data } = await download(row?.id ?? '');
    expect(await verify(JSON.stringify(data))).toMatchObject({ valid: true, by: 'another', guestId: null });
  });

  it('the public key is there for everyone signed in', async () => {
    const { data } = await door.call<{ publicKey: string }>('certificate.publicKey');
    expect(data?.publicKey).toContain('BEGIN PUBLIC KEY');
    expect(JSON.stringify(data)).not.toContain('PRIVATE');
  });
});

const idOf = async (name: string) =>
  (await db().prisma.guest.findUnique({ where: { hostId_name: { hostId: 'h1', name } } }))?.id;

describe('secrets at the door', () => {
  it('a password comes out as a hash that the guest can check, a new one each time', async () => {
    const hash = async (password: string) =>
      (await door.call<{ passwordHash: string }>('identity.hashPassword', { password })).data?.passwordHash ??
      '';
    const [one, two] = [await hash('pä$$word "quoted"'), await hash('pä$$word "quoted"')];
    expect(one).toMatch(/^\$2b\$12\$/);
    expect(one).not.toBe(two);
    expect(await compare('pä$$word "quoted"', one)).toBe(true);
    const options = cloneOptionsSchema.parse({ identity: { users: [{ name: 'ann', passwordHash: one }] } });
    expect(options.identity.users[0]?.passwordHash).toBe(one);
  });

  it('a secret for Windows comes out sealed', async () => {
    const { data } = await door.call<{ sealed: string }>('identity.seal', { secret: 'join me' });
    expect(data?.sealed).toMatch(/^sealed:v1:/);
    expect(open(data?.sealed ?? '', sealSecret)).toBe('join me');
  });

  it('of a clone that was asked for with both, no table holds one in clear, in no form', async () => {
    const password = 'kept-nowhere-4711';
    const secret = 'nor-is-this-0815';
    const { passwordHash } = (
      await door.call<{ passwordHash: string }>('identity.hashPassword', { password })
    ).data ?? { passwordHash: '' };
    const { sealed } = (await door.call<{ sealed: string }>('identity.seal', { secret })).data ?? {
      sealed: '',
    };
    const identity = {
      users: [{ name: 'ann', passwordHash }],
      windows: {
        administratorPassword: sealed,
        join: { domain: 'lab.example.org', user: 'joiner', password: sealed },
      },
    };
    const request = { source: { type: 'template', versionId }, mode: 'linked', names: ['secret-1'] };
    const idempotencyKey = randomUUID();
    const options = { identity };
    const answer = await door.call('operation.create.clone', {
      idempotencyKey,
      request: { ...request, options },
    });
    // One in clear is refused, and not stored on the way.
    const clear = {
      identity: { users: [{ name: 'ann', passwordHash: password }], userData: `password: ${secret}` },
    };
    const refused = await door.call('operation.create.clone', {
      idempotencyKey: randomUUID(),
      request: { ...request, names: ['secret-2'], options: clear },
    });
    expect([answer.error, refused.status]).toEqual([undefined, 400]);
    const { rows: tables } = await db().pool.query<{ name: string }>(
      `SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'`,
    );
    const dumps = await Promise.all(
      tables.map(async ({ name }) => (await db().pool.query(`SELECT to_jsonb(t)::text FROM ${name} t`)).rows),
    );
    const stored = JSON.stringify(dumps) + JSON.stringify([answer, refused]);
    expect(stored).toContain(passwordHash);
    expect(stored).toContain(sealed);
    for (const text of [password, secret])
      for (const form of ['utf8', 'base64', 'hex'] as const)
        expect(stored).not.toContain(Buffer.from(text).toString(form).replaceAll('=', ''));
  });

  it('both are closed to strangers', async () => {
    for (const [path, input] of [
      ['identity.hashPassword', { password: 'x' }],
      ['identity.seal', { secret: 'x' }],
      ['identity.alarms', undefined],
      ['template.clean', { id: randomUUID(), clean: [] }],
      ['certificate.verify', { text: '{}' }],
    ] as const)
      expect((await door.stranger(path, input)).status, path).toBe(401);
  });
});

describe('identities that can’t be', () => {
  const ask = async (identity: object, names = ['id-1']) =>
    (
      await door.call('operation.create.clone', {
        idempotencyKey: randomUUID(),
        request: { source: { type: 'template', versionId }, mode: 'linked', names, options: { identity } },
      })
    ).error;
  const fixed = (first: string, more = {}) => ({ addressing: { type: 'static', first, ...more } });

  it.each<[string, object, string, RegExp]>([
    ['a domain with a space', { domain: 'lab example' }, 'domain', /labels of letters/],
    ['a domain that is too long', { domain: `${'a.'.repeat(95)}bc` }, 'domain', /at most 190/],
    ['a user that is none', { users: [{ name: 'Root User' }] }, 'users.0.name', /lower-case/],
    [
      'a private key',
      { users: [{ name: 'a', sshKeys: ['-----BEGIN OPENSSH'] }] },
      'users.0.sshKeys.0',
      /public key/,
    ],
    [
      'a clear password',
      { users: [{ name: 'a', passwordHash: 'geheim' }] },
      'users.0.passwordHash',
      /no password hash/,
    ],
    ['the same user twice', { users: [{ name: 'a' }, { name: 'a' }] }, 'users', /same name/],
    ['a malformed address', fixed('300.1.1.1/24'), 'addressing.first', /192\.168\.122\.50\/24/],
    ['an address without a network', fixed('10.0.0.5'), 'addressing.first', /size of its network/],
    ['the network’s own address', fixed('10.0.0.0/24'), 'addressing.first', /network itself/],
    [
      'a gateway elsewhere',
      fixed('10.0.0.5/24', { gateway: '10.0.1.1' }),
      'addressing.gateway',
      /outside the network/,
    ],
    ['user data that is no YAML', { userData: '#cloud-config\na: [1' }, 'userData', /./],
    [
      'a script of 1 MiB',
      { firstBootScript: `#!/bin/sh\n${'#'.repeat(900_000)}` },
      'firstBootScript',
      /64 KiB/,
    ],
    ['a script without interpreter', { firstBootScript: 'reboot' }, 'firstBootScript', /interpreter/],
    ['a zone that is a path', { timezone: '../../etc/passwd' }, 'timezone', /Europe\/Berlin/],
    ['something to clean that nobody knows', { clean: ['everything'] }, 'clean.0', /logs, shell-history/],
    ['an unknown agent', { agents: ['nobody-knows'] }, 'agents', /nobody-knows/],
    ['a package that is an option', { packages: ['--force'] }, 'packages.0', /package/],
  ])('%s is told at its field', async (_, identity, field, words) => {
    const error = await ask(identity);
    expect(error?.field).toMatch(new RegExp(`options\\.identity\\.${field}$`));
    expect(error?.message).toMatch(words);
  });

  it('the third of three leaves the network: said by name, and nothing is asked for', async () => {
    const before = await db().prisma.operation.count();
    const error = await ask(fixed('10.0.0.253/24'), ['a-1', 'a-2', 'a-3']);
    expect(error).toMatchObject({ field: 'options.identity.addressing.first' });
    expect(error?.message).toMatch(/a-3 .*10\.0\.0\.255/);
    expect(await db().prisma.operation.count()).toBe(before);
  });

  it('two names that make one host name', async () => {
    expect(await ask({}, ['web_1', 'web-1'])).toMatchObject({ field: 'names' });
    // Nor with a guest that is there.
    expect(await ask({}, ['BEFORE'])).toMatchObject({ code: 'name-taken', field: 'names' });
    // On no host: both are named.
    const far = {
      id: 'far',
      name: 'Far host',
      kind: 'simulated',
      simulated: true,
      workerVersion: 'test',
    } as const;
    await registerHost(db(), far);
    await syncGuests(db(), 'far', [reported('Lab.07'), reported('4711')]);
    expect(await ask({}, ['lab_07'])).toMatchObject({
      code: 'name-taken',
      field: 'names',
      message: 'lab_07 would get the host name lab-07, which Lab.07 on Far host has already.',
    });
    expect((await ask({}, ['guest-4711']))?.message).toContain('4711 on Far host');
    expect((await ask({}, ['4711']))?.message).toContain('4711 on Far host');
  });

  it('addresses of guests, of their agents’ words, and promised to clones that are not made yet, are taken', async () => {
    expect(await ask(fixed('10.9.0.10/24'), ['p-1', 'p-2'])).toBeUndefined();
    const error = await ask(fixed('10.9.0.11/24'), ['q-1']);
    expect(error).toMatchObject({ code: 'name-taken', field: 'options.identity.addressing.first' });
    expect(error?.message).toContain('p-2');
    expect((await ask(fixed('192.0.2.7/24'), ['q-2']))?.message).toMatch(/before|later|elsewhere/);
  });

  it('the same click twice is one request, though its addresses are taken by then', async () => {
    const idempotencyKey = randomUUID();
    const options = { identity: fixed('10.8.0.10/24') };
    const request = { source: { type: 'template', versionId }, mode: 'linked', names: ['twice'], options };
    const click = () =>
      door.call<{ operationIds: string[] }>('operation.create.clone', { idempotencyKey, request });
    const [one, two] = [await click(), await click()];
    expect(one.data?.operationIds).toHaveLength(1);
    expect(two.data?.operationIds).toEqual(one.data?.operationIds);
  });
});

it('what a template leaves out of its clones: those that do not say otherwise', async () => {
  const { template } = await db().prisma.templateVersion.findUniqueOrThrow({
    where: { id: versionId },
    include: { template: true },
  });
  const { id } = template;
  expect((await door.call('template.get', { id })).data).toMatchObject({ clean: [] });
  expect((await door.call('template.clean', { id, clean: ['secrets', 'logs', 'logs'] })).data).toEqual({
    clean: ['logs', 'secrets'],
  });
  expect((await door.call('template.get', { id })).data).toMatchObject({ clean: ['logs', 'secrets'] });
  const stored = async (name: string, identity: object) => {
    const { data } = await door.call<{ operationIds: string[] }>('operation.create.clone', {
      idempotencyKey: randomUUID(),
      request: {
        source: { type: 'template', versionId },
        mode: 'linked',
        names: [name],
        options: { identity },
      },
    });
    const row = await db().prisma.operation.findUniqueOrThrow({ where: { id: data?.operationIds[0] ?? '' } });
    return (row.request as { options: { identity: { clean?: string[] } } }).options.identity.clean;
  };
  expect(await stored('clean-1', {})).toEqual(['logs', 'secrets']);
  expect(await stored('clean-2', { clean: [] })).toEqual([]);
  expect(await stored('clean-3', { clean: ['shell-history'] })).toEqual(['shell-history']);
  expect(await door.call('template.clean', { id: randomUUID(), clean: [] })).toMatchObject({
    status: 404,
    error: { code: 'not-found' },
  });
});

it('two guests made beside the portal with one machine id: both are named', async () => {
  await syncGuests(db(), 'h1', [reported('hand-1'), reported('hand-2')]);
  const machineId = 'd'.repeat(32);
  for (const name of ['hand-1', 'hand-2']) {
    const guest = await db().prisma.guest.findUniqueOrThrow({
      where: { hostId_name: { hostId: 'h1', name } },
    });
    await keepAttestation(
      db(),
      { id: guest.id, uuid: guest.uuid ?? '' },
      someAttestation(name, { machineId }),
    );
  }
  const { data } = await door.call<SharedIdentity[]>('identity.alarms');
  const alarm = data?.find((one) => one.value === machineId);
  expect(alarm).toMatchObject({ field: 'machine-id' });
  expect(alarm?.guests.map((guest) => `${guest.hostName}/${guest.name}`)).toEqual([
    'Host 1/hand-1',
    'Host 1/hand-2',
  ]);
  // What an agent says is also what New clone knows of a guest: Windows has fields of its own.
  const windows = async (name: string) =>
    (await door.call<{ windows: boolean }>('guest.get', { id: await idOf(name) })).data?.windows;
  const { id = '', uuid } =
    (await db().prisma.guest.findUnique({ where: { hostId_name: { hostId: 'h1', name: 'hand-2' } } })) ?? {};
  await keepAttestation(db(), { id, uuid: uuid ?? '' }, someAttestation('hand-2', { sid: 'S-1-5-21-1-2-3' }));
  expect([await windows('hand-1'), await windows('hand-2')]).toEqual([false, true]);
});
