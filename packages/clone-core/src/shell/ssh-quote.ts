import { OffshootError } from '../errors.ts';

/**
 * One word for a POSIX shell: SSH carries a command as one string that the user's login shell parses. Inside single
 * quotes nothing is special to it but the single quote itself.
 */
export const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Tells which process it becomes (its pid and the fields of /proc/<pid>/stat after the name, see proc(5)) on the first
 * line of standard error, after `$0`, a word only the caller knows; then becomes the program.
 */
const ANNOUNCE = `IFS= read -r offshoot_s </proc/$$/stat; printf '%s %s %s\\n' "$0" "$$" "\${offshoot_s##*) }" >&2; unset offshoot_s; exec "$@"`;

/** The command string that runs argv remotely, after it announced its process with `marker`. */
export function remoteCommand(
  argv: readonly string[],
  marker: string,
  env: Readonly<Record<string, string>> = {},
): string {
  const assignments = Object.entries({ LC_ALL: 'C', ...env }).map(([name, value]) => {
    if (ENV_NAME.test(name)) return `${name}=${value}`;
    throw new OffshootError('invalid-input', {
      publicMessage: 'That is no name of an environment variable.',
      context: { name },
    });
  });
  return ['exec', ...['env', ...assignments, 'sh', '-c', ANNOUNCE, marker, ...argv].map(quote)].join(' ');
}

/** A remote process, told apart from a later one with the same pid by its start time (clock ticks since boot). */
export interface RemoteProcess {
  pid: number;
  startTime: string;
}

/** Reads the announcement; undefined when the line is something else. Start time is field 22 of /proc/<pid>/stat. */
export function parseAnnouncement(line: string, marker: string): RemoteProcess | undefined {
  if (!line.startsWith(`${marker} `)) return undefined;
  const [pid = '', ...fields] = line.slice(marker.length + 1).split(' ');
  const startTime = fields[22 - 3];
  return /^\d+$/.test(pid) && startTime !== undefined ? { pid: Number(pid), startTime } : undefined;
}

/** Signals exactly that process, if it is still the same one. */
export const killCommand = ({ pid, startTime }: RemoteProcess, signal: 'TERM' | 'KILL'): string => {
  const script = `{ IFS= read -r s </proc/$1/stat; } 2>/dev/null || exit 0; set -- "$@" \${s##*) }; [ "\${23}" = "$3" ] || exit 0; kill -"$2" "$1"`;
  return ['exec', ...['sh', '-c', script, 'sh', String(pid), signal, startTime].map(quote)].join(' ');
};
