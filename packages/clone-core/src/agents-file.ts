/** What the file says that OFFSHOOT_AGENTS_FILE names: read once, when the process starts. */
import { readFileSync } from 'node:fs';
import { OffshootError } from './errors.ts';

/** Its text; undefined: no file is named. @throws OffshootError `invalid-input` when it can't be read, which ends the start. */
export function agentsFile(path = process.env['OFFSHOOT_AGENTS_FILE']): string | undefined {
  if (path === undefined || path === '') return undefined;
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new OffshootError('invalid-input', {
      publicMessage: `The list of agents can’t be used: OFFSHOOT_AGENTS_FILE (${path}) can’t be read.`,
      remedy: 'Name a file that this process may read, or none.',
      field: 'OFFSHOOT_AGENTS_FILE',
      cause,
    });
  }
}
