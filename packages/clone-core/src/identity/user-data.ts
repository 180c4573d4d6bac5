/** cloud-init user data that a user brings: read, refused or merged with ours. */
import { LineCounter, parseDocument, stringify } from 'yaml';
import { OffshootError } from '../errors.ts';

const FIELD = 'options.identity.userData';

export type CloudConfig = Record<string, unknown>;

/** PyYAML, which cloud-init reads with, knows YAML 1.1: there `yes` is true and `010` is eight. */
const YAML_VERSION = '1.1';
/** Aliases may make a small text expand to gigabytes. */
const MAX_ALIASES = 100;

/**
 * Reads user data as cloud-config. Throws `invalid-input`, field `options.identity.userData`, for what is no YAML mapping, and
 * for passwords in clear and private keys: what is asked for is stored. No word of the text is in the error.
 */
export function readUserData(text: string): CloudConfig {
  const begin = text.trimStart();
  const other = otherKind(begin);
  if (other !== undefined) throw refuse(`The user data is ${other}, not cloud-config.`);
  const lines = new LineCounter();
  const document = parseDocument(text, {
    version: YAML_VERSION,
    prettyErrors: false,
    lineCounter: lines,
    uniqueKeys: true,
  });
  const [wrong] = [...document.errors, ...document.warnings];
  if (wrong) {
    const { line, col } = lines.linePos(wrong.pos[0]);
    throw refuse(`The user data is no YAML that cloud-init can read: line ${line}, column ${col}.`, {
      code: wrong.code,
    });
  }
  const value = toPlain(document);
  if (value === null || value === undefined) return {};
  if (!isMapping(value))
    throw refuse(
      'The user data is YAML, but no mapping of settings: it is a ' +
        (Array.isArray(value) ? 'list.' : 'single value.'),
    );
  const secret = secretIn(value);
  if (secret !== undefined)
    throw new OffshootError('invalid-input', {
      publicMessage: `The user data holds ${secret}, and user data is stored as it is.`,
      remedy: 'Give users their passwords and keys under Users; host keys are made new in every guest.',
      field: FIELD,
    });
  return value;
}

function otherKind(begin: string): string | undefined {
  if (begin.startsWith('#!')) return 'a script';
  if (/^(content-type:|mime-version:|from )/i.test(begin)) return 'a MIME message';
  if (begin.startsWith('## template:')) return 'a template';
  const [, kind] =
    /^#(include-once|include|cloud-boothook|upstart-job|part-handler|cloud-config-archive|cloud-config-jsonp)\b/.exec(
      begin,
    ) ?? [];
  return kind === undefined ? undefined : `#${kind}`;
}

function refuse(publicMessage: string, context: Record<string, unknown> = {}): OffshootError {
  return new OffshootError('invalid-input', {
    publicMessage,
    remedy:
      'Write cloud-config: settings as in “packages: [vim]”, one below the other. A script goes under first-boot script.',
    field: FIELD,
    context,
  });
}

function toPlain(document: ReturnType<typeof parseDocument>): unknown {
  try {
    const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
    // Throws for what holds itself.
    JSON.stringify(value);
    return value;
  } catch {
    // The library throws for too many aliases, and for aliases of nothing.
    throw refuse('The user data repeats itself by aliases more than is allowed here.');
  }
}

export const isMapping = (value: unknown): value is CloudConfig =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What may not be stored, in words; undefined: nothing of the kind. */
function secretIn(config: CloudConfig): string | undefined {
  const lists = (value: unknown): CloudConfig[] => (Array.isArray(value) ? value.filter(isMapping) : []);
  if (config.ssh_keys !== undefined) return 'private SSH host keys, which all guests would share';
  if (config.password !== undefined) return 'a password in clear (password)';
  const chpasswd = isMapping(config.chpasswd) ? config.chpasswd : {};
  if (chpasswd.list !== undefined) return 'passwords (chpasswd: list)';
  if (lists(chpasswd.users).some((user) => user.password !== undefined && user.type !== 'hash'))
    return 'a password in clear (chpasswd: users)';
  // Of users, of the default user, of a list that is a mapping; cloud-init takes dashes for underscores. A key, not a word of a text.
  const text = JSON.stringify(config);
  if (/"plain[_-]text[_-]passwd":/.test(text)) return 'a password in clear (plain_text_passwd)';
  return /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/.test(text) ? 'a private key' : undefined;
}

/**
 * Ours, with theirs added: mappings are merged key by key, lists are ours followed by theirs, and where both say one thing ours
 * holds.
 */
export function mergeConfig(ours: CloudConfig, theirs: CloudConfig): CloudConfig {
  const merged: CloudConfig = { ...ours };
  for (const [key, value] of Object.entries(theirs)) {
    const own = Object.hasOwn(ours, key) ? ours[key] : undefined;
    if (own === undefined) merged[key] = value;
    else if (Array.isArray(own) && Array.isArray(value)) merged[key] = [...own, ...value];
    else if (isMapping(own) && isMapping(value)) merged[key] = mergeConfig(own, value);
  }
  return merged;
}

/** The text of a cloud-config. */
export const writeConfig = (config: CloudConfig): string =>
  `#cloud-config\n${stringify(config, { version: YAML_VERSION, lineWidth: 0 })}`;

/** YAML as cloud-init reads it. */
export const writeYaml = (value: unknown): string =>
  stringify(value, { version: YAML_VERSION, lineWidth: 0 });
