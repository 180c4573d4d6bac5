/** Identities in words: how a clone got its own, what was found, and what guests share that they must not. */
import { fieldName, wordsOf } from '@offshoot/clone-core/contract/identity-words';
import type {
  IdentityOutcome,
  IdentityWay,
  LinkPolicy,
  SharedIdentity,
} from '@offshoot/clone-core/contract/identity';
import { count } from './format.ts';

export { fieldName, wordsOf } from '@offshoot/clone-core/contract/identity-words';

export const wayWords: Readonly<Record<IdentityWay, string>> = {
  seed: 'by a drive that cloud-init reads at its first start',
  agent: 'by its guest agent, while its network was off',
  offline: 'in its disk, before it started',
  unattend: 'by an answer file that Windows reads at its first start',
  none: 'not at all: nothing inside was changed',
};

export const policyWords: Readonly<Record<LinkPolicy, { name: string; means: string }>> = {
  strict: {
    name: 'Strict',
    means: 'Its network stays off until its agent proved that it has an identity of its own.',
  },
  warn: {
    name: 'Warn',
    means: 'The same, but after the deadline the network comes up anyway, and the operation says so.',
  },
  off: { name: 'Off', means: 'Its network comes up with it. Nothing is waited for.' },
};

export type Verdict = IdentityOutcome['verdict'];

/** How a proof ended. */
export function verdictWords(outcome: Pick<IdentityOutcome, 'verdict' | 'policy' | 'linkUpAt'>): string {
  const down = outcome.policy === 'strict' && outcome.linkUpAt === undefined;
  switch (outcome.verdict) {
    case 'attested':
      return 'Proven: its agent has what was decided';
    case 'mismatch':
      return down
        ? 'Not proven: its agent says something else, so its network is off'
        : 'Not proven: its agent says something else';
    case 'silent':
      return down
        ? 'Not proven: its agent did not answer in time, so its network is off'
        : 'Not proven: its agent did not answer in time';
    case 'unasked':
      return 'Not asked for a proof';
  }
}

/** What to do about a proof that failed; undefined: nothing. */
export function verdictRemedy(
  outcome: Pick<IdentityOutcome, 'verdict' | 'policy' | 'linkUpAt'>,
): string | undefined {
  if (outcome.verdict === 'attested' || outcome.verdict === 'unasked') return undefined;
  return outcome.policy === 'strict' && outcome.linkUpAt === undefined
    ? 'The guest is kept for you to look at: open its console. Delete it and clone again, or connect its network by hand.'
    : 'Look inside before others rely on it, or delete it and clone again.';
}

type SharedField = SharedIdentity['field'];

const sharedNames: Readonly<Record<SharedField, { one: string; many: string }>> = {
  mac: { one: 'MAC address', many: 'MAC addresses' },
  uuid: { one: 'UUID', many: 'UUIDs' },
  'machine-id': { one: 'machine id', many: 'machine ids' },
  'ssh-host-key': { one: 'SSH host key', many: 'SSH host keys' },
  sid: { one: 'security identifier (SID)', many: 'security identifiers (SIDs)' },
};

const harms: Readonly<Record<SharedField, string>> = {
  mac: 'Both answer to one network address, so connections break at random.',
  uuid: 'Tools that know machines by their UUID take them for one.',
  'machine-id': 'They ask for the same DHCP address, and their logs mix.',
  'ssh-host-key': 'Whoever holds one can pose as the other.',
  sid: 'Windows 11 24H2 and Server 2025 refuse to sign in between them.',
};

const remedies: Readonly<Record<SharedField, string>> = {
  mac: 'Give one of them another MAC address in its definition, and start it again.',
  uuid: 'Give one of them another UUID in its definition, or move it to a host of its own inventory.',
  'machine-id': 'On one of them: empty /etc/machine-id, delete /var/lib/dbus/machine-id, and start it again.',
  'ssh-host-key':
    'On one of them: delete /etc/ssh/ssh_host_*, run ssh-keygen -A, and restart its SSH server.',
  sid: 'Run sysprep with /generalize on one of them.',
};

export interface AlarmGroup {
  /** Of its guests' ids. */
  key: string;
  guests: SharedIdentity['guests'];
  /** "the same machine id and 3 SSH host keys" */
  shares: string;
  /** One line each: what is shared, why it hurts, what to do. */
  lines: { field: SharedField; name: string; values: string[]; harm: string; remedy: string }[];
  since: string;
}

/** What the same guests share is one alarm; those that are shared longest come first. */
export function groupAlarms(shared: readonly SharedIdentity[]): AlarmGroup[] {
  const groups = new Map<string, SharedIdentity[]>();
  for (const one of shared) {
    const key = one.guests
      .map((guest) => guest.id)
      .toSorted()
      .join(' ');
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return [...groups]
    .map(([key, members]): AlarmGroup => {
      const fields = [...new Set(members.map((member) => member.field))];
      const lines = fields.map((field) => {
        const values = members.filter((member) => member.field === field).map((member) => member.value);
        const { one, many } = sharedNames[field];
        return {
          field,
          values,
          name: values.length === 1 ? one : count(values.length, one, many),
          harm: harms[field],
          remedy: remedies[field],
        };
      });
      return {
        key,
        guests: members[0]?.guests ?? [],
        shares: `the same ${listed(lines.map((line) => line.name))}`,
        lines,
        since: members.reduce((first, member) => (member.since < first ? member.since : first), '9'),
      };
    })
    .toSorted((a, b) => (a.since < b.since ? -1 : 1));
}

const listed = (words: readonly string[]): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1) ?? ''}`;

/** "Stays as in its source: SSH host keys, for it has no SSH server." */
export const keptWords = ({ field, why }: IdentityOutcome['kept'][number]): string =>
  `${capital(fieldName(field))}: ${why}.`;

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** What was changed, in words; empty: nothing. */
export const changedWords = (outcome: Pick<IdentityOutcome, 'changed'>): string => wordsOf(outcome.changed);
