/**
 * Mount namespaces of our own: what is mounted in one is seen by nobody else, and is gone with the last process in it.
 * As root directly, as anyone else in a user namespace that maps the account to root.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { OffshootError, toOffshootError } from '../../errors.ts';
import { programMissing } from '../../shell/failures.ts';
import type { RunOptions, RunResult, Shell } from '../../shell/shell.ts';
import { stderrOf } from '../stderr.ts';

/** A program that serves does so within this, milliseconds. */
const READY_MS = 20_000;
const POLL_MS = 5;
/** Programs for filesystems are in /sbin, which is not on everyone's PATH. */
const SBIN = '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin';
/** A process that only holds its namespace; prints its id. */
const HOLD = 'echo $$; exec sleep infinity';

export interface Helper {
  /** First line it prints; undefined when it ended without one. */
  first: Promise<string | undefined>;
  /** Why it ended; undefined while it runs. */
  failed: () => unknown;
}

/** Long-running children: all end when the signal aborts. */
export class Helpers {
  readonly #all: Promise<unknown>[] = [];
  constructor(
    readonly shell: Shell,
    readonly signal: AbortSignal,
  ) {}

  start(argv: readonly string[]): Helper {
    const lines = this.shell.lines(argv, { signal: this.signal })[Symbol.asyncIterator]();
    let failure: unknown;
    const first = lines.next().then((line) => (line.done === true ? undefined : line.value));
    const whole = async (): Promise<void> => {
      try {
        await first;
        while ((await lines.next()).done !== true);
        failure ??= new Error(`${argv[0] ?? ''} ended`);
      } catch (thrown) {
        failure ??= thrown;
      }
    };
    this.#all.push(whole());
    return { first: first.catch(() => undefined), failed: () => failure };
  }

  async ended(): Promise<void> {
    await Promise.all(this.#all);
  }
}

/** Words that go before a program to run it in a new namespace, for the account with that number. */
export const unshared = (uid: number): string[] =>
  uid === 0 ? ['unshare', '--mount', '--'] : ['unshare', '--user', '--map-root-user', '--mount', '--'];

/** The namespaces that a process is in. */
export class Space {
  readonly #enter: readonly string[];

  constructor(
    readonly shell: Shell,
    readonly signal: AbortSignal,
    readonly pid: number,
    readonly user: boolean,
  ) {
    this.#enter = [
      'nsenter',
      ...(user ? [`--user=/proc/${pid}/ns/user`, '--preserve-credentials'] : []),
      `--mount=/proc/${pid}/ns/mnt`,
      '--',
    ];
  }

  /** Throws as `Shell.run`. The program dies with the worker. */
  async run(argv: readonly string[], options?: RunOptions): Promise<RunResult> {
    try {
      return await this.shell.run([...this.#enter, ...argv], {
        signal: this.signal,
        dieWithParent: true,
        env: { PATH: SBIN },
        ...options,
      });
    } catch (thrown) {
      throw named(thrown, argv, this.shell);
    }
  }

  /** A program that mounts a filesystem of its own on the folder and serves it: resolves once it is mounted. */
  async serve(helpers: Helpers, argv: readonly string[], folder: string): Promise<void> {
    const server = helpers.start([...this.#enter, 'env', `PATH=${SBIN}`, ...argv]);
    await until(this.signal, async () => {
      const failed = server.failed();
      if (failed !== undefined) throw named(failed, argv, this.shell);
      const mounted = await this.shell.readText(`/proc/${this.pid}/mountinfo`);
      return mounted?.includes(` ${escaped(folder)} `) === true ? true : undefined;
    });
  }

  /** A copy of this one, with what is mounted here. */
  async child(helpers: Helpers): Promise<Space> {
    const holder = helpers.start([...this.#enter, 'unshare', '--mount', 'sh', '-c', HOLD]);
    const pid = Number(await holder.first);
    if (!(pid > 0)) throw toOffshootError(holder.failed());
    return new Space(this.shell, this.signal, pid, this.user);
  }

  /** Done after an abort too: gets no signal. */
  async unmount(folder: string): Promise<void> {
    // 32: nothing is mounted there.
    await this.shell.run([...this.#enter, 'umount', '--', folder], { okCodes: [0, 32] });
  }
}

/** Asks until there is an answer. Throws `timeout` after 20 s. */
export async function until<T>(signal: AbortSignal, ask: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + READY_MS;
  for (;;) {
    signal.throwIfAborted();
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() >= deadline)
      throw new OffshootError('timeout', {
        publicMessage: 'The program that serves the disks did not begin to.',
        retryable: true,
      });
    await sleep(POLL_MS);
  }
}

/** A program that was not found by the one that should run it. */
export function named(thrown: unknown, [program = '']: readonly string[], shell: Shell): unknown {
  return /^((nsenter|unshare): failed to execute|env:) .*: No such file/m.test(stderrOf(thrown))
    ? programMissing(program, shell.where)
    : thrown;
}

/** As proc(5) writes paths in mountinfo. */
const escaped = (path: string): string =>
  path.replaceAll(/[ \t\n\\]/g, (one) => `\\${one.charCodeAt(0).toString(8).padStart(3, '0')}`);
