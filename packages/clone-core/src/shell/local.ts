/** The local shell: runs argv on this machine. With `ssh.ts` the only place of the product that spawns. */
import { spawn, type ChildProcess } from 'node:child_process';
import { setMaxListeners } from 'node:events';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  checkArgv,
  commandFailed,
  commandTimedOut,
  DEFAULT_TIMEOUT_MS,
  fileError,
  GRACE_MS,
  MAX_COLLECTED,
  programMissing,
  reasonOf,
  setprivFailure,
  Tail,
  tooMuchOutput,
} from './failures.ts';
import { localFiles } from './local-files.ts';
import type { RunOptions, RunResult, Shell } from './shell.ts';
import { splitLines } from './split-lines.ts';

const WHERE = 'this machine';
/** A process that KILL does not end within this time (it hangs in the kernel) is given up on, milliseconds. */
const UNKILLABLE_MS = 5000;
/** The worker's own secrets (DATABASE_URL, …) are no business of the programs it runs. */
const PASSED_ON = /^(PATH|HOME|USER|LOGNAME|TMPDIR|TZ|XDG_.*|LIBVIRT_.*|VIRSH_.*|LIBGUESTFS_.*)$/;

/** A shell on this machine. Holds nothing open between calls. */
export function localShell(): Shell {
  return { ...localFiles(), run, lines, dial, close: () => Promise.resolve() };
}

function environment(added: RunOptions['env']): NodeJS.ProcessEnv {
  const passed = Object.entries(process.env).filter(([name]) => PASSED_ON.test(name));
  return { ...Object.fromEntries(passed), LC_ALL: 'C', ...added };
}

/**
 * `setpriv` becomes the program (same pid), so signals reach the program itself. The kernel sends its KILL when the
 * thread that spawned ends: spawn from a thread that lives as long as the worker.
 */
function withParent(argv: readonly string[], dieWithParent: boolean): readonly string[] {
  return dieWithParent ? ['setpriv', '--pdeathsig', 'KILL', '--', ...argv] : argv;
}

interface Running {
  child: ChildProcess;
  /** Resolves once the process is gone and its output is read. Rejects when it could not be started. */
  ended: Promise<{ code: number | undefined; signal: string | undefined }>;
  /** TERM, grace, KILL: to exactly this process. */
  stop: () => void;
}

function start(
  argv: readonly string[],
  options: { hasInput: boolean; dieWithParent: boolean; env?: RunOptions['env'] },
): Running {
  checkArgv(argv);
  const [program = '', ...rest] = withParent(argv, options.dieWithParent);
  const child = spawn(program, rest, {
    stdio: [options.hasInput ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    env: environment(options.env),
  });
  const timers: NodeJS.Timeout[] = [];
  let giveUp: (error: Error) => void = () => undefined;
  let stopping = false;
  const closeStreams = (): void => {
    child.stdout?.destroy();
    child.stderr?.destroy();
  };
  const ended = new Promise<{ code: number | undefined; signal: string | undefined }>((resolve, reject) => {
    giveUp = reject;
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (child.pid !== undefined) return; // a signal that could not be delivered; 'close' still comes
      if (error.code === 'ENOENT') reject(programMissing(program, WHERE));
      else reject(fileError(error.code ?? '', program, WHERE, error));
    });
    child.on('close', (code, signal) => resolve({ code: code ?? undefined, signal: signal ?? undefined }));
  }).finally(() => timers.forEach((timer) => clearTimeout(timer)));
  child.on('exit', () => {
    // A grandchild may hold the pipes; whoever stopped the process does not wait for it.
    if (stopping) closeStreams();
  });
  const stop = (): void => {
    if (stopping || child.pid === undefined) return;
    stopping = true;
    if (child.exitCode !== null || child.signalCode !== null) {
      closeStreams();
      return;
    }
    child.kill('SIGTERM');
    timers.push(
      setTimeout(() => child.kill('SIGKILL'), GRACE_MS),
      setTimeout(() => {
        closeStreams();
        giveUp(
          commandFailed({
            argv,
            where: WHERE,
            signal: 'KILL, but does not end',
            stderr: `pid ${child.pid ?? '?'}`,
          }),
        );
      }, GRACE_MS + UNKILLABLE_MS),
    );
  };
  return { child, ended, stop };
}

