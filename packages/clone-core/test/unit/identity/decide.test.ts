import { describe, expect, it } from 'vitest';
import {
  decideIdentity,
  hostnameOf,
  computerNameOf,
  validateIdentity,
} from '../../../src/identity/decide.ts';
import { hostnameSchema, windowsSchema } from '../../../src/identity/contract.ts';
import { MAX_NAME_LENGTH } from '../../../src/names.ts';
import { seededIds } from '../../conformance/workbench.ts';
import { optionsOf, refusal } from './facts.ts';

const FIELD = 'options.identity';

describe('host names from guest names', () => {
  it.each([
    ['web-07', 'web-07'],
    ['Web_07', 'web-07'],
    ['web.lab.example', 'web-lab-example'],
    ['a__b..c', 'a-b-c'],
    ['x_', 'x'],
    ['x-._', 'x'],
    ['7', 'guest-7'],
    ['2024.01', '2024-01'],
    ['localhost', 'guest-localhost'],
    ['A'.repeat(63), 'a'.repeat(63)],
    [`${'a'.repeat(62)}_`, 'a'.repeat(62)],
    ['9'.repeat(63), `guest-${'9'.repeat(63)}`.slice(0, 63)],
  ])('%s becomes %s', (name, hostname) => {
    expect(hostnameOf(name)).toBe(hostname);
  });

  it.each([
    ['web-07', 'web-07'],
    ['windows-classroom-07', 'windows-clas-07'],
    ['windows-classroom-seat', 'windows-classro'],
    ['abcdefghijklmn-opq', 'abcdefghijklmn'],
    ['classroom2024000000017', 'classro00000017'],
    ['1234567890123456789', 'guest-123456789'],
    ['123456-78901234567', 'w12345601234567'],
  ])('computer name: %s becomes %s', (name, made) => {
    expect(computerNameOf(name)).toBe(made);
  });

  it('are valid, whatever the name', () => {
    const alphabet = 'aZ09._-';
    let seed = 7;
    const next = (n: number): number => (seed = (seed * 48_271) % 2_147_483_647) % n;
    for (let i = 0; i < 2000; i++) {
      const name =
        `a9Z`.charAt(next(3)) +
        Array.from({ length: next(MAX_NAME_LENGTH) }, () => alphabet.charAt(next(7))).join('');
      expect(hostnameSchema.safeParse(hostnameOf(name)).success, name).toBe(true);
      expect(windowsSchema.safeParse({ computerName: computerNameOf(name) }).success, name).toBe(true);
    }
  });
});

describe('decideIdentity', () => {
  const question = (input: Record<string, unknown>, index = 0) => ({
    name: 'Web_07',
    index,
    options: optionsOf(input),
    macs: ['52:54:00:AA:BB:CC'],
    ids: seededIds('identity'),
  });

  it('is pure, and has all fields', () => {
    const made = decideIdentity(question({ domain: 'Lab.Example.org' }));
    expect(made).toEqual(decideIdentity(question({ domain: 'Lab.Example.org' })));
    expect(made).toEqual({
      hostname: 'web-07',
      fqdn: 'web-07.lab.example.org',
      machineId: expect.stringMatching(/^[0-9a-f]{32}$/),
      instanceId: expect.stringMatching(/^offshoot-[0-9a-f-]{36}$/),
      macs: ['52:54:00:aa:bb:cc'],
    });
    expect(made.instanceId.replaceAll('-', '')).not.toContain(made.machineId);
  });

  it('gives Windows a computer name', () => {
    expect(decideIdentity(question({ windows: {} })).computerName).toBe('web-07');
    expect(decideIdentity(question({ windows: { computerName: 'DC1' } })).computerName).toBe('DC1');
    expect(decideIdentity({ ...question({}), windows: true }).computerName).toBe('web-07');
  });

  it.each([
    ['192.168.122.50/24', 0, '192.168.122.50/24'],
    ['192.168.122.50/24', 9, '192.168.122.59/24'],
    ['10.0.0.254/23', 2, '10.0.1.0/23'],
    ['10.0.0.0/31', 1, '10.0.0.1/31'],
    ['10.9.9.9/32', 0, '10.9.9.9/32'],
    ['2001:db8::9/64', 7, '2001:db8::10/64'],
    ['2001:DB8:0:0:0:0:0:FFFF/64', 1, '2001:db8::1:0/64'],
  ])('from %s the guest %i gets %s', (first, index, address) => {
    expect(decideIdentity(question({ addressing: { type: 'static', first } }, index)).address).toBe(address);
  });

  it.each([
    ['192.168.122.250/24', undefined, 5, 'broadcast'],
    ['192.168.122.250/24', undefined, 6, 'outside'],
    ['192.168.122.0/24', undefined, 0, 'address of the network itself'],
    ['192.168.122.1/24', '192.168.122.3', 2, 'gateway’s'],
    ['255.255.255.255/32', undefined, 1, 'no such address'],
    ['10.0.0.1/32', undefined, 1, 'outside'],
    ['127.0.0.5/8', undefined, 0, 'loopback'],
    ['224.0.0.5/4', undefined, 0, 'multicast'],
    ['2001:db8::/64', undefined, 0, 'routers'],
    ['::1/64', undefined, 0, 'no address of a machine'],
    ['ff02::5/64', undefined, 0, 'multicast'],
  ])('from %s (gateway %s) the guest %i is refused: %s', (first, gateway, index, why) => {
    const addressing = { type: 'static', first, ...(gateway === undefined ? {} : { gateway }) };
    const error = refusal(() => decideIdentity(question({ addressing }, index)));
    expect(error).toMatchObject({ code: 'invalid-input', field: `${FIELD}.addressing.first` });
    expect(error.publicMessage).toContain(why);
    expect(error.remedy).toBeTruthy();
  });
});

