import { describe, expect, it } from 'vitest';
import { cleanKinds, type GuestInside } from '../../../src/identity/contract.ts';
import { chooseWay, type WayQuestion } from '../../../src/identity/ways.ts';
import { everything, insideOf, KEY, optionsOf, refusal } from './facts.ts';

const question = (part: Partial<WayQuestion> = {}): WayQuestion => ({
  options: optionsOf(),
  mode: 'full',
  source: 'stopped',
  can: { drive: true, edit: true, agent: true },
  start: true,
  nics: 1,
  ...part,
});
const bare = (part: Partial<GuestInside>): GuestInside => {
  const { root: _root, ...rest } = insideOf(part);
  return rest;
};
const subset = insideOf({ init: 'busybox', seedReader: 'nocloud-subset', osName: 'Offshoot sample guest' });
const windows = (generalized: boolean, part: Partial<GuestInside> = {}) =>
  bare({ kind: 'windows', agent: false, windows: { generalized }, ...part });
const no = { why: 'this host can’t' };

describe('the way', () => {
  it.each<[string, Partial<WayQuestion>, string]>([
    ['cloud-init, editable disk', { inside: insideOf({ seedReader: 'cloud-init' }) }, 'seed strict +edits'],
    ['cloud-init, disk that can’t be edited', { inside: bare({ seedReader: 'cloud-init' }) }, 'seed strict'],
    [
      'cloud-init without agent',
      { inside: insideOf({ seedReader: 'cloud-init', agent: false }) },
      'seed off +edits',
    ],
    [
      'cloud-init, not started',
      { inside: insideOf({ seedReader: 'cloud-init' }), start: false },
      'seed off +edits',
    ],
    [
      'cloud-init, no network card',
      { inside: insideOf({ seedReader: 'cloud-init' }), nics: 0 },
      'seed off +edits',
    ],
    [
      'cloud-init, no drive here',
      { inside: insideOf({ seedReader: 'cloud-init' }), can: { drive: no, edit: true, agent: true } },
      'offline strict',
    ],
    ['sample guest', { inside: subset }, 'seed strict'],
    [
      'sample guest, to be cleaned',
      { inside: subset, options: optionsOf({ clean: ['logs'] }) },
      'offline strict',
    ],
    [
      'sample guest, more than it knows',
      { inside: subset, options: optionsOf(everything) },
      'offline strict',
    ],
    ['no cloud-init', { inside: insideOf({ agent: false }) }, 'offline off'],
    ['no cloud-init, agent', { inside: insideOf() }, 'offline strict'],
    [
      'no cloud-init, no editing here',
      { inside: insideOf(), can: { drive: true, edit: no, agent: true } },
      'agent strict',
    ],
    [
      'no cloud-init, disk that can’t be edited',
      { inside: insideOf({ notEditable: 'its log is dirty' }) },
      'agent strict',
    ],
    [
      'the same, not started',
      { inside: insideOf({ notEditable: 'its log is dirty' }), start: false },
      'none off',
    ],
    ['nothing at all', { inside: insideOf({ agent: false, notEditable: 'its log is dirty' }) }, 'none off'],
    ['not looked into', {}, 'none off'],
    ['not looked into, agent answers', { source: 'running', agentAnswers: true }, 'agent strict'],
    [
      'encrypted',
      { inside: bare({ kind: 'unknown', agent: false, why: 'its disk is encrypted' }) },
      'none off',
    ],
    ['memory', { mode: 'memory', source: 'running', agentAnswers: true }, 'agent strict'],
    [
      'memory of a template',
      { mode: 'memory', source: 'template', inside: insideOf({ seedReader: 'cloud-init' }) },
      'agent strict',
    ],
    ['Windows, generalized', { inside: windows(true) }, 'unattend off'],
    ['Windows, not generalized', { inside: windows(false) }, 'none off'],
    ['Windows with cloudbase-init', { inside: windows(true, { seedReader: 'cloudbase-init' }) }, 'seed off'],
    [
      'the same, to join a domain',
      {
        inside: windows(true, { seedReader: 'cloudbase-init' }),
        options: optionsOf({
          windows: { join: { domain: 'ad.example.org', user: 'joiner', password: 'sealed:v1:abc' } },
        }),
      },
      'unattend off',
    ],
    [
      'asked off',
      { inside: insideOf({ seedReader: 'cloud-init' }), options: optionsOf({ policy: 'off' }) },
      'seed off +edits',
    ],
    [
      'asked warn',
      { inside: insideOf({ seedReader: 'cloud-init' }), options: optionsOf({ policy: 'warn' }) },
      'seed warn +edits',
    ],
  ])('%s', (_what, part, expected) => {
    const { way, policy, editsToo } = chooseWay(question(part));
    expect(`${way} ${policy}${editsToo ? ' +edits' : ''}`).toBe(expected);
  });

  it.each<[string, Partial<WayQuestion>, string, RegExp]>([
    [
      'strict without an agent',
      { inside: insideOf({ agent: false }), options: optionsOf({ policy: 'strict' }) },
      'policy',
      /no guest agent was found/,
    ],
    ['warn where nobody looked', { options: optionsOf({ policy: 'warn' }) }, 'policy', /not known/],
    [
      'strict where agents can’t be asked',
      {
        inside: insideOf(),
        can: { drive: true, edit: true, agent: no },
        options: optionsOf({ policy: 'strict' }),
      },
      'policy',
      /this host can’t/,
    ],
    [
      'memory without waiting',
      { mode: 'memory', options: optionsOf({ policy: 'off' }) },
      'policy',
      /is its source/,
    ],
    [
      'an address by an agent',
      {
        mode: 'memory',
        options: optionsOf({ addressing: { type: 'static', first: '10.0.0.5/24' } }),
      },
      'addressing',
      /Address can’t be set in this guest/,
    ],
    [
      'an address in a guest that is not known',
      { options: optionsOf({ addressing: { type: 'static', first: '10.0.0.5/24' } }) },
      'addressing',
      /not known/,
    ],
    [
      'a script where starting programs is not known',
      { inside: insideOf({ init: 'other' }), options: optionsOf({ firstBootScript: '#!/bin/sh\n' }) },
      'firstBootScript',
      /how this system starts programs/,
    ],
    [
      'logs left out of a Windows',
      { inside: windows(true, { seedReader: 'cloudbase-init' }), options: optionsOf({ clean: ['logs'] }) },
      'clean',
      /^Logs can’t be left out of this clone: Windows/,
    ],
    [
      'keys left out of what is not known',
      { options: optionsOf({ clean: ['authorized-keys'] }) },
      'clean',
      /^Authorised SSH keys can’t be left out/,
    ],
  ])('refuses %s', (_what, part, below, message) => {
    const error = refusal(() => chooseWay(question(part)));
    expect(error).toMatchObject({ code: 'invalid-input', field: `options.identity.${below}` });
    expect(error.publicMessage).toMatch(message);
    expect(error.remedy).toBeTruthy();
  });

  it('refuses memory where no agent can be asked', () => {
    const error = refusal(() =>
      chooseWay(question({ mode: 'memory', can: { drive: true, edit: true, agent: no } })),
    );
    expect(error.code).toBe('unavailable-mode');
  });
});

