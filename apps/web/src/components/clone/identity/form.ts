/** The identity part of the New clone form, as pure data: what is typed → options, or what is wrong with it. */
import { addressAt } from '@offshoot/clone-core/contract/addresses';
import {
  identityOptionsSchema,
  type CleanKind,
  type IdentityOptions,
  type LinkPolicy,
} from '@offshoot/clone-core/contract/identity';
import { wordsOf } from '@offshoot/clone-core/contract/identity-words';
import { count as counted } from '../../../lib/format.ts';

export interface UserForm {
  /** Of the row, for React. */
  key: string;
  name: string;
  /** One key a line. */
  sshKeys: string;
  /** The clear text is hashed as soon as it is typed, and not kept. */
  passwordHash: string | null;
  administrator: boolean;
}

export interface WindowsForm {
  computerName: string;
  administratorPassword: string | null;
  productKey: string;
  timezone: string;
  domain: string;
  joinUser: string;
  joinPassword: string | null;
  organizationalUnit: string;
}

export interface IdentityForm {
  /** Null: what its source allows. */
  policy: LinkPolicy | null;
  deadlineSeconds: number | '';
  domain: string;
  users: UserForm[];
  timezone: string | null;
  locale: string;
  addressing: 'source' | 'dhcp' | 'static';
  first: string;
  gateway: string;
  /** With spaces or commas between them. */
  nameservers: string;
  search: string;
  packages: string;
  script: string;
  userData: string;
  /** Null: all that are found. */
  agents: string[] | null;
  /** Null: as its template says. */
  clean: CleanKind[] | null;
  windows: WindowsForm;
}

export const emptyUser = (key: string): UserForm => ({
  key,
  name: '',
  sshKeys: '',
  passwordHash: null,
  administrator: true,
});

export const emptyIdentity: IdentityForm = {
  policy: null,
  deadlineSeconds: 300,
  domain: '',
  users: [],
  timezone: null,
  locale: '',
  addressing: 'source',
  first: '',
  gateway: '',
  nameservers: '',
  search: '',
  packages: '',
  script: '',
  userData: '',
  agents: null,
  clean: null,
  windows: {
    computerName: '',
    administratorPassword: null,
    productKey: '',
    timezone: '',
    domain: '',
    joinUser: '',
    joinPassword: null,
    organizationalUnit: '',
  },
};

/** By path below the identity: "users.0.name", "addressing.first". */
export type IdentityProblems = Readonly<Record<string, string>>;

export interface ReadIdentity {
  problems: IdentityProblems;
  /** Set when nothing is wrong. */
  options: IdentityOptions | undefined;
}

const words = (text: string): string[] => text.split(/[\s,;]+/).filter((word) => word !== '');
const lines = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
/** A field that was left empty is not asked for. */
const given = <K extends string>(key: K, value: string | null): Partial<Record<K, string>> =>
  value === null || value.trim() === '' ? {} : ({ [key]: value.trim() } as Record<K, string>);

/** Reads the form, by the schema that the server reads it with. */
export function readIdentity(form: IdentityForm, windows: boolean): ReadIdentity {
  const raw = {
    ...(form.policy === null ? {} : { policy: form.policy }),
    deadlineSeconds: form.deadlineSeconds === '' ? Number.NaN : form.deadlineSeconds,
    ...given('domain', form.domain),
    users: form.users.map((user) => ({
      name: user.name.trim(),
      sshKeys: lines(user.sshKeys),
      ...given('passwordHash', user.passwordHash),
      administrator: user.administrator,
    })),
    ...given('timezone', form.timezone),
    ...given('locale', form.locale),
    ...addressingOf(form),
    packages: words(form.packages),
    ...(form.script.trim() === '' ? {} : { firstBootScript: unixLines(form.script) }),
    ...(form.userData.trim() === '' ? {} : { userData: unixLines(form.userData) }),
    agents: form.agents ?? ('found' as const),
    ...(form.clean === null || windows ? {} : { clean: form.clean }),
    ...(windows ? windowsOf(form.windows) : {}),
  };
  const parsed = identityOptionsSchema.safeParse(raw);
  if (parsed.success) return { problems: {}, options: parsed.data };
  const problems: Record<string, string> = {};
  for (const issue of parsed.error.issues) problems[issue.path.map(String).join('.')] ??= wordsFor(issue);
  return { problems, options: undefined };
}

/** Pasted from elsewhere, lines may end as on Windows: an interpreter named `sh\r` is none. */
const unixLines = (text: string): string => text.replaceAll('\r\n', '\n');

