import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import {
  agentEdits,
  agents,
  agentsToReset,
  agentWords,
  withUserAgents,
} from '../../../src/identity/agents.ts';
import { decided, refusal } from './facts.ts';

const own = {
  id: 'own',
  name: 'Own agent',
  detect: ['/etc/own/id'],
  remove: ['/etc/own/id'],
  note: 'It is new.',
  source: 'https://example.org/',
};

describe('agents', () => {
  it('of a file that OFFSHOOT_AGENTS_FILE names are among them; one that can’t be used ends the start', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'offshoot-agents-'));
    const file = join(folder, 'agents.json');
    const reload = async (): Promise<readonly string[]> => {
      vi.resetModules();
      const module = await import('../../../src/identity/agents.ts');
      return module.agents.map(({ id }) => id);
    };
    try {
      vi.stubEnv('OFFSHOOT_AGENTS_FILE', file);
      await expect(reload()).rejects.toMatchObject({
        code: 'invalid-input',
        publicMessage: expect.stringContaining('OFFSHOOT_AGENTS_FILE'),
      });
      await writeFile(file, JSON.stringify([own]));
      expect(await reload()).toEqual([...agents.map(({ id }) => id), 'own']);
    } finally {
      vi.unstubAllEnvs();
      await rm(folder, { recursive: true });
    }
  });

  it('are shipped with all that is asked for', () => {
    const ids = agents.map((agent) => agent.id);
    for (const id of [
      'tailscale',
      'wazuh',
      'salt-minion',
      'zabbix-agent',
      'puppet',
      'github-runner',
      'gitlab-runner',
    ])
      expect(ids).toContain(id);
    for (const agent of agents) {
      const resets = agent.remove.length + agent.empty.length + agent.lines.length;
      // One that nothing is done for says so.
      if (resets === 0) expect(agent.note).toMatch(/stays the source’s/);
    }
  });

  it('are extended and replaced by a user’s list', () => {
    const made = withUserAgents(JSON.stringify([own, { ...own, id: 'tailscale', name: 'Mine' }]));
    expect(made.find((agent) => agent.id === 'own')?.services).toEqual([]);
    expect(made.filter((agent) => agent.id === 'tailscale').map((agent) => agent.name)).toEqual(['Mine']);
    expect(made).toHaveLength(agents.length + 1);
  });

  it.each([
    ['no JSON', '{', /no JSON/],
    ['no list', '{}', /array/i],
    ['a field that is not known', JSON.stringify([{ ...own, run: 'rm' }]), /run/],
    ['a way out', JSON.stringify([{ ...own, remove: ['/etc/own/../shadow'] }]), /\.\./],
    ['the root', JSON.stringify([{ ...own, remove: ['/*'] }]), /two deep/],
    ['a shell’s words', JSON.stringify([{ ...own, remove: ['/etc/$(x)/y'] }]), /absolute/],
    ['a relative path', JSON.stringify([{ ...own, detect: ['etc/own'] }]), /absolute/],
    ['two of one id', JSON.stringify([own, own]), /same id/],
  ])('refuse %s', (_what, text, message) => {
    const error = refusal(() => withUserAgents(text));
    expect(error).toMatchObject({ code: 'invalid-input', field: 'agents' });
    expect(error.publicMessage).toMatch(message);
  });

  it('are reset when found, and when asked for', () => {
    const ids = (wanted: 'found' | string[], found?: string[]) =>
      agentsToReset(wanted, found).map((agent) => agent.id);
    expect(ids('found', ['wazuh', 'gone'])).toEqual(['wazuh']);
    expect(ids('found')).toEqual([]);
    expect(ids(['wazuh', 'puppet'], ['wazuh'])).toEqual(['wazuh']);
    expect(ids(['wazuh'])).toEqual(['wazuh']);
    expect(ids([], ['wazuh'])).toEqual([]);
  });

  it('become edits, and words for the script', () => {
    const zabbix = agents.filter((agent) => agent.id === 'zabbix-agent');
    expect(agentEdits(zabbix, decided)[0]).toEqual({
      type: 'line',
      path: '/etc/zabbix/zabbix_agentd.conf',
      match: String.raw`^\s*Hostname=`,
      line: 'Hostname=web-07',
      add: false,
    });
    expect(agentWords(zabbix, decided)).toContain(
      'line=/etc/zabbix/zabbix_agentd.conf|Hostname=|Hostname=web-07',
    );
    expect(
      agentWords(
        agents.filter((agent) => agent.id === 'wazuh'),
        decided,
      ),
    ).toEqual([
      'stop=wazuh-agent.service',
      'remove=/var/ossec/queue/rids/*',
      'empty=/var/ossec/etc/client.keys',
      'start=wazuh-agent.service',
    ]);
  });
});
