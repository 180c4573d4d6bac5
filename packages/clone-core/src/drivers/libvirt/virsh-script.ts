/**
 * Several virsh commands in one process: most take less time than its start. virsh splits one argument by `;` itself, as
 * its manual says, goes on after a command that failed, and exits as the last one did.
 */
import { randomUUID } from 'node:crypto';

const PLAIN = /^[A-Za-z0-9_/.,:=@%+-]+$/;

/** The word as virsh's own parser takes it: nothing is special between single quotes. */
export const quoted = (word: string): string =>
  PLAIN.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

export interface Script {
  text: string;
  /** What each command printed and complained of; undefined: virsh ended before it had run all of them. */
  parse(stdout: string, stderr: string): { out: string; complaint: string }[] | undefined;
}

/** Tells the commands' outputs apart by a mark that nothing on the host can know. */
export function scriptOf(commands: readonly (readonly string[])[]): Script {
  const mark = `mark-${randomUUID()}`;
  const text = commands
    .map((words) => `${words.map(quoted).join(' ')}; echo '\n${mark}\n'; echo --err ${mark}`)
    .join('; ');
  return {
    text,
    parse(stdout, stderr) {
      const outs = stdout.split(`\n${mark}\n`);
      const complaints = stderr.split(`error: ${mark}\n`);
      if (outs.length !== commands.length + 1 || complaints.length !== outs.length) return undefined;
      return commands.map((_words, index) => ({
        out: (outs[index] ?? '').trim(),
        complaint: complaints[index] ?? '',
      }));
    },
  };
}

/** Versions before 6.9 do not know `echo --err`; they refuse the whole text before anything of it is run. */
export const isTooOld = (stderr: string): boolean => /doesn't support option --err/.test(stderr);
