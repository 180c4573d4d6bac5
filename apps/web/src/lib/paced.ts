/** Runs `work` for a key at once, and then at most once per `gapMs` however often it is asked for; the last asking is never lost. */
export function paced<K>(
  gapMs: number,
  work: (key: K) => void,
): { ask(name: string, key: K): void; stop(): void } {
  const waiting = new Map<string, { timer: ReturnType<typeof setTimeout>; again: boolean }>();
  const run = (name: string, key: K): void => {
    const timer = setTimeout(() => {
      const entry = waiting.get(name);
      waiting.delete(name);
      if (entry?.again) run(name, key);
    }, gapMs);
    waiting.set(name, { timer, again: false });
    work(key);
  };
  return {
    ask(name, key) {
      const entry = waiting.get(name);
      if (entry) entry.again = true;
      else run(name, key);
    },
    stop() {
      for (const { timer } of waiting.values()) clearTimeout(timer);
      waiting.clear();
    },
  };
}
