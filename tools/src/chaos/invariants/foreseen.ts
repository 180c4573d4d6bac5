/** Failures that are answers: what was asked for could not be done as things were, without any fault. */
import type { ErrorCode, PublicError } from '@offshoot/clone-core/contract';
import type { OperationRow } from '@offshoot/db/types';

/** By kind of operation: the code, and what its message must tell. */
const answers: Readonly<Partial<Record<string, readonly [code: ErrorCode, said: RegExp][]>>> = {
  // What a clone was made of may be gone since (sources of one round go with it), or run.
  verify: [
    ['source-missing', /./],
    ['unavailable-mode', /./],
  ],
  refresh: [
    ['busy', /only while it is stopped|was started meanwhile/],
    ['in-use', /snapshot/],
    ['source-missing', /./],
    ['not-found', /./],
  ],
  restore: [
    ['busy', /only while it is stopped|was started meanwhile/],
    ['in-use', /snapshot/],
    // The state that was chosen went with a refresh that was asked for before.
    ['not-found', /not there any more|no earlier state/],
    ['invalid-input', /has now/],
  ],
  reset: [['in-use', /snapshot/]],
  promote: [
    ['in-use', /snapshot/],
    ['busy', /only while it is stopped|was started meanwhile/],
  ],
  snapshot: [['unavailable-mode', /record of changes/]],
  revert: [
    ['unavailable-mode', /record of changes/],
    ['not-found', /snapshot/],
  ],
  'remove-snapshot': [['not-found', /snapshot/]],
};

/** `excused`: what the round's faults account for. */
export function isForeseen(row: OperationRow, error: PublicError, excused: ReadonlySet<ErrorCode>): boolean {
  const { options } = row.request as unknown as { options?: { ownChanges?: string } };
  if (row.kind === 'refresh' && error.code === 'would-lose') return options?.ownChanges === 'refuse';
  // An agent that libvirt lost for a moment is no way to an identity.
  if (error.code === 'unavailable-mode' && /agent does not answer/.test(error.message))
    return excused.has('agent-silent');
  return answers[row.kind]?.some(([code, said]) => code === error.code && said.test(error.message)) ?? false;
}
