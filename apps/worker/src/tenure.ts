/**
 * How long a worker may believe that an operation is its own. A claim that was not confirmed for its whole life may be
 * another worker's by now, also when this one only slept (stopped, swapped out, its machine suspended): it then wakes in
 * the middle of a step, and what it does next would hit what the other one is making.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { OffshootError } from '@offshoot/clone-core/errors';
import type { Shell } from '@offshoot/clone-core/shell';
import { CLAIM_EXPIRES_SECONDS } from '@offshoot/db/operations';

/** A second less than the claim lives in the database: clocks and the way there differ. */
const TRUSTED_MS = (CLAIM_EXPIRES_SECONDS - 1) * 1000;

/** Neither clock alone will do. */
export interface Instant {
  /** Milliseconds; stands still while the machine sleeps. */
  steady: number;
  /** Milliseconds; may be set back. */
  wall: number;
}

/** The time for which one claim is known to be held. */
export class Tenure {
  static readonly now = (): Instant => ({ steady: performance.now(), wall: Date.now() });

  private ended: OffshootError | undefined;
  private wake: (() => void)[] = [];

  constructor(private confirmedAt: Instant = Tenure.now()) {}

  confirm(askedAt: Instant): void {
    if (askedAt.steady > this.confirmedAt.steady) this.confirmedAt = askedAt;
    this.tell();
  }

  end(reason: OffshootError): void {
    this.ended ??= reason;
    this.tell();
  }

  /** Resolves when the claim is known to be held; at once, normally. Rejects with why it is not. */
  async assured(): Promise<void> {
    while (this.ended === undefined && !this.isFresh()) {
      await new Promise<void>((resolve) => this.wake.push(resolve));
    }
    if (this.ended !== undefined) throw this.ended;
  }

  private isFresh(): boolean {
    const now = Tenure.now();
    const age = Math.max(now.steady - this.confirmedAt.steady, now.wall - this.confirmedAt.wall);
    return age < TRUSTED_MS;
  }

  private tell(): void {
    for (const wake of this.wake.splice(0)) wake();
  }
}

const current = new AsyncLocalStorage<Tenure>();

/** Whatever `work` does through a shell of `fenced`, it does only while the tenure lasts. */
export const during = <T>(tenure: Tenure, work: () => Promise<T>): Promise<T> => current.run(tenure, work);

/** The shell, which changes nothing on its host for an operation that may be another worker's. Reads pass. */
export function fenced(shell: Shell): Shell {
  const assured = async (): Promise<void> => current.getStore()?.assured();
  return {
    ...shell,
    async run(argv, options) {
      await assured();
      return shell.run(argv, options);
    },
    async writeFile(path, content, mode) {
      await assured();
      return shell.writeFile(path, content, mode);
    },
    async mkdir(path) {
      await assured();
      return shell.mkdir(path);
    },
    async rename(from, to) {
      await assured();
      return shell.rename(from, to);
    },
    async remove(path) {
      await assured();
      return shell.remove(path);
    },
    async sync(path) {
      await assured();
      return shell.sync(path);
    },
    async chmod(path, mode) {
      await assured();
      return shell.chmod(path, mode);
    },
  };
}
