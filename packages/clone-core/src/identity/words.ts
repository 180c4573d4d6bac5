/** Fields of an identity in words. */
import type { IdentityField } from './contract.ts';

const names: Readonly<Record<IdentityField, string>> = {
  name: 'name',
  uuid: 'UUID',
  mac: 'network addresses',
  genid: 'generation id',
  hostname: 'host name',
  fqdn: 'full name',
  'machine-id': 'machine id',
  'ssh-host-keys': 'SSH host keys',
  'dhcp-id': 'DHCP id',
  'random-seed': 'random seed',
  'hosts-file': 'hosts file',
  'network-configuration': 'network configuration',
  'cloud-init-instance': 'cloud-init instance',
  agents: 'agents’ ids',
  users: 'users',
  'time-zone': 'time zone',
  locale: 'locale',
  address: 'address',
  packages: 'packages',
  'first-boot-script': 'first-boot script',
  sid: 'security identifier (SID)',
  'computer-name': 'computer name',
  logs: 'logs',
  'shell-history': 'shell histories',
  'authorized-keys': 'authorised SSH keys',
  secrets: 'secrets in home folders',
};

export const fieldName = (field: IdentityField): string => names[field];

/** "host name, machine id and SSH host keys" */
export function wordsOf(fields: readonly IdentityField[]): string {
  const words = [...new Set(fields)].map(fieldName);
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1) ?? ''}`;
}

/** With a capital at its beginning. */
export const sentenceOf = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
