/** Next calls this once when the server starts. */
export async function register(): Promise<void> {
  if (process.env['NEXT_RUNTIME'] !== 'nodejs') return;
  const { runNotary } = await import('./server/identity/notary.ts');
  const { runMover } = await import('./server/mover.ts');
  const { renewWorkerAccess } = await import('./server/fleet/renew.ts');
  const { log } = await import('./server/log.ts');
  // For as long as the server runs: nothing waits for them.
  const { signal } = new AbortController();
  runNotary(signal).catch((error: unknown) => log.error({ err: error }, 'certificates can’t be signed'));
  runMover(signal).catch((error: unknown) => log.error({ err: error }, 'clones can’t be moved'));
  renewWorkerAccess().catch((error: unknown) =>
    log.error({ err: error }, 'workers that joined may not be let in'),
  );
}