describe('what the preview says', () => {
  it.each<[string, Partial<WayQuestion>]>([
    [
      'cloud-init',
      {
        inside: insideOf({ seedReader: 'cloud-init', agents: ['tailscale', 'snapd'] }),
        options: optionsOf(everything),
      },
    ],
    ['sample-guest', { inside: subset }],
    [
      'offline',
      {
        inside: insideOf({ agent: false, osName: 'Rocky Linux 9.4' }),
        options: optionsOf({ userData: 'a: 1' }),
      },
    ],
    ['offline-other-init', { inside: insideOf({ agent: false, init: 'other' }) }],
    ['memory', { mode: 'memory', source: 'running', agentAnswers: true }],
    ['encrypted', { inside: bare({ kind: 'unknown', agent: false, why: 'its disk is encrypted' }) }],
    ['unknown', {}],
    ['windows', { inside: windows(true) }],
    ['windows-not-generalized', { inside: windows(false, { seedReader: 'cloudbase-init' }) }],
    [
      'clean',
      {
        inside: insideOf({ seedReader: 'cloud-init' }),
        options: optionsOf({ clean: cleanKinds.toReversed() }),
      },
    ],
    [
      'clean-apart',
      {
        inside: insideOf({ apart: ['/home', '/var/log'] }),
        options: optionsOf({ clean: ['logs', 'shell-history'] }),
      },
    ],
    [
      'clean-memory',
      {
        mode: 'memory',
        source: 'running',
        agentAnswers: true,
        options: optionsOf({
          clean: ['authorized-keys', 'secrets'],
          users: [{ name: 'root', sshKeys: [KEY] }],
        }),
      },
    ],
    ['warn', { inside: insideOf(), options: optionsOf({ policy: 'warn', deadlineSeconds: 60 }) }],
  ])('%s', async (name, part) => {
    const { notes, changed, kept } = chooseWay(question(part));
    const text = [
      ...notes.map((note) => `${note.level}: ${note.text}`),
      '',
      `changed: ${changed.join(' ')}`,
      ...kept.map((each) => `kept: ${each.field}: ${each.why}`),
    ].join('\n');
    await expect(`${text}\n`).toMatchFileSnapshot(`golden/ways-${name}.txt`);
    for (const { field } of kept) expect(changed).not.toContain(field);
  });
});
