/** The shell over SSH. With `local.ts` the only place of the product that reaches a host. */
import { setMaxListeners } from 'node:events';
import { PassThrough } from 'node:stream';
import {
  commandFailed,
  commandTimedOut,
  DEFAULT_TIMEOUT_MS,
  fileError,
  MAX_COLLECTED,
  programMissing,
  reasonOf,
  setprivFailure,
  tooMuchOutput,
} from './failures.ts';
import type { RunOptions, RunResult, Shell } from './shell.ts';
import { splitLines } from './split-lines.ts';
import { SshConnection, type SshTarget } from './ssh-connection.ts';
import { sshFiles } from './ssh-files.ts';
import { begin } from './ssh-process.ts';

export { fingerprintOf, type SshTarget } from './ssh-connection.ts';

/**
 * A shell on another machine, with its host key pinned. With `dieWithParent` a process ends when its SSH session does:
 * at once when the worker is killed; when the network is cut, after the server's ClientAlive time.
 */
export function sshShell(target: SshTarget): Shell {
  const connection = new SshConnection(target);
  const run = (argv: readonly string[], options: RunOptions = {}): Promise<RunResult> =>
    runRemote(connection, argv, options);
  return {
    where: connection.where,
    run,
    lines: (argv, { signal }) => linesRemote(connection, argv, signal),
    dial: (socket) => connection.forward(socket),
    ...sshFiles(run, connection.where),
    close: () => connection.close(),
  };
}

async function runRemote(
  connection: SshConnection,
  argv: readonly string[],
  options: RunOptions,
): Promise<RunResult> {
  const { signal, input, timeoutMs = DEFAULT_TIMEOUT_MS, okCodes = [0], onStdout } = options;
  if (signal?.aborted) throw reasonOf(signal);
  const { channel, stderr, ended, stop } = await begin(connection, argv, options);
  let stoppedBy: Error | undefined;
  const stopBecause = (error: Error): void => {
    stoppedBy ??= error;
    stop();
  };
  const onAbort = (): void => {
    if (signal) stopBecause(reasonOf(signal));
  };
  if (signal?.aborted) onAbort(); // aborted while the connection was made
  // Many commands of one operation run side by side: their listeners are no leak.
  if (signal) setMaxListeners(0, signal);
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer =
    timeoutMs > 0
      ? setTimeout(() => stopBecause(commandTimedOut(argv, connection.where, timeoutMs)), timeoutMs)
      : undefined;
  const out: string[] = [];
  let collected = 0;
  channel.setEncoding('utf8').on('data', (chunk: string) => {
    collected += Buffer.byteLength(chunk);
    if (collected <= MAX_COLLECTED) out.push(chunk);
    else if (!onStdout) stopBecause(tooMuchOutput(argv, connection.where));
    try {
      onStdout?.(chunk);
    } catch (thrown) {
      stopBecause(thrown instanceof Error ? thrown : new Error(String(thrown)));
    }
  });
  channel.end(input);
  try {
    const { code, signal: endedBy } = await ended;
    if (stoppedBy) throw stoppedBy;
    return judge(
      { argv, where: connection.where, code, endedBy, stdout: out.join(''), stderr: stderr.text },
      okCodes,
    );
  } catch (thrown) {
    throw stoppedBy ?? thrown;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    clearTimeout(timer);
  }
}

interface Ended {
  argv: readonly string[];
  where: string;
  code: number | undefined;
  endedBy: string | undefined;
  stdout: string;
  stderr: string;
}

function judge({ argv, where, code, endedBy, stdout, stderr }: Ended, okCodes: readonly number[]): RunResult {
  if (code !== undefined && okCodes.includes(code)) return { code, stdout, stderr };
  const program = argv[0] ?? '';
  if (code === 127 && stderr.includes(`exec: ${program}: not found`)) throw programMissing(program, where);
  if (code === 126 && stderr.includes(`exec: ${program}: Permission denied`))
    throw fileError('EACCES', program, where, undefined);
  const missing = code === 126 || code === 127 ? setprivFailure(stderr, where) : undefined;
  throw missing ?? commandFailed({ argv, where, code, signal: endedBy, stderr });
}

async function* linesRemote(
  connection: SshConnection,
  argv: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<string> {
  if (signal.aborted) return;
  const { channel, stderr, ended, stop } = await begin(connection, argv, { dieWithParent: true, signal });
  channel.end();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  // Leaving the loop destroys the stream it reads; a destroyed channel would never tell that its process ended.
  const output = channel.pipe(new PassThrough());
  channel.on('close', () => output.end());
  let whole = false;
  try {
    yield* splitLines(output, signal, { argv, where: connection.where });
    whole = true;
  } finally {
    signal.removeEventListener('abort', stop);
    const early = !whole || signal.aborted;
    if (early) stop();
    channel.unpipe(output).resume();
    const end = await ended.catch((thrown: unknown) => {
      if (early) return undefined; // it is ended as far as it can be; the reason is already on its way
      throw thrown;
    });
    if (end && !early)
      judge(
        {
          argv,
          where: connection.where,
          code: end.code,
          endedBy: end.signal,
          stdout: '',
          stderr: stderr.text,
        },
        [0],
      );
  }
}
