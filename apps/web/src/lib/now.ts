'use client';

import { useSyncExternalStore } from 'react';

/** One clock for the whole tab: however many times are on a page, one timer ticks. */
const listeners = new Set<() => void>();
let now = 0;
let timer: ReturnType<typeof setInterval> | undefined;

function tick(): void {
  now = Date.now();
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(tick, 1000);
  if (now === 0) queueMicrotask(tick);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0 && timer !== undefined) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** The time, renewed every second; undefined while rendering on the server, whose clock is another. */
export const useNow = (): number | undefined =>
  useSyncExternalStore(
    subscribe,
    () => now || undefined,
    () => undefined,
  );
