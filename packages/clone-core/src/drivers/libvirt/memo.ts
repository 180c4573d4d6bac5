/** Shares one answer among those who ask at the same time or soon after. */

/** A function whose answer is kept for `ms`; a failure is not kept. Callers' signals do not reach the shared work. */
export function memo<T>(
  ms: number,
  read: () => Promise<T>,
): (() => Promise<T>) & {
  forget(): void;
  /** Changes the kept answer, if there is one, by what is known to have happened since. */
  amend(change: (answer: T) => T): void;
} {
  let kept: { at: number; answer: Promise<T> } | undefined;
  const get = (): Promise<T> => {
    const now = performance.now();
    if (kept && now - kept.at < ms) return kept.answer;
    const mine = { at: now, answer: read() };
    kept = mine;
    mine.answer.catch(() => {
      if (kept === mine) kept = undefined;
    });
    return mine.answer;
  };
  return Object.assign(get, {
    forget: () => {
      kept = undefined;
    },
    amend: (change: (answer: T) => T) => {
      if (!kept) return;
      kept = { at: kept.at, answer: kept.answer.then(change) };
      kept.answer.catch(() => undefined); // the first asker has been told
    },
  });
}

/** As `memo`, per key; keys that were not asked for within `ms` are dropped. */
export function memoByKey<T>(ms: number): (key: string, read: () => Promise<T>) => Promise<T> {
  const kept = new Map<string, { at: number; answer: Promise<T> }>();
  return (key, read) => {
    const now = performance.now();
    for (const [each, { at }] of kept) if (now - at >= ms) kept.delete(each);
    const known = kept.get(key);
    if (known) return known.answer;
    const mine = { at: now, answer: read() };
    kept.set(key, mine);
    mine.answer.catch(() => {
      if (kept.get(key) === mine) kept.delete(key);
    });
    return mine.answer;
  };
}
