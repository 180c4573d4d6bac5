/** Identities in words: how a clone got its own, what was found, and what guests share that they must not. */
import { fieldName, wordsOf } from '@offshoot/clone-core/contract/identity-words';
import {
  cleanKinds,
  type AttestedIdentity,
  type CleanKind,
  type IdentityOutcome,
  type IdentityWay,
  type InsideFinding,
  type LinkPolicy,
  type SharedIdentity,
} from '@offshoot/clone-core/contract/identity';
import { count, formatBytes, listed } from './format.ts';

export { fieldName, wordsOf } from '@offshoot/clone-core/contract/identity-words';

const wayWords: Readonly<Record<IdentityWay, string>> = {
  seed: 'by a drive that cloud-init reads at its first start',
  agent: 'by its guest agent, while its network was off',
  offline: 'in its disk, before it started',
  unattend: 'by an answer file that Windows reads at its first start',
  none: 'not at all',
};

/** "Given in its disk, before it started." A certificate may come from a newer installation, with ways unknown here. */
export const givenWords = (way: IdentityWay, begin = 'Given'): string =>
  way === 'none' ? 'Nothing inside was changed.' : `${begin} ${wayWords[way] ?? way}.`;

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

/** What can be left out of clones. */
export const cleanWords: Readonly<Record<CleanKind, { name: string; means: string }>> = {
  logs: { name: 'Logs', means: 'Its own begin anew.' },
  'shell-history': { name: 'Shell histories', means: 'What was typed in the source is not to be seen.' },
  'authorized-keys': {
    name: 'Authorised SSH keys',
    means: 'Whoever could sign in to the source with a key can’t here. Keys of the users below are added.',
  },
  secrets: {
    name: 'Secrets in home folders',
    means: 'Private keys and credentials. Deleted, not overwritten.',
  },
};

export const isCleanKind = (what: string): what is CleanKind => cleanKinds.some((kind) => kind === what);

/** "12 files, 3.1 MiB are in the source." */
export function foundInShort(found: readonly InsideFinding[], kind: CleanKind): string {
  const finding = found.find(({ what }) => what === kind);
  if (!finding) return 'None was found.';
  const { bytes, paths } = finding;
  // Only the first 20 paths are listed.
  const files = paths.length < 20 ? count(paths.length, 'file') : '20 files or more';
  return `Found: ${files}${bytes === undefined ? '' : `, ${formatBytes(bytes)}`}.`;
}

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
    ? 'The guest is kept for you to look at: virt-viewer on its host shows its screen; put it right. Stopped and started here, it is asked anew; or delete it and clone again.'
    : 'Look inside before others rely on it, or delete it and clone again.';
}

const LOG = '/var/log/offshoot-first-boot.log';

/** How a clone's first-boot script ended, what to do, and the verdict whose icon goes with it. */
export function firstBootWords(
  said: AttestedIdentity['firstBoot'],
  windows: boolean,
): { words: string; remedy?: string; icon: Verdict } {
  if (windows)
    return {
      words: 'First-boot script: Windows does not tell how it ended',
      remedy: 'Look inside, at what it was to do.',
      icon: 'unasked',
    };
  switch (said) {
    case undefined:
      return {
        words: 'First-boot script: not known yet how it ended',
        remedy: `It begins when the guest has a network. Its agent is asked while it runs; inside, ${LOG} says more.`,
        icon: 'unasked',
      };
    case 'running':
      return {
        words: 'First-boot script: has not ended yet',
        remedy: `It begins when the guest has a network, or after ten minutes without. What it writes is in ${LOG} inside.`,
        icon: 'unasked',
      };
    case 0:
      return { words: 'First-boot script ended well', icon: 'attested' };
    default:
      return {
        words: `First-boot script ended with ${said}`,
        remedy: `${LOG} inside the guest says why. It runs again only with a reset or a refresh: do by hand what is missing and remove /var/lib/offshoot/first-boot.done, and this mark goes within ten minutes; or delete this clone, mend the script and clone again.`,
        icon: 'silent',
      };
  }
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

/** "Stays as in its source: SSH host keys, for it has no SSH server." */
export const keptWords = ({ field, why }: IdentityOutcome['kept'][number]): string =>
  `${capital(fieldName(field))}: ${why}.`;

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** What was changed, in words; empty: nothing. */
export const changedWords = ({ changed }: Pick<IdentityOutcome, 'changed'>): string =>
  wordsOf(changed.filter((field) => !isCleanKind(field)));

/** What of its source it does not have, in words; empty: nothing. */
export const leftOutWords = ({ changed }: Pick<IdentityOutcome, 'changed'>): string =>
  wordsOf(changed.filter(isCleanKind));