async function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { signal, input, timeoutMs = DEFAULT_TIMEOUT_MS, okCodes = [0], onStdout } = options;
  if (signal?.aborted) throw reasonOf(signal);
  const { child, ended, stop } = start(argv, {
    hasInput: input !== undefined,
    dieWithParent: options.dieWithParent ?? false,
    env: options.env,
  });
  let stoppedBy: Error | undefined;
  const stopBecause = (error: Error): void => {
    stoppedBy ??= error;
    stop();
  };
  const onAbort = (): void => {
    if (signal) stopBecause(reasonOf(signal));
  };
  // Many commands of one operation run side by side: their listeners are no leak.
  if (signal) setMaxListeners(0, signal);
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer =
    timeoutMs > 0
      ? setTimeout(() => stopBecause(commandTimedOut(argv, WHERE, timeoutMs)), timeoutMs)
      : undefined;
  const out: string[] = [];
  const err = new Tail();
  let collected = 0;
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    collected += Buffer.byteLength(chunk);
    if (collected <= MAX_COLLECTED) out.push(chunk);
    // Cut output that a caller takes for whole would be worse than an error; one that listens has seen it all.
    else if (!onStdout) stopBecause(tooMuchOutput(argv, WHERE));
    try {
      onStdout?.(chunk);
    } catch (thrown) {
      stopBecause(thrown instanceof Error ? thrown : new Error(String(thrown)));
    }
  });
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => err.add(chunk));
  if (input !== undefined) feed(child, input);
  try {
    const { code, signal: endedBy } = await ended;
    if (stoppedBy) throw stoppedBy;
    return judge({ argv, code, endedBy, stdout: out.join(''), stderr: err.text }, okCodes);
  } finally {
    signal?.removeEventListener('abort', onAbort);
    clearTimeout(timer);
  }
}

function feed(child: ChildProcess, input: string | Buffer): void {
  child.stdin?.on('error', (error: NodeJS.ErrnoException) => {
    // A program may end without reading its input: its exit code says whether that was all right.
    if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED')
      child.stderr?.emit('data', `stdin: ${error.message}\n`);
  });
  child.stdin?.end(input);
}

interface Ended {
  argv: readonly string[];
  code: number | undefined;
  endedBy: string | undefined;
  stdout: string;
  stderr: string;
}

function judge({ argv, code, endedBy, stdout, stderr }: Ended, okCodes: readonly number[]): RunResult {
  if (code !== undefined && okCodes.includes(code)) return { code, stdout, stderr };
  const missing = code === 126 || code === 127 ? setprivFailure(stderr, WHERE) : undefined;
  throw missing ?? commandFailed({ argv, where: WHERE, code, signal: endedBy, stderr });
}

/**
 * Lines of a long-running program, which dies with the worker. An abort ends the iteration quietly; a program that
 * ends by itself with another exit code than 0 makes it throw `command-failed`.
 */
async function* lines(argv: readonly string[], { signal }: { signal: AbortSignal }): AsyncGenerator<string> {
  if (signal.aborted) return;
  const { child, ended, stop } = start(argv, { hasInput: false, dieWithParent: true });
  ended.catch(() => undefined); // awaited below; until then a failed start must not count as unhandled
  const err = new Tail();
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => err.add(chunk));
  signal.addEventListener('abort', stop, { once: true });
  let whole = false;
  try {
    if (child.stdout) yield* splitLines(child.stdout, signal, { argv, where: WHERE });
    whole = true;
  } finally {
    signal.removeEventListener('abort', stop);
    if (!whole || signal.aborted) stop();
    const end = await ended;
    if (whole && !signal.aborted)
      judge({ argv, code: end.code, endedBy: end.signal, stdout: '', stderr: err.text }, [0]);
  }
}

function dial(socket: string): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const stream = connect({ path: socket });
    stream.once('connect', () => {
      stream.removeAllListeners('error');
      resolve(stream);
    });
    stream.once('error', (error: NodeJS.ErrnoException) =>
      reject(fileError(error.code ?? '', socket, WHERE, error)),
    );
  });
}
