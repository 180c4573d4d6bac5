/** Typed calls of `virsh -c URI …`. */
import { OffshootError } from '../../errors.ts';
import { prefixOf } from '../../identity/addresses.ts';
import { commandFailed } from '../../shell/failures.ts';
import type { RunOptions, RunResult, Shell } from '../../shell/shell.ts';
import type { DomainState } from './types.ts';
import { explain } from './virsh-errors.ts';
import { isTooOld, scriptOf } from './virsh-script.ts';
import { attribute, childrenOf, parseXml } from './xml.ts';

/** Undefining, defining and starting may have to wait for libvirt to probe QEMU, milliseconds. */
export const SLOW_MS = 180_000;

/** State words of `virsh domstate` and numbers of `virsh domstats` (virDomainState). */
export function stateOf(word: string): DomainState {
  switch (word.trim()) {
    case 'running':
    case 'idle':
    case 'in shutdown':
    case '1':
    case '2':
    case '4':
      return 'running';
    case 'paused':
    case 'pmsuspended':
    case '3':
    case '7':
      return 'paused';
    default:
      return 'stopped';
  }
}

export interface VirshOptions extends RunOptions {
  /** Without virsh's chat and table heads. Default true. */
  quiet?: boolean;
}

/** What `--name` prints: one name a line. */
export const namesIn = (out: string | undefined): string[] =>
  (out ?? '')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

/** What one of several commands came to. */
export type Answer = { out: string } | { error: OffshootError };

/** Throws the command's error. */
export function outOf(answer: Answer | undefined): string {
  if (answer && 'out' in answer) return answer.out;
  throw answer?.error ?? new OffshootError('internal', { publicMessage: 'virsh was not asked that.' });
}

/** As `outOf`, but undefined instead of `not-found`. */
export const foundIn = (answer: Answer | undefined): string | undefined =>
  answer && 'error' in answer && answer.error.code === 'not-found' ? undefined : outOf(answer);

export class Virsh {
  /** virsh here can't tell the outputs of several commands apart. */
  private oneByOne = false;

  /** Its virsh is too old to be asked several things in one process (below 6.9). */
  get alone(): boolean {
    return this.oneByOne;
  }

  /** What is asked at this moment, by whose signal it is. */
  private readonly asked = new Map<
    AbortSignal,
    { commands: (readonly string[])[]; answers: Promise<Answer[]> }
  >();

  constructor(
    readonly shell: Shell,
    readonly uri: string,
  ) {}

  /** Runs one virsh command. Throws what libvirt's message means. Output is trimmed. */
  async run(words: readonly string[], { quiet = true, ...options }: VirshOptions = {}): Promise<string> {
    try {
      const argv = ['virsh', ...(quiet ? ['-q'] : []), '-c', this.uri, ...words];
      const { stdout } = await this.shell.run(argv, options);
      return stdout.trim();
    } catch (thrown) {
      throw explain(thrown, this.shell.where);
    }
  }

  /** As `run`, but undefined instead of `not-found`. */
  async maybe(words: readonly string[], options: RunOptions = {}): Promise<string | undefined> {
    try {
      return await this.run(words, options);
    } catch (thrown) {
      if (thrown instanceof OffshootError && thrown.code === 'not-found') return undefined;
      throw thrown;
    }
  }

  /**
   * Many read-only commands in one process, one per line of its input; only for words without blanks or quotes
   * (UUIDs). Failed commands leave no output. Returns the outputs one after another.
   */
  async batch(commands: readonly (readonly string[])[], signal: AbortSignal): Promise<string> {
    if (commands.length === 0) return '';
    for (const word of commands.flat())
      if (!/^[A-Za-z0-9-]+$/.test(word))
        throw new OffshootError('internal', { publicMessage: 'Not a word for a batch.' });
    const input = `${commands.map((words) => words.join(' ')).join('\n')}\n`;
    try {
      // The exit code is that of the last command, which may name a guest that went away meanwhile.
      const { stdout } = await this.shell.run(['virsh', '-q', '-c', this.uri], {
        input,
        signal,
        okCodes: [0, 1],
      });
      return stdout;
    } catch (thrown) {
      throw explain(thrown, this.shell.where);
    }
  }

  /**
   * Several commands one after the other, in one process; one that fails does not keep the next from being run. Resolves
   * to what each came to, with the error that `run` would have thrown. Throws when virsh itself did not get to all of them.
   */
  async each(
    commands: readonly (readonly string[])[],
    { quiet = true, ...options }: Omit<VirshOptions, 'okCodes' | 'input'> = {},
  ): Promise<Answer[]> {
    if (commands.length === 0) return [];
    if (this.oneByOne) return this.eachAlone(commands, { quiet, ...options });
    const script = scriptOf(commands);
    const argv = ['virsh', ...(quiet ? ['-q'] : []), '-c', this.uri, script.text];
    let done: RunResult;
    try {
      done = await this.shell.run(argv, { ...options, okCodes: [0, 1] });
    } catch (thrown) {
      throw explain(thrown, this.shell.where);
    }
    const answers = script.parse(done.stdout, done.stderr);
    const failed = (words: readonly string[], stderr: string): OffshootError =>
      explain(commandFailed({ argv: words, where: this.shell.where, code: 1, stderr }), this.shell.where);
    if (answers)
      return answers.map(({ out, complaint }, index) =>
        /^error:/m.test(complaint)
          ? { error: failed(['virsh', '-c', this.uri, ...(commands[index] ?? [])], complaint.trim()) }
          : { out },
      );
    if (!isTooOld(done.stderr)) throw failed(argv, done.stderr);
    this.oneByOne = true;
    return this.eachAlone(commands, { quiet, ...options });
  }

