/**
 * "Clean on clone": what of a source's past is not in its clone. The same paths are looked for by the template's report. Files
 * that programs expect are emptied, so that owner, mode and label stay; the rest is deleted. Nothing is overwritten.
 */
import type { CleanKind } from './contract.ts';
import type { InsideEdit } from './edits.ts';

const homes = ['/root', '/home/*'];
const inHomes = (names: readonly string[]): string[] =>
  homes.flatMap((home) => names.map((name) => `${home}/${name}`));

/** Patterns as of InsideEdit. */
export const historyFiles: readonly string[] = inHomes([
  '.*history',
  '.lesshst',
  '.viminfo',
  '.local/share/fish/fish_history',
]);
export const authorizedKeyFiles: readonly string[] = inHomes([
  '.ssh/authorized_keys',
  '.ssh/authorized_keys2',
]);
export const secretFiles: readonly string[] = inHomes([
  '.ssh/id_*',
  '.aws/credentials',
  '.azure/accessTokens.json',
  '.azure/msal_token_cache.json',
  '.config/gcloud/credentials.db',
  '.config/gcloud/application_default_credentials.json',
  '.config/rclone/rclone.conf',
  '.config/gh/hosts.yml',
  '.kube/config',
  '.docker/config.json',
  '.git-credentials',
  '.netrc',
  '.pgpass',
  '.my.cnf',
  '.npmrc',
  '.pypirc',
  '.vault-token',
  '.gnupg/private-keys-v1.d/*',
]);
/** The journal is in folders of machine ids. What is packed was rotated away: nobody writes to it. */
const oldLogs = [
  '/var/log/journal/*',
  ...['gz', 'xz', 'bz2', 'zst'].flatMap((end) => [`/var/log/*.${end}`, `/var/log/*/*.${end}`]),
];
const logs = ['/var/log/*', '/var/log/*/*', '/var/log/*/*/*', '/var/log/*/*/*/*'];

interface Cleaning {
  remove?: readonly string[];
  empty?: readonly string[];
  /** systemd unit that holds files open which were deleted. */
  restart?: string;
}
const cleanings: Readonly<Record<CleanKind, Cleaning>> = {
  logs: { remove: oldLogs, empty: logs, restart: 'systemd-journald' },
  // Emptied: a link to /dev/null stays one.
  'shell-history': { empty: historyFiles },
  'authorized-keys': { empty: authorizedKeyFiles },
  secrets: { remove: secretFiles },
};

/** As edits of the disks of a guest that stands still. They come before those that give it users and their keys. */
export function cleanEdits(kinds: readonly CleanKind[]): InsideEdit[] {
  return kinds.flatMap((kind) => {
    const { remove = [], empty = [] } = cleanings[kind];
    return [
      ...remove.map((pattern): InsideEdit => ({ type: 'remove', pattern })),
      ...empty.map((pattern): InsideEdit => ({ type: 'empty', pattern })),
    ];
  });
}

/** As words for the scripts that run inside. Only for once, before its users get their keys. */
export function cleanWords(kinds: readonly CleanKind[]): string[] {
  return kinds.flatMap((kind) => {
    const { remove = [], empty = [], restart } = cleanings[kind];
    return [
      ...remove.map((pattern) => `remove=${pattern}`),
      ...empty.map((pattern) => `empty=${pattern}`),
      ...(restart === undefined ? [] : [`restart=${restart}`]),
    ];
  });
}
