/** What the identity tests share: options, guests as looked into, decided identities. */
import {
  identityOptionsSchema,
  type DecidedIdentity,
  type GuestInside,
  type IdentityOptions,
} from '../../../src/identity/contract.ts';
import { OffshootError } from '../../../src/errors.ts';

export const optionsOf = (input: Record<string, unknown> = {}): IdentityOptions =>
  identityOptionsSchema.parse(input);

export const KEY =
  'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFfH0pXbQ3Q8zYt1sY7uVh0Q4nZ6G5i3o5mM0r8o0p1a ada@example.org';
export const HASH =
  '$6$abcdefgh$0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ./0123456789abcdefghijkl';

export const everything = {
  domain: 'lab.example.org',
  users: [
    { name: 'ada', sshKeys: [KEY], passwordHash: HASH, administrator: true },
    { name: 'guest', sshKeys: [] },
  ],
  timezone: 'Europe/Berlin',
  locale: 'de_DE.UTF-8',
  addressing: {
    type: 'static',
    first: '192.168.122.50/24',
    gateway: '192.168.122.1',
    nameservers: ['192.168.122.1', '9.9.9.9'],
    search: ['lab.example.org'],
  },
  packages: ['vim', 'curl'],
  firstBootScript: '#!/bin/sh\r\necho "it’s $(hostname)"\r\n',
};

export const decided: DecidedIdentity = {
  hostname: 'web-07',
  fqdn: 'web-07.lab.example.org',
  machineId: '0123456789abcdef0123456789abcdef',
  instanceId: 'offshoot-5b1f0a52-0000-4000-8000-000000000001',
  macs: ['52:54:00:00:00:07', '52:54:00:00:01:07'],
  address: '192.168.122.56/24',
};

export function insideOf(part: Partial<GuestInside> = {}): GuestInside {
  return {
    kind: 'linux',
    osName: 'Debian GNU/Linux 12 (bookworm)',
    init: 'systemd',
    agent: true,
    root: { target: 'vda', filesystem: 'ext4', offset: 1_048_576, sizeBytes: 4_294_967_296 },
    found: [],
    agents: [],
    ...part,
  };
}

/** The error that a call throws. */
export function refusal(call: () => unknown): OffshootError {
  try {
    call();
  } catch (error) {
    if (error instanceof OffshootError) return error;
    throw error;
  }
  throw new Error('Nothing was refused.');
}