  /**
   * As `each`, for questions: those that are asked with one signal at one moment share a process, whoever asks them. So one
   * operation's never wait for another's, and end with it.
   */
  async ask(
    commands: readonly (readonly string[])[],
    { signal }: { signal: AbortSignal },
  ): Promise<Answer[]> {
    let shared = this.asked.get(signal);
    if (!shared) {
      const all: (readonly string[])[] = [];
      const answers = new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
        this.asked.delete(signal);
        return this.each(all, { signal });
      });
      shared = { commands: all, answers };
      this.asked.set(signal, shared);
    }
    const from = shared.commands.length;
    shared.commands.push(...commands);
    return (await shared.answers).slice(from, from + commands.length);
  }

  private async eachAlone(
    commands: readonly (readonly string[])[],
    options: VirshOptions,
  ): Promise<Answer[]> {
    const answers: Answer[] = [];
    for (const words of commands) {
      try {
        answers.push({ out: await this.run(words, options) });
      } catch (thrown) {
        if (!(thrown instanceof OffshootError) || options.signal?.aborted) throw thrown;
        answers.push({ error: thrown });
      }
    }
    return answers;
  }

  /** Undefined when there is no such guest. */
  async state(uuid: string, signal?: AbortSignal): Promise<DomainState | undefined> {
    const word = await this.maybe(['domstate', '--domain', uuid], signal ? { signal } : {});
    return word === undefined ? undefined : stateOf(word);
  }

  async names(signal: AbortSignal): Promise<string[]> {
    return namesIn(await this.run(['list', '--all', '--name'], { signal }));
  }

  /** With the addresses that libvirt has in those that run: https://libvirt.org/formatnetwork.html#addressing. */
  async networks(signal: AbortSignal): Promise<{ name: string; active: boolean; subnets?: string[] }[]> {
    const out = await this.run(['net-list', '--all'], { signal });
    const all = out.split('\n').flatMap((line) => {
      const [name, state] = line.trim().split(/\s+/);
      return name && state ? [{ name, active: state === 'active' }] : [];
    });
    const active = all.filter((each) => each.active);
    const answers = await this.each(
      active.map(({ name }) => ['net-dumpxml', '--network', name]),
      { signal },
    );
    const subnets = new Map(active.map(({ name }, index) => [name, subnetsIn(foundIn(answers[index]))]));
    return all.map((each) => {
      const own = subnets.get(each.name) ?? [];
      return own.length === 0 ? each : { ...each, subnets: own };
    });
  }

  /** `scratch`: a path on the host that is the caller's alone; virsh reads files only. */
  define(xml: string, scratch: string, signal: AbortSignal): Promise<string> {
    return this.withFile(scratch, xml, () =>
      this.run(['define', '--file', scratch], { signal, timeoutMs: SLOW_MS }),
    );
  }

  /** Readable by the worker only (a definition may hold a display's password), and gone afterwards. */
  async withFile<T>(path: string, content: string, use: () => Promise<T>): Promise<T> {
    try {
      await this.shell.writeFile(path, content, 0o600);
      return await use();
    } finally {
      await this.shell.remove(path);
    }
  }

  start(uuid: string, signal: AbortSignal): Promise<string> {
    return this.run(['start', '--domain', uuid], { signal, timeoutMs: SLOW_MS });
  }

  /** Ends a running guest at once; resolves to whether it ran. */
  async destroy(uuid: string, signal: AbortSignal): Promise<boolean> {
    const state = await this.state(uuid, signal);
    if (state === undefined || state === 'stopped') return false;
    try {
      await this.run(['destroy', '--domain', uuid], { signal, timeoutMs: SLOW_MS });
    } catch (thrown) {
      const now = await this.state(uuid, signal);
      if (now !== undefined && now !== 'stopped') throw thrown;
    }
    return true;
  }

  /** Removes the definition with NVRAM, managed save, snapshot and checkpoint metadata; resolves to whether there was one. */
  async undefine(
    uuid: string,
    options: { tpm: boolean; nvram: boolean },
    signal: AbortSignal,
  ): Promise<boolean> {
    const words = [
      'undefine',
      '--domain',
      uuid,
      '--managed-save',
      '--snapshots-metadata',
      '--checkpoints-metadata',
    ];
    words.push(options.nvram ? '--nvram' : '--keep-nvram');
    if (options.tpm) words.push('--tpm');
    return (await this.maybe(words, { signal, timeoutMs: SLOW_MS })) !== undefined;
  }
}

function subnetsIn(xml: string | undefined): string[] {
  if (xml === undefined) return [];
  return childrenOf(parseXml(xml, 'network').root, 'ip').flatMap((ip) => {
    const address = attribute(ip, 'address');
    const prefix = attribute(ip, 'prefix') ?? prefixOf(attribute(ip, 'netmask'));
    return address === undefined || prefix === undefined ? [] : [`${address}/${prefix}`];
  });
}
