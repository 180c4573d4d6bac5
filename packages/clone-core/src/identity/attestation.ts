/** Reading what `attest` printed. */
import { createHash } from 'node:crypto';
import { OffshootError } from '../errors.ts';
import type { AttestedIdentity } from './contract.ts';

/** A guest can print what it likes: no more than this is looked at. */
const MAX_TEXT = 65_536;
const MAX_LINE = 16_384;

/**
 * Reads the output of `attest` or `attestWindows`. `at`: when it was asked. Lines that are not understood are left out: a guest
 * may say anything. Throws `agent-silent` when it said no host name, which every guest has.
 */
export function parseAttestation(stdout: string, at: Date): AttestedIdentity {
  const said = new Map<string, string[]>();
  for (const line of stdout.slice(0, MAX_TEXT).split(/\r?\n/)) {
    const [, word, value] = /^([a-z-]+) (.+)$/.exec(line.slice(0, MAX_LINE)) ?? [];
    if (word === undefined || value === undefined) continue;
    const values = said.get(word) ?? [];
    if (values.length < 64) values.push(printable(value.trim()));
    said.set(word, values);
  }
  const all = (word: string): string[] => [...new Set(said.get(word))];
  const one = (word: string): string | undefined => said.get(word)?.[0];
  const hostname = one('hostname');
  if (hostname === undefined)
    throw new OffshootError('agent-silent', {
      publicMessage: 'The guest’s agent answered, but did not say who the guest is.',
      remedy: 'Look at its screen (virt-viewer on its host): its shell or its commands may be missing.',
      context: { stdout: stdout.slice(0, 2000) },
    });
  const machineId = uuidDigits(one('machine-id'));
  const dbusId = uuidDigits(one('dbus-machine-id'));
  const optional: { [K in keyof AttestedIdentity]?: AttestedIdentity[K] | undefined } = {
    fqdn: one('fqdn'),
    // Programs read either: one that is still the source's counts.
    machineId: dbusId !== undefined && dbusId !== machineId ? dbusId : machineId,
    bootId: one('boot-id'),
    sid: one('sid'),
    cloudInitInstance: one('instance'),
    osName: one('os'),
    firstBoot: firstBootOf(one('first-boot')),
    ...(one('busy') === undefined ? {} : { busy: true }),
    ...(one('hosts') === undefined ? {} : { hostsFile: one('hosts') === 'own' }),
  };
  return {
    at: at.toISOString(),
    hostname,
    macs: all('mac').map((mac) => mac.toLowerCase().replaceAll('-', ':')),
    sshHostKeys: all('ssh-key').flatMap(fingerprintOf),
    dhcpIds: [...new Set(all('dhcp-id').flatMap(dhcpId))],
    addresses: all('address'),
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
  };
}

/** What a guest says is shown and certified: nothing that moves a cursor. */
const printable = (text: string): string => text.replaceAll(/\p{Cc}/gu, '').slice(0, MAX_LINE);

function firstBootOf(text: string | undefined): AttestedIdentity['firstBoot'] {
  if (text === 'running') return text;
  return text !== undefined && /^\d{1,3}$/.test(text) ? Number(text) : undefined;
}

function uuidDigits(text: string | undefined): string | undefined {
  const digits = text?.replaceAll('-', '').toLowerCase();
  return digits !== undefined && /^[0-9a-f]{32}$/.test(digits) ? digits : undefined;
}

const keyTypes: Readonly<Record<string, string>> = {
  'ssh-ed25519': 'ED25519',
  'ssh-rsa': 'RSA',
  'ssh-dss': 'DSA',
};

/** As `ssh-keygen -l` prints it: SHA-256 of the key's blob in base64 without padding. */
function fingerprintOf(publicKey: string): { type: string; fingerprint: string }[] {
  const [name = '', blob = ''] = publicKey.split(' ');
  if (!/^[A-Za-z0-9+/]{40,}={0,2}$/.test(blob)) return [];
  const digest = createHash('sha256').update(Buffer.from(blob, 'base64')).digest('base64').replace(/=+$/, '');
  const type = keyTypes[name] ?? (name.startsWith('ecdsa-') ? 'ECDSA' : name);
  return [{ type, fingerprint: `SHA256:${digest}` }];
}

/** Hex digits of an id, however it is written: `01:52:54:…`, `ff00…`, `DUID-EN/Vendor:0000ab11…`, `IAID:0x1/DUID`. */
function dhcpId(text: string): string[] {
  const written = text.replace(/^IAID:[^/]*\//, '').replace(/^DUID-[^:]*:/, '');
  const hex = written.replaceAll(/[:\s-]/g, '').toLowerCase();
  return /^[0-9a-f]{8,}$/.test(hex) ? [hex] : [];
}
