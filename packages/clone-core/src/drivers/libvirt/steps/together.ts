/** Work on several files at a time. */

/** Resolves when all is done. Rejects as the first that failed, but only when none is under way any more: an undo may follow. */
export async function together<T>(work: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(work);
  return Promise.all(work);
}
