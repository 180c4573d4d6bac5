import { OffshootError } from '../errors.ts';

/** What a failed command wrote to standard error; empty for other errors. */
export function stderrOf(thrown: unknown): string {
  if (!(thrown instanceof OffshootError)) return '';
  const said = thrown.context['stderr'];
  return typeof said === 'string' ? said : '';
}
