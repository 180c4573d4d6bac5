/** Serves a disk for reading, as its guest sees it, through `qemu-nbd` on a Unix socket. */
import { setTimeout as sleep } from 'node:timers/promises';
import { OffshootError, toOffshootError } from '../errors.ts';
import type { Shell } from '../shell/shell.ts';
import { openNbd, type NbdReader } from './nbd.ts';
import { stderrOf } from './stderr.ts';

/** qemu-nbd listens within this, milliseconds. */
const READY_MS = 20_000;
const POLL_MS = 20;

/**
 * Runs `use` with a reader of the disk. While it runs, nobody can open the disk for writing (QEMU's own lock), so a
 * guest can't be started on it. Throws `busy` when someone has it open for writing now. The socket is gone afterwards.
 */
export async function withReader<T>(
  shell: Shell,
  disk: { path: string; format: string; socket: string },
  signal: AbortSignal,
  use: (reader: NbdReader) => Promise<T>,
): Promise<T> {
  const { path, format, socket } = disk;
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener('abort', onAbort, { once: true });
  await shell.remove(socket); // of an earlier run that was cut
  let ended: { thrown?: unknown } | undefined;
  const serving = serve(
    shell,
    ['--read-only', '--persistent', `--socket=${socket}`, `--format=${format}`, '--', path],
    stop.signal,
  ).then(
    () => (ended = {}),
    (thrown: unknown) => (ended = { thrown }),
  );
  let reader: NbdReader | undefined;
  try {
    const deadline = performance.now() + READY_MS;
    for (;;) {
      signal.throwIfAborted();
      if (ended) throw meaning(ended.thrown, path);
      if (await shell.stat(socket)) {
        const stream = await shell.dial(socket).catch((thrown: unknown) => {
          // Bound but not listening yet.
          if (performance.now() >= deadline) throw thrown;
          return undefined;
        });
        if (stream) {
          reader = await openNbd(stream);
          break;
        }
      }
      if (performance.now() >= deadline)
        throw new OffshootError('timeout', {
          publicMessage: 'qemu-nbd did not begin to serve the disk.',
          retryable: true,
          context: { path },
        });
      await sleep(POLL_MS);
    }
    return await use(reader);
  } finally {
    signal.removeEventListener('abort', onAbort);
    reader?.close();
    stop.abort();
    await serving;
    await shell.remove(socket);
  }
}

async function serve(shell: Shell, words: readonly string[], signal: AbortSignal): Promise<void> {
  const lines = shell.lines(['qemu-nbd', ...words], { signal })[Symbol.asyncIterator]();
  while (!(await lines.next()).done);
}

function meaning(thrown: unknown, path: string): OffshootError {
  const error = toOffshootError(thrown ?? new Error('qemu-nbd ended'));
  if (!/lock|another process/i.test(stderrOf(error))) return error;
  return new OffshootError('busy', {
    publicMessage: `The disk ${path} is in use, so it can’t be read as it stands still.`,
    remedy: 'Stop the guest that uses it, then try again.',
    retryable: true,
    context: error.context,
    cause: error,
  });
}
