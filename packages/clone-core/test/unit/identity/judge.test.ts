import { describe, expect, it } from 'vitest';
import { parseAttestation } from '../../../src/identity/attestation.ts';
import type { AttestedIdentity } from '../../../src/identity/contract.ts';
import { judge, type JudgeQuestion } from '../../../src/identity/judge.ts';
import { decided, KEY, refusal } from './facts.ts';

const at = new Date('2026-07-01T12:00:00Z');
const good: AttestedIdentity = {
  at: at.toISOString(),
  hostname: 'web-07',
  fqdn: 'web-07.lab.example.org',
  machineId: decided.machineId,
  macs: decided.macs,
  sshHostKeys: [{ type: 'ED25519', fingerprint: 'SHA256:own' }],
  dhcpIds: ['ff01'],
  addresses: ['192.168.122.56/24'],
  cloudInitInstance: decided.instanceId,
  hostsFile: true,
};
const source = {
  hostname: 'template',
  machineId: 'f'.repeat(32),
  macs: ['52:54:00:ff:ff:01'],
  sshHostKeys: [{ type: 'ED25519', fingerprint: 'SHA256:source' }],
  dhcpIds: ['FF99'],
  sid: 'S-1-5-21-1-2-3',
};
const question = (
  attested?: Partial<AttestedIdentity>,
  part: Partial<JudgeQuestion> = {},
): JudgeQuestion => ({
  decided,
  changed: ['hostname', 'fqdn', 'machine-id', 'ssh-host-keys', 'hosts-file', 'cloud-init-instance', 'sid'],
  source,
  ...(attested ? { attested: { ...good, ...attested } } : {}),
  ...part,
});

describe('judge', () => {
  it('finds a guest itself', () => {
    expect(judge(question({}, { linkUp: true }))).toEqual({ verdict: 'attested', problems: [] });
    expect(judge(question({ hostname: 'WEB-07.lab.example.org' })).verdict).toBe('attested');
  });

  it('calls silence silence', () => {
    expect(judge(question()).verdict).toBe('silent');
  });

  it.each<[string, Partial<AttestedIdentity>, RegExp]>([
    ['host name', { hostname: 'template' }, /host name is template, not web-07/],
    ['full name', { fqdn: 'web-07.other' }, /full name is web-07\.other/],
    ['the source’s machine id', { machineId: 'f'.repeat(32) }, /machine id is still the source’s/],
    ['another machine id', { machineId: 'e'.repeat(32) }, /neither/],
    [
      'no MAC of its own',
      { macs: ['52:54:00:00:00:07'] },
      /No network card inside has the address 52:54:00:00:01:07/,
    ],
    ['the source’s MAC', { macs: [...decided.macs, '52:54:00:FF:FF:01'] }, /still has the source’s address/],
    [
      'the source’s key',
      { sshHostKeys: [...good.sshHostKeys, { type: 'ED25519', fingerprint: 'SHA256:source' }] },
      /ED25519 SSH host key is still/,
    ],
    ['no key at all', { sshHostKeys: [] }, /no SSH host keys/],
    ['the source’s DHCP id', { dhcpIds: ['ff99'] }, /DHCP id/],
    ['hosts file', { hostsFile: false }, /hosts file/],
    ['cloud-init', { cloudInitInstance: 'iid-old' }, /did not act/],
    ['SID', { sid: 'S-1-5-21-1-2-3' }, /SID/],
  ])('finds: %s', (_what, attested, problem) => {
    const { verdict, problems } = judge(question(attested));
    expect(verdict).toBe('mismatch');
    expect(problems.join(' ')).toMatch(problem);
    expect(problems).toHaveLength(1);
  });

  it('asks for what was changed only', () => {
    const kept = {
      hostname: 'template',
      machineId: 'f'.repeat(32),
      sshHostKeys: source.sshHostKeys,
      hostsFile: false,
      sid: source.sid,
    };
    expect(judge(question(kept, { changed: ['name', 'mac'] })).verdict).toBe('attested');
  });

  it('asks for the address once the links are up', () => {
    expect(judge(question({ addresses: [] })).verdict).toBe('attested');
    expect(judge(question({ addresses: ['192.168.122.5/24'] }, { linkUp: true })).problems).toEqual([
      'It does not have the address 192.168.122.56/24.',
    ]);
  });

  it('knows a Windows guest by its computer name', () => {
    const windows = { ...decided, computerName: 'WEB-07X' };
    expect(judge(question({ hostname: 'WEB-07X' }, { decided: windows })).verdict).toBe('attested');
  });
});

describe('parseAttestation', () => {
  it('reads all that is printed', () => {
    const text = [
      'hostname web-07',
      'fqdn web-07.lab.example.org',
      `machine-id ${decided.machineId}`,
      'boot-id 11111111-2222-4333-8444-555555555555',
      'mac 52:54:00:00:00:07',
      'mac 52-54-00-00-01-07',
      `ssh-key ${KEY}`,
      'ssh-key nonsense',
      'dhcp-id DUID-EN/Vendor:0000ab11f00dcafe',
      'dhcp-id IAID:0x7b7e1b5f/DUID',
      'dhcp-id ff:00:11:22:33',
      'address 192.168.122.56/24',
      'instance offshoot-1',
      'os Debian GNU/Linux 12 (bookworm)',
      'hosts own',
      'sid S-1-5-21-1',
    ].join('\n');
    expect(parseAttestation(text, at)).toEqual({
      at: '2026-07-01T12:00:00.000Z',
      hostname: 'web-07',
      fqdn: 'web-07.lab.example.org',
      machineId: decided.machineId,
      bootId: '11111111-2222-4333-8444-555555555555',
      macs: ['52:54:00:00:00:07', '52:54:00:00:01:07'],
      sshHostKeys: [{ type: 'ED25519', fingerprint: expect.stringMatching(/^SHA256:[A-Za-z0-9+/]{43}$/) }],
      dhcpIds: ['0000ab11f00dcafe', 'ff00112233'],
      addresses: ['192.168.122.56/24'],
      sid: 'S-1-5-21-1',
      cloudInitInstance: 'offshoot-1',
      osName: 'Debian GNU/Linux 12 (bookworm)',
      hostsFile: true,
    });
  });

  it('takes what a guest may say amiss', () => {
    const noisy = `hostname a\u001b[2Jb\nmachine-id xyz\n${'mac x\n'.repeat(100_000)}`;
    const made = parseAttestation(noisy, at);
    expect(made.hostname).toBe('a[2Jb');
    expect(made.machineId).toBeUndefined();
    expect(made.macs).toEqual(['x']);
    const two = parseAttestation(
      `hostname a\nmachine-id ${'a'.repeat(32)}\ndbus-machine-id ${'b'.repeat(32)}\n`,
      at,
    );
    expect(two.machineId).toBe('b'.repeat(32));
    expect(refusal(() => parseAttestation('sh: not found\n', at)).code).toBe('agent-silent');
  });
});