describe('validateIdentity', () => {
  const many = Array.from({ length: 30 }, (_, i) => `seat-${i + 1}`);

  it.each<[string, Record<string, unknown>, string[], string, RegExp]>([
    [
      'two names, one host name',
      {},
      ['a.b', 'a_b'],
      'names',
      /a\.b and a_b would both get the host name a-b/,
    ],
    ['two names, one host name, by capitals', {}, ['Web', 'web'], 'names', /host name web/],
    [
      'two names, one computer name',
      { windows: {} },
      ['windows-classroom-east', 'windows-classroom-west'],
      'names',
      /computer name/,
    ],
    [
      'one computer name for two',
      { windows: { computerName: 'DC1' } },
      ['a', 'b'],
      `${FIELD}.windows.computerName`,
      /DC1/,
    ],
    [
      'a full name that is too long',
      { domain: `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(62)}` },
      ['x'.repeat(63)],
      `${FIELD}.domain`,
      /253/,
    ],
    [
      'more guests than addresses',
      { addressing: { type: 'static', first: '10.0.0.240/24' } },
      many,
      `${FIELD}.addressing.first`,
      /seat-16 would get 10\.0\.0\.255/,
    ],
    [
      'a gateway outside',
      { addressing: { type: 'static', first: '10.0.0.2/24', gateway: '10.0.1.1' } },
      ['a'],
      `${FIELD}.addressing.gateway`,
      /outside/,
    ],
    [
      'a gateway of the other kind',
      { addressing: { type: 'static', first: '10.0.0.2/24', gateway: 'fe80::1' } },
      ['a'],
      `${FIELD}.addressing.gateway`,
      /another kind/,
    ],
    [
      'the network as gateway',
      { addressing: { type: 'static', first: '10.0.0.2/24', gateway: '10.0.0.0' } },
      ['a'],
      `${FIELD}.addressing.gateway`,
      /network itself/,
    ],
    [
      'a multicast name server',
      { addressing: { type: 'static', first: '10.0.0.2/24', nameservers: ['10.0.0.1', '224.0.0.1'] } },
      ['a'],
      `${FIELD}.addressing.nameservers.1`,
      /multicast/,
    ],
    [
      'a zero byte in a script',
      { firstBootScript: '#!/bin/sh\n\0' },
      ['a'],
      `${FIELD}.firstBootScript`,
      /zero byte/,
    ],
    ['an unknown agent', { agents: ['tailscale', 'nobody'] }, ['a'], `${FIELD}.agents`, /nobody/],
  ])('refuses %s', (_what, options, names, field, message) => {
    const error = refusal(() => validateIdentity(optionsOf(options), names));
    expect(error).toMatchObject({ code: 'invalid-input', field });
    expect(error.publicMessage).toMatch(message);
    expect(error.remedy).toBeTruthy();
  });

  it('refuses what another guest has', () => {
    const taken = { hostnames: new Map([['web-1', 'old']]), addresses: new Map([['10.0.0.6', 'db-1']]) };
    expect(refusal(() => validateIdentity(optionsOf(), ['Web_1'], taken))).toMatchObject({
      code: 'name-taken',
      field: 'names',
    });
    const addressing = { type: 'static', first: '10.0.0.5/24' };
    expect(refusal(() => validateIdentity(optionsOf({ addressing }), ['a', 'b'], taken))).toMatchObject({
      code: 'name-taken',
      field: `${FIELD}.addressing.first`,
      publicMessage: 'b would get the address 10.0.0.6, which db-1 has.',
    });
  });

  it('takes what fits', () => {
    validateIdentity(optionsOf(), many);
    validateIdentity(
      optionsOf({
        addressing: {
          type: 'static',
          first: '10.0.0.5/24',
          gateway: '10.0.0.1',
          nameservers: ['127.0.0.53'],
        },
      }),
      many,
    );
    const routed = { type: 'static', first: '2001:db8::5/64', gateway: 'fe80::1' };
    validateIdentity(optionsOf({ addressing: routed }), ['a']);
    validateIdentity(optionsOf({ userData: '#cloud-config\nntp:\n  enabled: true\n' }), ['a']);
  });
});

