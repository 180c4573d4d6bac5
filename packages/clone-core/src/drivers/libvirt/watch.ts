/** Tells when anything changes on the host, by libvirt's events. */
import { toOffshootError } from '../../errors.ts';
import type { Definitions } from './definitions.ts';
import { pause } from './steps/reporting.ts';
import type { Virsh } from './virsh.ts';

/** First and longest pause before events are asked for again after libvirt went away, milliseconds. */
const BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 15_000;
/** Events that come by themselves and change nothing that is shown. */
const IGNORED =
  /^event '(rtc-change|balloon-change|block-job|block-job-2|migration-iteration|metadata-change)'/;
const RUN_STATE =
  /^event 'lifecycle' for .*: (Started|Stopped|Shutdown|Suspended|Resumed|PMSuspended|Crashed) /;

/** Until the signal aborts; restarts when libvirt goes away, and calls back then too, as events were missed. */
export async function watch(
  virsh: Virsh,
  definitions: Definitions,
  onChange: () => void,
  signal: AbortSignal,
): Promise<void> {
  let backoff = BACKOFF_MS;
  const changed = (guest?: string): void => {
    definitions.changed(guest);
    onChange();
  };
  while (!signal.aborted) {
    try {
      for await (const line of virsh.shell.lines(
        ['virsh', '-q', '-c', virsh.uri, 'event', '--all', '--loop'],
        { signal },
      )) {
        backoff = BACKOFF_MS;
        if (IGNORED.test(line)) continue;
        // Starting and stopping change no definition.
        if (RUN_STATE.test(line)) onChange();
        else changed(/^event '[^']+' for (?:domain )?'?(.+?)'?:/.exec(line)?.[1]);
      }
    } catch (thrown) {
      const error = toOffshootError(thrown);
      if (error.code === 'not-found' || error.code === 'permission') throw error; // no virsh, no right: waiting does not help
    }
    if (signal.aborted) return;
    await pause(backoff, signal).catch(() => undefined); // an abort ends the loop
    backoff = Math.min(backoff * 2, MAX_BACKOFF_MS);
    changed();
  }
}
