import { describe, expect, it } from 'vitest';
import { agents } from '../../../src/identity/agents.ts';
import type { InsideEdit } from '../../../src/identity/edits.ts';
import { offlineEdits, seedEdits, type OfflineQuestion } from '../../../src/identity/offline.ts';
import { cleanKinds } from '../../../src/identity/contract.ts';
import { decided, everything, insideOf, KEY, optionsOf } from './facts.ts';

const was = ['52:54:00:ff:ff:01', '52:54:00:ff:ff:02'];
const question = (part: Partial<OfflineQuestion> = {}): OfflineQuestion => ({
  decided,
  options: optionsOf(),
  inside: insideOf(),
  was,
  ...part,
});
const pathOf = (edit: InsideEdit): string => ('path' in edit ? edit.path : edit.pattern);
const short = (edits: readonly InsideEdit[]): string =>
  `${edits
    .map((edit) => {
      switch (edit.type) {
        case 'write':
          return `write ${edit.path} ${edit.mode.toString(8)}${edit.content.length > 900 ? ' (script)' : `\n${edit.content.replaceAll(/^/gm, '  | ').trimEnd()}`}`;
        case 'line':
          return `line ${edit.path} /${edit.match}/ -> ${edit.line}${edit.add ? ' (added)' : ''}`;
        case 'replace':
          return `replace ${edit.pattern} ${edit.from} -> ${edit.to}`;
        case 'remove':
        case 'empty':
          return `${edit.type} ${edit.pattern}`;
      }
    })
    .join('\n')}\n`;

describe('edits', () => {
  it.each<[string, OfflineQuestion]>([
    [
      'debian-ifupdown',
      question({
        options: optionsOf(everything),
        inside: insideOf({ network: ['ifupdown'] }),
        resets: agents.filter((agent) => agent.id === 'zabbix-agent'),
      }),
    ],
    [
      'netplan',
      question({
        options: optionsOf({ addressing: everything.addressing }),
        inside: insideOf({ network: ['netplan', 'networkd'] }),
      }),
    ],
    [
      'networkmanager',
      question({
        options: optionsOf({ addressing: everything.addressing }),
        inside: insideOf({ osName: 'Rocky Linux 9.4', network: ['networkmanager', 'ifcfg'] }),
      }),
    ],
    ['busybox', question({ options: optionsOf(everything), inside: insideOf({ init: 'busybox' }) })],
    [
      'openrc',
      question({ options: optionsOf({ users: [{ name: 'ada' }] }), inside: insideOf({ init: 'openrc' }) }),
    ],
    ['other', question({ inside: insideOf({ init: 'other' }) })],
    [
      'clean',
      question({ options: optionsOf({ clean: cleanKinds, users: [{ name: 'root', sshKeys: [KEY] }] }) }),
    ],
  ])('%s', async (name, asked) => {
    const edits = offlineEdits(asked);
    await expect(short(edits)).toMatchFileSnapshot(`golden/offline-${name}.txt`);
    expect(JSON.parse(JSON.stringify(edits))).toEqual(edits);
  });

  it('go only where they may', () => {
    for (const edits of [
      offlineEdits(question({ options: optionsOf(everything), resets: agents })),
      seedEdits({ ...question(), cut: true }),
    ])
      for (const edit of edits) {
        expect(pathOf(edit)).toMatch(/^\/[^*]/);
        expect(pathOf(edit).split('/')).not.toContain('..');
      }
  });

  it('for a guest with cloud-init: machine id, old state, and a boot that does not wait', async () => {
    await expect(short(seedEdits({ ...question(), cut: true }))).toMatchFileSnapshot(
      'golden/offline-seed.txt',
    );
    expect(short(seedEdits({ ...question(), cut: false }))).not.toContain('wait-online');
    const cleaned = short(seedEdits({ ...question(), cut: true, clean: ['authorized-keys'] }));
    expect(cleaned).toMatch(/^empty \/root\/\.ssh\/authorized_keys\n/);
    expect(cleaned).not.toContain('/var/log/');
  });

  it('leave SSH host keys where nobody would make new ones', () => {
    const removed = (asked: OfflineQuestion) =>
      offlineEdits(asked).some((edit) => pathOf(edit).includes('ssh_host'));
    expect(removed(question())).toBe(true);
    expect(removed(question({ inside: insideOf({ init: 'other' }) }))).toBe(false);
  });
});
