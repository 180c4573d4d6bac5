import { describe, expect, it } from 'vitest';
import {
  addressesOf,
  bytesOf,
  emptyIdentity,
  emptyUser,
  identityAtFault,
  identityInShort,
  readIdentity,
  type IdentityForm,
} from '../../src/components/clone/identity/form.ts';

const form = (part: Partial<IdentityForm> = {}): IdentityForm => ({ ...emptyIdentity, ...part });
const read = (part: Partial<IdentityForm> = {}, windows = false) => readIdentity(form(part), windows);
const ann = { ...emptyUser('k'), name: 'ann' };
const fixed = { addressing: 'static' as const, first: '192.168.122.50/24' };

describe('the identity part of the form', () => {
  it('untouched, asks for what the contract gives by itself', () => {
    expect(read()).toEqual({
      problems: {},
      options: { deadlineSeconds: 300, users: [], packages: [], agents: 'found' },
    });
  });

  it('what is left out: as its template says until someone says otherwise, never of a Windows', () => {
    expect(read().options).not.toHaveProperty('clean');
    expect(read({ clean: [] }).options?.clean).toEqual([]);
    expect(read({ clean: ['secrets', 'logs'] }).options?.clean).toEqual(['logs', 'secrets']);
    expect(read({ clean: ['logs'] }, true).options).not.toHaveProperty('clean');
    const short = (part: Partial<IdentityForm>) =>
      identityInShort(read(part), form(part), false, ['logs', 'shell-history']);
    expect(short({})).toContain('without logs and shell histories');
  });

  it('reads what is typed: lists with commas or lines, lines as on Windows, nothing of what is empty', () => {
    const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA ann@laptop';
    const { options, problems } = read({
      ...fixed,
      gateway: ' ',
      nameservers: '192.168.122.1, 9.9.9.9',
      users: [{ ...ann, sshKeys: `\n${key}\n\n` }],
      packages: 'nginx htop,curl',
      script: '#!/bin/sh\r\necho hi\r\n',
      agents: ['tailscale'],
    });
    expect(problems).toEqual({});
    expect(options).toMatchObject({
      addressing: { type: 'static', first: '192.168.122.50/24', nameservers: ['192.168.122.1', '9.9.9.9'] },
      users: [{ name: 'ann', sshKeys: [key], administrator: true }],
      packages: ['nginx', 'htop', 'curl'],
      firstBootScript: '#!/bin/sh\necho hi\n',
      agents: ['tailscale'],
    });
    expect(options?.addressing).not.toHaveProperty('gateway');
    expect(options?.users[0]).not.toHaveProperty('passwordHash');
  });

  it.each<[string, Partial<IdentityForm>, string, RegExp]>([
    ['no address', { ...fixed, first: 'here' }, 'addressing.first', /192\.168\.122\.50\/24/],
    [
      'a bad key in line 2',
      { users: [{ ...ann, sshKeys: 'ssh-ed25519 AAAA\nnope' }] },
      'users.0.sshKeys.1',
      /public key/,
    ],
    ['a user without a name', { users: [emptyUser('k')] }, 'users.0.name', /lower-case/],
    ['two users of one name', { users: [ann, { ...ann, key: 'l' }] }, 'users', /same name/],
    ['no deadline', { deadlineSeconds: '' }, 'deadlineSeconds', /hour/],
    ['a script without interpreter', { script: 'reboot' }, 'firstBootScript', /interpreter/],
    ['too much user data', { userData: 'x'.repeat(65_537) }, 'userData', /64 KiB/],
    ['a locale', { locale: 'german' }, 'locale', /de_DE\.UTF-8/],
  ])('%s is told at its field', (_, part, field, words) => {
    const { options, problems } = read(part);
    expect(options).toBeUndefined();
    expect(problems[field]).toMatch(words);
  });

  it('Windows’ fields count only for Windows, and joining needs all of its parts', () => {
    const windows = { ...emptyIdentity.windows, domain: 'corp.example.org' };
    expect(read({ windows }).options).not.toHaveProperty('windows');
    expect(Object.keys(read({ windows }, true).problems)).toEqual([
      'windows.join.user',
      'windows.join.password',
    ]);
    const sealed = 'sealed:v1:AAAA';
    expect(
      read({ windows: { ...windows, joinUser: 'joiner', joinPassword: sealed } }, true).options?.windows,
    ).toEqual({
      join: { domain: 'corp.example.org', user: 'joiner', password: sealed },
    });
  });

  it('lists the address of each guest, and says which can’t have one', () => {
    expect(addressesOf(form(), ['a'])).toEqual([]);
    expect(addressesOf(form({ ...fixed, first: 'x' }), ['a'])).toEqual([]);
    expect(addressesOf(form({ ...fixed, first: '10.0.0.253/24' }), ['a', 'b', 'c'])).toEqual([
      { name: 'a', address: '10.0.0.253/24' },
      { name: 'b', address: '10.0.0.254/24' },
      { name: 'c', why: expect.stringContaining('c would get 10.0.0.255/24') },
    ]);
  });

  it('says in one line what will be different', () => {
    const short = (part: Partial<IdentityForm>, many = false) =>
      identityInShort(read(part), form(part), many);
    expect(short({})).toBe('Its own name, machine id, SSH host keys and MAC');
    expect(short({ ...fixed, users: [ann], timezone: 'Europe/Berlin', policy: 'warn' }, true)).toBe(
      'Each gets its own name, machine id, SSH host keys and MAC · from 192.168.122.50/24 · 1 user · Europe/Berlin · policy warn',
    );
    expect(short({ script: 'reboot' })).toMatch(/needs a look$/);
  });

  it('finds its field in a refusal, and measures what is sent', () => {
    expect(identityAtFault('request.options.identity.users.0.name')).toBe('users.0.name');
    expect(identityAtFault('options.identity.policy')).toBe('policy');
    expect(identityAtFault('options.vcpus')).toBeUndefined();
    expect(bytesOf('é\r\n')).toBe(3);
  });
});
