/** The shell over SSH. With `local.ts` the only place of the product that reaches a host. */
import { randomBytes } from 'node:crypto';
import { PassThrough } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { OffshootError } from '../errors.ts';
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
import type { RunOptions, RunResult, Shell } from './shell.ts';
import { splitLines } from './split-lines.ts';
import { SshConnection, type SshTarget } from './ssh-connection.ts';
import { sshFiles } from './ssh-files.ts';
import { killCommand, parseAnnouncement, remoteCommand, type RemoteProcess } from './ssh-quote.ts';

export { fingerprintOf, type SshTarget } from './ssh-connection.ts';

/** A remote process that neither announces itself nor ends within this time is given up on, milliseconds. */
const GIVE_UP_MS = 5000;

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
    ...sshFiles(run, connection.where),
    close: () => connection.close(),
  };
}

interface Remote {
  channel: ClientChannel;
  stderr: Tail;
  /** Rejects with `host-unreachable` when the connection ends before the process. */
  ended: Promise<{ code: number | undefined; signal: string | undefined }>;
  /** TERM, grace, KILL to exactly that remote process. */
  stop: () => void;
}

async function begin(
  connection: SshConnection,
  argv: readonly string[],
  options: Pick<RunOptions, 'env' | 'dieWithParent' | 'signal'>,
): Promise<Remote> {
  checkArgv(argv);
  const marker = `offshoot-${randomBytes(8).toString('hex')}`;
  const whole = options.dieWithParent ? ['setpriv', '--pdeathsig', 'KILL', '--', ...argv] : argv;
  const giveBack = await connection.place(options.signal);
  try {
    const command = remoteCommand(whole, marker, options.env);
    return await connection.exec(command, (channel) =>
      attend(connection, channel, { argv, marker, giveBack }),
    );
  } catch (thrown) {
    giveBack();
    throw thrown;
  }
}

/** Listens to a channel that just opened, and knows how to end its process. */
function attend(
  connection: SshConnection,
  channel: ClientChannel,
  { argv, marker, giveBack }: { argv: readonly string[]; marker: string; giveBack: () => void },
): Remote {
  const stderr = new Tail();
  const announced = announcement(channel, marker, stderr);
  let exit: { code: number | undefined; signal: string | undefined } | undefined;
  let stopping = false;
  const timers: NodeJS.Timeout[] = [];
  channel.on('exit', (code: number | null, signal?: string) => {
    exit = { code: code ?? undefined, signal: signal?.replace(/^SIG/, '') };
    if (stopping) channel.close(); // a grandchild may hold the pipes
  });
  channel.on('error', (error: Error) => stderr.add(`${error.message}\n`)); // 'close' follows and decides
  const ended = new Promise<{ code: number | undefined; signal: string | undefined }>((resolve, reject) => {
    channel.on('close', () => {
      timers.forEach((timer) => clearTimeout(timer));
      giveBack();
      if (exit) resolve(exit);
      else reject(droppedWhile(argv, connection, stderr.text));
    });
  });
  ended.catch(() => undefined); // whoever began it awaits it; until then a drop must not count as unhandled
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    if (exit) channel.close();
    timers.push(setTimeout(() => channel.close(), GRACE_MS + GIVE_UP_MS));
    void endProcess(connection, announced, timers, () => exit !== undefined).catch((error: unknown) => {
      stderr.add(`ending it failed: ${String(error)}\n`);
      channel.close();
    });
  };
  return { channel, stderr, ended, stop };
}

/** Reads the process from the first line of stderr; everything else of stderr goes into `rest`. */
function announcement(channel: ClientChannel, marker: string, rest: Tail): Promise<RemoteProcess> {
  return new Promise((resolve) => {
    let head: string | undefined = '';
    channel.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      if (head === undefined) {
        rest.add(chunk);
        return;
      }
      head += chunk;
      for (let end = head.indexOf('\n'); end >= 0 && head !== undefined; end = head.indexOf('\n')) {
        const line: string = head.slice(0, end);
        const found = parseAnnouncement(line, marker);
        const after: string = head.slice(end + 1);
        if (found) {
          resolve(found);
          rest.add(after);
          head = undefined;
          return;
        }
        rest.add(`${line}\n`); // a login script's words
        head = after;
      }
    });
  });
}

async function endProcess(
  connection: SshConnection,
  announced: Promise<RemoteProcess>,
  timers: NodeJS.Timeout[],
  isOver: () => boolean,
): Promise<void> {
  const remote = await announced;
  if (isOver()) return;
  await signalProcess(connection, killCommand(remote, 'TERM'));
  await new Promise<void>((resolve) => timers.push(setTimeout(resolve, GRACE_MS)));
  if (!isOver()) await signalProcess(connection, killCommand(remote, 'KILL'));
}

/** Past the places for commands: ending one must not wait for others. */
async function signalProcess(connection: SshConnection, command: string): Promise<void> {
  const done = await connection.exec(command, (channel) => ({
    closed: new Promise<void>((resolve) => {
      channel.on('close', () => resolve());
      channel.resume();
      channel.stderr.resume();
    }),
  }));
  await done.closed;
}

function droppedWhile(argv: readonly string[], connection: SshConnection, stderr: string): OffshootError {
  return new OffshootError('host-unreachable', {
    publicMessage: `The connection to ${connection.where} was lost while ${argv[0] ?? 'a command'} ran there.`,
    remedy: 'Check the network and the host; the operation goes on or is undone when it is back.',
    retryable: true,
    context: { argv: [...argv], stderr },
  });
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
