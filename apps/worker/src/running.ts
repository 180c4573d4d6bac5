import type { OffshootError } from '@offshoot/clone-core/errors';
import type { Claim } from '@offshoot/db/operations';

/** The operations that this worker is performing, and how to stop one. */
export class Running {
  private readonly held = new Map<string, { claim: Claim; controller: AbortController }>();

  has(operationId: string): boolean {
    return this.held.has(operationId);
  }

  add(claim: Claim): AbortSignal {
    const controller = new AbortController();
    this.held.set(claim.operationId, { claim, controller });
    return controller.signal;
  }

  remove(operationId: string): void {
    this.held.delete(operationId);
  }

  /** Aborts one with a reason; nothing happens when it is not here. */
  abort(operationId: string, reason: OffshootError): void {
    this.held.get(operationId)?.controller.abort(reason);
  }

  abortAll(reason: OffshootError): void {
    for (const { controller } of this.held.values()) controller.abort(reason);
  }

  claims(): Claim[] {
    return [...this.held.values()].map(({ claim }) => claim);
  }
}
