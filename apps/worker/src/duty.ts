/** One worker per host: on duty while it holds the host's lock, a standby while another does. */
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Db } from '@offshoot/db/client';
import { holdHost } from '@offshoot/db/inventory';
import type { Logger } from 'pino';
import type { Running } from './running.ts';

export interface Duty {
  /** False while another worker serves the host, and while PostgreSQL is away. */
  readonly held: boolean;
  /** Resolves to true once on duty for the first time, or to false when told to stop before that. */
  begun(stop: AbortSignal): Promise<boolean>;
  /** Resolves when the lock was let go, after the abort. */
  ended: Promise<void>;
  /** Aborted, with an OffshootError as its reason, when PostgreSQL refuses this worker's credential. */
  refusal: AbortSignal;
}

/** invalid_authorization_specification and invalid_password (PostgreSQL 18, appendix A). */
const REFUSALS: ReadonlySet<unknown> = new Set(['28000', '28P01']);

/** Takes and keeps the host's lock until the signal aborts. Taken over by another worker: everything running stops, undone by nobody here. */
export function takeDuty(db: Db, hostId: string, running: Running, signal: AbortSignal, log: Logger): Duty {
  let held = false;
  const refusal = new AbortController();
  let first: (() => void) | undefined;
  const begun = new Promise<void>((resolve) => {
    first = resolve;
  });
  const ended = holdHost(
    db,
    hostId,
    {
      onHeld: () => {
        held = true;
        first?.();
      },
      onStandby: () => {
        log.error(`Another worker serves the host ${hostId} already; this one waits as its standby.`);
        running.abortAll(
          new OffshootError('lost-claim', { publicMessage: 'Another worker serves this host now.' }),
        );
      },
      onBroken: (error) => {
        held = false;
        if ('code' in error && REFUSALS.has(error.code)) {
          const refused = new OffshootError('not-allowed', {
            publicMessage: `The portal refuses this worker’s credential for the host ${hostId}: it was revoked, or is wrong.`,
            remedy: 'Join the host again with a new token from the portal’s Hosts page.',
            cause: error,
          });
          running.abortAll(new OffshootError('lost-claim', { publicMessage: refused.publicMessage }));
          refusal.abort(refused);
          return;
        }
        log.warn({ err: error }, 'PostgreSQL does not answer; taking the lock on the host again');
      },
    },
    signal,
  );
  return {
    get held() {
      return held;
    },
    async begun(stop) {
      const stopped = new Promise<boolean>((resolve) => {
        if (stop.aborted) resolve(false);
        stop.addEventListener('abort', () => resolve(false), { once: true });
      });
      return Promise.race([begun.then(() => true), stopped]);
    },
    ended,
    refusal: refusal.signal,
  };
}
