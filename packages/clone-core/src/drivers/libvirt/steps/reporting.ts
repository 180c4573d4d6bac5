/** Progress of work that reports by calling back, as the iterable a step yields. */
import type { Progress } from '../../../driver.ts';

/** Yields what `work` reports (the latest of what came meanwhile) until it is done; rejects as it does. */
export async function* reporting(
  work: (report: (progress: Progress) => void) => Promise<void>,
): AsyncGenerator<Progress> {
  let latest: Progress | undefined;
  let wake: () => void = () => undefined;
  let over = false;
  let failed: { thrown: unknown } | undefined;
  const done = work((progress) => {
    latest = progress;
    wake();
  })
    .then(
      () => undefined,
      (thrown: unknown) => {
        failed = { thrown };
      },
    )
    .finally(() => {
      over = true;
      wake();
    });
  try {
    for (;;) {
      if (latest) {
        const progress = latest;
        latest = undefined;
        yield progress;
      } else if (over) break;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    await done; // whoever stops listening must not leave the work running behind
  }
  if (failed) throw failed.thrown;
}

/** Resolves after `ms`, or rejects with the signal's reason at once. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason)));
    };
    if (signal.aborted) {
      reject(signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason)));
      return;
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
