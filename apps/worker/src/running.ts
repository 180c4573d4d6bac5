import type { OffshootError } from '@offshoot/clone-core/errors';
import type { Claim } from '@offshoot/db/operations';
import { Tenure, type Instant } from './tenure.ts';

/** The operations that this worker is performing, and how to stop one. */
export class Running {
  private readonly held = new Map<string, { claim: Claim; controller: AbortController; tenure: Tenure }>();

  has(operationId: string): boolean {
    return this.held.has(operationId);
  }

  /** `tenure`: begun before the claim was asked for. */
  add(claim: Claim, tenure: Tenure = new Tenure()): AbortSignal {
    const controller = new AbortController();
    this.held.set(claim.operationId, { claim, controller, tenure });
    return controller.signal;
  }

  remove(operationId: string): void {
    this.held.delete(operationId);
  }

  /** Aborts one with a reason; nothing happens when it is not here. */
  abort(operationId: string, reason: OffshootError): void {
    const found = this.held.get(operationId);
    if (reason.code !== 'cancelled') found?.tenure.end(reason);
    found?.controller.abort(reason);
  }

  abortAll(reason: OffshootError): void {
    for (const operationId of this.held.keys()) this.abort(operationId, reason);
  }

  /** PostgreSQL said that the claim was still this worker's when it was asked, or later. */
  confirm(operationId: string, askedAt: Instant): void {
    this.held.get(operationId)?.tenure.confirm(askedAt);
  }

  claims(): Claim[] {
    return [...this.held.values()].map(({ claim }) => claim);
  }
}
