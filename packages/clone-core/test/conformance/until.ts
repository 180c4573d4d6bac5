/** What tests of several packages' parts need: waiting for an event, and catching an OffshootError. */
import { readFileSync } from 'node:fs';
import { OffshootError } from '../../src/errors.ts';

/** Resolves once `condition` holds; throws when it does not within `ms`. For what gives no event to await. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  ms = 10_000,
): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Whether a process runs (one that ended but was not yet reaped does not). */
export function alive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && (thrown.code === 'ENOENT' || thrown.code === 'ESRCH'))
      return false;
    throw thrown;
  }
}

/** The OffshootError a promise rejects with; anything else fails the test. */
export async function failure(promise: Promise<unknown>): Promise<OffshootError> {
  try {
    await promise;
  } catch (thrown) {
    if (thrown instanceof OffshootError) return thrown;
    throw thrown;
  }
  throw new Error('it was expected to fail, and did not');
}
