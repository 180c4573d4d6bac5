/** Identities to begin a test with. */
import { createHash } from 'node:crypto';
import type { AttestedIdentity, IdentityOutcome } from '@offshoot/clone-core/contract/identity';

const hex = (text: string): string => createHash('md5').update(text).digest('hex');

/** What the agent of a guest of that name would say; every value is made from the name. */
export const someAttestation = (name: string, part: Partial<AttestedIdentity> = {}): AttestedIdentity => ({
  at: '2026-01-01T00:00:00.000Z',
  hostname: name,
  machineId: hex(name),
  bootId: hex(`${name} boot`),
  macs: ['52:54:00:00:00:01'],
  sshHostKeys: [{ type: 'ED25519', fingerprint: `SHA256:${hex(`${name} key`)}` }],
  dhcpIds: [],
  addresses: ['192.0.2.7'],
  ...part,
});

export const someOutcome = (name: string, part: Partial<IdentityOutcome> = {}): IdentityOutcome => ({
  way: 'seed',
  policy: 'strict',
  decided: {
    hostname: name,
    machineId: hex(name),
    instanceId: `offshoot-${hex(name)}`,
    macs: ['52:54:00:00:00:01'],
  },
  changed: ['name', 'uuid', 'mac', 'hostname', 'machine-id', 'ssh-host-keys'],
  kept: [{ field: 'sid', why: 'it is no Windows' }],
  attested: someAttestation(name),
  verdict: 'attested',
  problems: [],
  linkUpAt: '2026-01-01T00:00:01.000Z',
  ...part,
});