describe('user data', () => {
  const check = (userData: string): void => validateIdentity(optionsOf({ userData }), ['a']);

  it.each([
    ['no YAML', 'a: [1, 2\nsecretword: x', /line 2/],
    ['a tab', 'a:\n\t- b', /line 2/],
    ['the same key twice', 'a: 1\na: 2\n', /no YAML/],
    ['an unknown tag', 'a: !!python/object:os.system x\n', /no YAML/],
    ['a list', '- a\n- b\n', /it is a list/],
    ['a word', 'hello', /single value/],
    ['a script', '#!/bin/sh\necho secretword\n', /a script/],
    ['MIME', 'Content-Type: multipart/mixed; boundary="x"\n', /MIME/],
    ['an include', '#include\nhttps://example.org/x\n', /#include/],
    ['a template', '## template: jinja\n#cloud-config\n{}', /template/],
    [
      'a bomb of aliases',
      `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [${'*a,'.repeat(9)}*a]\nc: &c [${'*b,'.repeat(9)}*b]\nd: [${'*c,'.repeat(9)}*c]\n`,
      /aliases/,
    ],
    ['a password', 'password: secretword\n', /password in clear/],
    ['a list that holds itself', 'runcmd: &secretword [*secretword]\n', /aliases/],
    ['a password of the default user', 'user: {plain-text-passwd: secretword}\n', /password in clear/],
    ['a password of a user', 'users:\n  - name: x\n    plain_text_passwd: secretword\n', /password in clear/],
    ['chpasswd', 'chpasswd:\n  list: |\n    root:secretword\n', /passwords/],
    [
      'chpasswd of users',
      'chpasswd:\n  users:\n    - {name: root, password: secretword}\n',
      /password in clear/,
    ],
    ['host keys', 'ssh_keys:\n  ed25519_private: secretword\n', /host keys/],
    [
      'a private key in a file',
      'write_files:\n  - content: |\n      -----BEGIN OPENSSH PRIVATE KEY-----\n      secretword\n',
      /private key/,
    ],
  ])('refuses %s, without repeating it', (_what, userData, message) => {
    const error = refusal(() => check(userData));
    expect(error).toMatchObject({ code: 'invalid-input', field: `${FIELD}.userData` });
    expect(error.publicMessage).toMatch(message);
    expect(error.remedy).toBeTruthy();
    expect(JSON.stringify([error.publicMessage, error.remedy, error.context])).not.toContain('secretword');
  });

  it.each([
    ['empty', ''],
    ['only comments', '#cloud-config\n# nothing\n'],
    ['hashes', 'chpasswd:\n  users:\n    - {name: root, password: $6$x$y, type: hash}\n'],
  ])('takes %s', (_what, userData) => check(userData));
});
