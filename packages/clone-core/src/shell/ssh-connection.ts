/** One SSH connection to a host with a pinned key: made when needed, made anew when it dropped between commands. */
import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { Client, type ClientChannel } from 'ssh2';
import { OffshootError } from '../errors.ts';
import { reasonOf } from './failures.ts';

export interface SshTarget {
  host: string;
  port: number;
  user: string;
  /** For messages; default: the host. */
  name?: string;
  /** OpenSSH or PEM text. */
  privateKey?: string | Buffer;
  passphrase?: string;
  /** Socket of an ssh-agent. */
  agent?: string;
  /** As `ssh-keygen -l` prints it: `SHA256:…`. Several when the host has keys of several types. */
  hostKeySha256: string | readonly string[];
}

const CONNECT_MS = 10_000;
const KEEPALIVE_MS = 10_000;
/** OpenSSH allows 10 sessions per connection (`MaxSessions`); the rest is for ending processes. */
const MAX_COMMANDS = 7;

export const fingerprintOf = (key: Buffer): string =>
  `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;

export class SshConnection {
  readonly where: string;
  private connecting: Promise<Client> | undefined;
  private closed = false;
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly target: SshTarget) {
    this.where = `${target.name ?? target.host} over SSH`;
  }

  /** Waits until fewer than 7 commands run, or rejects as the signal says. The returned function gives the place back. */
  async place(signal: AbortSignal | undefined): Promise<() => void> {
    if (this.running < MAX_COMMANDS) this.running++;
    else await this.queue(signal);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      const next = this.waiting.shift();
      if (next) next();
      else this.running--;
    };
  }

  private queue(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.waiting.splice(this.waiting.indexOf(take), 1);
        if (signal) reject(reasonOf(signal));
      };
      const take = (): void => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.waiting.push(take);
    });
  }

  /**
   * Begins a command. Throws `host-unreachable`, `host-key-mismatch`, `permission`. A connection found dropped before
   * the command was sent is made anew, once; a command that may have been sent is never sent again. `attach` is called
   * in the same tick the channel opens: a quick command’s exit may follow in the same packet.
   */
  async exec<T>(command: string, attach: (channel: ClientChannel) => T): Promise<T> {
    const first = await this.connect();
    try {
      return await this.open(first, command, attach);
    } catch (thrown) {
      if (!(thrown instanceof NotSent)) throw this.unreachable(thrown);
    }
    return this.open(await this.connect(), command, attach).catch((thrown: unknown) => {
      throw this.unreachable(thrown);
    });
  }

  private open<T>(client: Client, command: string, attach: (channel: ClientChannel) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const onClose = (): void => reject(new Error('the connection was closed'));
      client.once('close', onClose);
      try {
        client.exec(command, (error, channel) => {
          client.off('close', onClose);
          if (error) reject(error);
          else resolve(attach(channel));
        });
      } catch (cause) {
        client.off('close', onClose);
        this.connecting = undefined;
        reject(new NotSent('not connected', { cause })); // ssh2 throws when the socket is no longer writable
      }
    });
  }

  /** A stream to a Unix socket of the host. Throws as `exec` does, and when nobody listens there. */
  async forward(socket: string): Promise<Duplex> {
    const client = await this.connect();
    return new Promise((resolve, reject) => {
      client.openssh_forwardOutStreamLocal(socket, (error, channel) => {
        if (error) reject(this.unreachable(error));
        else resolve(channel);
      });
    });
  }

  private connect(): Promise<Client> {
    if (this.closed)
      return Promise.reject(
        new OffshootError('internal', { publicMessage: `The shell to ${this.where} was closed.` }),
      );
    this.connecting ??= this.dial().catch((thrown: unknown) => {
      this.connecting = undefined;
      throw thrown;
    });
    return this.connecting;
  }

  private dial(): Promise<Client> {
    const { host, port, user, privateKey, passphrase, agent } = this.target;
    const client = new Client();
    client.setMaxListeners(64);
    let seen: string | undefined;
    const pinned = [this.target.hostKeySha256].flat().map((pin) => pin.replace(/=+$/, ''));
    const dialled = new Promise<Client>((resolve, reject) => {
      client.on('ready', () => resolve(client));
      client.on('error', (error: Error & { level?: string }) => reject(this.refusal(error, seen, pinned)));
      client.on('close', () => {
        this.connecting = undefined;
        reject(this.unreachable(new Error('the connection was closed')));
      });
    });
    try {
      client.connect({
        host,
        port,
        username: user,
        readyTimeout: CONNECT_MS,
        keepaliveInterval: KEEPALIVE_MS,
        keepaliveCountMax: 3,
        hostVerifier: (key: Buffer) => {
          const fingerprint = fingerprintOf(key);
          if (pinned.includes(fingerprint)) return true;
          seen = fingerprint;
          return false;
        },
        ...(privateKey === undefined ? {} : { privateKey }),
        ...(passphrase === undefined ? {} : { passphrase }),
        ...(agent === undefined ? {} : { agent }),
      });
    } catch (cause) {
      dialled.catch(() => undefined); // never settles: nothing was dialled
      const publicMessage = `The key to log in to ${this.where} can’t be read.`;
      return Promise.reject(
        new OffshootError('permission', {
          publicMessage,
          remedy: 'Give a private key in OpenSSH format, with its passphrase if it has one.',
          cause,
        }),
      );
    }
    return dialled;
  }

  private refusal(
    error: Error & { level?: string },
    seen: string | undefined,
    pinned: readonly string[],
  ): OffshootError {
    if (seen !== undefined) {
      return new OffshootError('host-key-mismatch', {
        publicMessage: `${this.target.host} showed the host key ${seen}; pinned is ${pinned.join(' or ')}. Nothing was sent to it.`,
        remedy:
          'If the host was installed anew, check its key on its console (ssh-keygen -l) and pin that; if not, someone may be in between.',
        retryable: false,
        context: { seen, pinned },
        cause: error,
      });
    }
    if (error.level === 'client-authentication') {
      return new OffshootError('permission', {
        publicMessage: `${this.where} does not let ${this.target.user} log in with this key.`,
        remedy: `Add the worker’s public key to ~${this.target.user}/.ssh/authorized_keys there.`,
        cause: error,
      });
    }
    return this.unreachable(error);
  }

  unreachable(cause: unknown): OffshootError {
    if (cause instanceof OffshootError) return cause;
    return new OffshootError('host-unreachable', {
      publicMessage: `${this.where} can’t be reached (port ${this.target.port}).`,
      remedy: 'Check that the host is up and that its SSH server answers.',
      retryable: true,
      cause,
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    const client = await this.connecting?.catch(() => undefined); // a connection that failed needs no closing
    if (!client) return;
    const ended = new Promise<void>((resolve) => client.once('close', () => resolve()));
    client.end();
    await ended;
  }
}

/** The command was certainly not sent. */
class NotSent extends Error {}