function wordsFor(issue: { path: PropertyKey[]; message: string }): string {
  switch (issue.path.map(String).join('.')) {
    case 'deadlineSeconds':
      return 'From 10 seconds to an hour.';
    case 'userData':
      return 'User data has at most 64 KiB.';
    case 'windows.timezone':
      return 'As Windows names it: W. Europe Standard Time.';
    case 'windows.join.user':
      return 'The name of an account, without its domain.';
    case 'windows.join.password':
      return 'The account needs its password.';
    case 'windows.join.domain':
      return 'A domain is labels of letters, digits and dashes with dots between them: corp.example.org.';
    default:
      return issue.message;
  }
}

function addressingOf(form: IdentityForm): object {
  if (form.addressing === 'source') return {};
  if (form.addressing === 'dhcp') return { addressing: { type: 'dhcp' } };
  return {
    addressing: {
      type: 'static',
      first: form.first.trim(),
      ...given('gateway', form.gateway),
      nameservers: words(form.nameservers),
      search: words(form.search),
    },
  };
}

function windowsOf(form: WindowsForm): object {
  const joins = [form.domain, form.joinUser, form.organizationalUnit].some((text) => text.trim() !== '');
  const join = {
    domain: form.domain.trim(),
    user: form.joinUser.trim(),
    password: form.joinPassword ?? '',
    ...given('organizationalUnit', form.organizationalUnit),
  };
  const windows = {
    ...given('computerName', form.computerName),
    ...given('administratorPassword', form.administratorPassword),
    ...given('productKey', form.productKey.toUpperCase()),
    ...given('timezone', form.timezone),
    ...(joins || form.joinPassword !== null ? { join } : {}),
  };
  return Object.keys(windows).length === 0 ? {} : { windows };
}

export interface PromisedAddress {
  name: string;
  /** With prefix length; undefined: it can’t have one, `why` says why. */
  address?: string;
  why?: string;
}

/** The address that each guest would get, in the order of the names. */
export function addressesOf(form: IdentityForm, names: readonly string[]): PromisedAddress[] {
  const parsed = identityOptionsSchema.shape.addressing.safeParse(
    (addressingOf(form) as { addressing?: unknown }).addressing,
  );
  const { data } = parsed;
  if (!parsed.success || data?.type !== 'static') return [];
  return names.map((name, index) => {
    try {
      return { name, address: addressAt(data, index, name) };
    } catch (error) {
      return {
        name,
        why: error instanceof Error && 'publicMessage' in error ? String(error.publicMessage) : 'none',
      };
    }
  });
}

/** One line: what will be different from the source inside each guest. */
export function identityInShort(
  read: ReadIdentity,
  form: IdentityForm,
  many: boolean,
  clean: readonly CleanKind[] = [],
): string {
  const own = `${many ? 'Each gets its' : 'Its'} own name, machine id, SSH host keys and MAC`;
  if (!read.options) return `${own} · something below needs a look`;
  const {
    users,
    timezone,
    locale,
    addressing,
    packages,
    firstBootScript,
    userData,
    windows,
    domain,
    policy,
    agents,
  } = read.options;
  const parts = [
    domain === undefined ? '' : `in ${domain}`,
    addressing?.type === 'static' ? `from ${addressing.first}` : addressing ? 'DHCP' : '',
    users.length === 0 ? '' : counted(users.length, 'user'),
    timezone ?? '',
    locale ?? '',
    packages.length === 0 ? '' : counted(packages.length, 'package'),
    firstBootScript === undefined ? '' : 'first-boot script',
    userData === undefined ? '' : 'user data',
    clean.length === 0 ? '' : `without ${wordsOf(clean)}`,
    agents === 'found' ? '' : `${counted(agents.length, 'agent')} reset`,
    windows === undefined ? '' : windows.join ? `joins ${windows.join.domain}` : 'Windows',
    policy === undefined ? '' : `policy ${policy}`,
  ].filter((part) => part !== '');
  return [own, ...parts].join(' · ');
}

/** Below the identity, the field of a refusal like `options.identity.addressing.first`. */
export function identityAtFault(field: string | undefined): string | undefined {
  return /(?:^|\.)options\.identity\.(.+)$/.exec(field ?? '')?.[1];
}

/** UTF-8 bytes of a text as it is sent. */
export const bytesOf = (text: string): number => new TextEncoder().encode(unixLines(text)).byteLength;
