/** Typed calls of `virsh -c URI …`, and libvirt's messages as errors people can act on. */
import { stderrOf } from '../../disks/stderr.ts';
import { OffshootError, toOffshootError, type ErrorCode } from '../../errors.ts';
import type { RunOptions, Shell } from '../../shell/shell.ts';
import type { DomainState } from './types.ts';

/** Undefining, defining and starting may have to wait for libvirt to probe QEMU, milliseconds. */
export const SLOW_MS = 180_000;

interface Known {
  match: RegExp;
  code: ErrorCode;
  message: (where: string) => string;
  remedy?: string;
  retryable?: boolean;
}

const known: readonly Known[] = [
  {
    match:
      /failed to connect to the hypervisor|Failed to connect socket|cannot recv data|End of file while reading data|Cannot write data: Broken pipe|client socket is closed|Disconnected from|internal client error/i,
    code: 'host-unreachable',
    message: (where) => `libvirt does not answer on ${where}.`,
    remedy: 'Start libvirt there (systemctl start libvirtd), or look why it stopped.',
    retryable: true,
  },
  {
    match: /authentication (unavailable|failed|cancelled)|Permission denied.*libvirt-sock|access denied/i,
    code: 'permission',
    message: (where) => `The worker may not use libvirt on ${where}.`,
    remedy: 'Run the worker as root, or add its user to the group libvirt.',
  },
  {
    match: /failed to get domain|Domain not found|no domain with matching/i,
    code: 'not-found',
    message: (where) => `libvirt on ${where} knows no such guest.`,
    remedy: 'Reload the list of guests: it was removed by another hand.',
  },
  {
    match: /already exists with uuid|already defined with uuid/i,
    code: 'name-taken',
    message: (where) => `A guest of that name is already defined on ${where}.`,
    remedy: 'Choose another name.',
  },
  {
    match:
      /guest agent is not (responding|configured|available)|QEMU guest agent is not|agent.*unresponsive|Guest agent .*timed? ?out/i,
    code: 'agent-silent',
    message: () => 'The guest agent does not answer.',
    remedy: 'Look at the guest’s console; install qemu-guest-agent in it if it has none.',
    retryable: true,
  },
  {
    match: /No space left on device/i,
    code: 'no-space',
    message: (where) => `The filesystem on ${where} filled up.`,
    remedy: 'Free space on that filesystem, then retry.',
  },
  {
    match:
      /Failed to get "?(write|consistent read|shared "write")"? lock|Is another process using the image/i,
    code: 'busy',
    message: () => 'Another program has the disk open.',
    remedy: 'Wait until it is done with it, then retry.',
    retryable: true,
  },
  {
    match: /cannot acquire state change lock|already has active (block )?job|another job|block job/i,
    code: 'busy',
    message: () => 'libvirt is busy with another job of this guest.',
    remedy: 'Wait until that job is done, then retry.',
    retryable: true,
  },
  {
    match: /Cannot access storage file|Could not open .*: (No such file|Permission)/i,
    code: 'source-unreadable',
    message: () => 'A disk of the guest can’t be opened by QEMU.',
    remedy: 'See that the file is there and that QEMU’s user may read it and enter its folders.',
  },
  {
    match: /Cannot allocate memory|cannot set up guest memory/i,
    code: 'busy',
    message: (where) => `${where} has too little free memory to start the guest.`,
    remedy: 'Stop a guest, or give this one less memory.',
    retryable: true,
  },
];

/** Replaces `command-failed` by what libvirt or QEMU meant; other errors pass. Throws nothing. */
export function explain(thrown: unknown, where: string): OffshootError {
  const error = toOffshootError(thrown);
  if (error.code !== 'command-failed') return error;
  const said = stderrOf(error);
  const meant = known.find((each) => each.match.test(said));
  if (!meant) return error;
  return new OffshootError(meant.code, {
    publicMessage: meant.message(where),
    ...(meant.remedy === undefined ? {} : { remedy: meant.remedy }),
    retryable: meant.retryable ?? false,
    context: error.context,
    cause: thrown,
  });
}

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

export class Virsh {
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

  /** Undefined when there is no such guest. */
  async state(uuid: string, signal?: AbortSignal): Promise<DomainState | undefined> {
    const word = await this.maybe(['domstate', '--domain', uuid], signal ? { signal } : {});
    return word === undefined ? undefined : stateOf(word);
  }

  async names(signal: AbortSignal): Promise<string[]> {
    const out = await this.run(['list', '--all', '--name'], { signal });
    return out
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
  }

  async networks(signal: AbortSignal): Promise<{ name: string; active: boolean }[]> {
    const out = await this.run(['net-list', '--all'], { signal });
    return out.split('\n').flatMap((line) => {
      const [name, state] = line.trim().split(/\s+/);
      return name && state ? [{ name, active: state === 'active' }] : [];
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
