/** One remote process: how it begins, what it says of itself, and how exactly it is ended. */
import { randomBytes } from 'node:crypto';
import type { ClientChannel } from 'ssh2';
import { OffshootError } from '../errors.ts';
import { checkArgv, GRACE_MS, Tail } from './failures.ts';
import type { RunOptions } from './shell.ts';
import type { SshConnection } from './ssh-connection.ts';
import { killCommand, parseAnnouncement, remoteCommand, type RemoteProcess } from './ssh-quote.ts';

/** A remote process that neither announces itself nor ends within this time is given up on, milliseconds. */
const GIVE_UP_MS = 5000;

export interface Remote {
  channel: ClientChannel;
  stderr: Tail;
  /** Rejects with `host-unreachable` when the connection ends before the process. */
  ended: Promise<{ code: number | undefined; signal: string | undefined }>;
  /** TERM, grace, KILL to exactly that remote process. */
  stop: () => void;
}

/** Begins argv remotely. Throws what `SshConnection.exec` throws, and the signal’s reason while it waits for its turn. */
export async function begin(
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
  let settle: () => void = () => undefined;
  const ended = new Promise<{ code: number | undefined; signal: string | undefined }>((resolve, reject) => {
    let settled = false;
    settle = () => {
      if (settled) return;
      settled = true;
      timers.forEach((timer) => clearTimeout(timer));
      giveBack();
      if (exit) resolve(exit);
      else reject(droppedWhile(argv, connection, stderr.text));
    };
    channel.on('close', settle);
  });
  ended.catch(() => undefined); // whoever began it awaits it; until then a drop must not count as unhandled
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    if (exit) channel.close();
    const giveUp = (): void => {
      channel.close();
      settle(); // sshd answers a close only when the process has ended, which this one may never do
    };
    timers.push(setTimeout(giveUp, GRACE_MS + GIVE_UP_MS));
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

/** The last signal on its way over each connection. */
const signalling = new WeakMap<SshConnection, Promise<void>>();

/**
 * Past the places for commands: ending one must not wait for others. One after another: sshd refuses more than ten
 * channels of one connection (MaxSessions), and a refused signal would leave its process running.
 */
function signalProcess(connection: SshConnection, command: string): Promise<void> {
  const before = signalling.get(connection) ?? Promise.resolve();
  const mine = before.then(() => sendSignal(connection, command));
  // The next one goes its way whatever became of this one; whoever asked for this one is told.
  signalling.set(
    connection,
    mine.catch(() => undefined),
  );
  return mine;
}

async function sendSignal(connection: SshConnection, command: string): Promise<void> {
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
