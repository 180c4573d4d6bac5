/**
 * How drivers reach a host: argv arrays and a handful of file operations, on this machine (`local.ts`) or over SSH
 * (`ssh.ts`). These two files are the only places of the product that spawn or dial.
 */

import type { Duplex } from 'node:stream';

export interface RunOptions {
  /** Aborting sends TERM to exactly this process, then KILL after a grace of 1 s; `run` rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Written to standard input, which is then closed. Without it standard input is empty. */
  input?: string | Buffer;
  /** Milliseconds; rejects with `timeout` and ends the process as an abort does. Default 60 000; 0: none. */
  timeoutMs?: number;
  /**
   * Chunks of standard output as they arrive (progress). At most 16 MiB are collected: with `onStdout` the rest is only
   * passed on, without it more is `command-failed`.
   */
  onStdout?: (chunk: string) => void;
  /** Exit codes that are not an error. Default [0]. */
  okCodes?: readonly number[];
  /** The process must not outlive the caller, even one killed with -9 (`setpriv --pdeathsig KILL`). For anything long. */
  dieWithParent?: boolean;
  /** Environment added to LC_ALL=C. */
  env?: Readonly<Record<string, string>>;
}

export interface RunResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface FileStat {
  type: 'file' | 'directory' | 'block' | 'other';
  /** Apparent size, bytes. */
  size: number;
  /** Bytes really allocated. */
  allocated: number;
  /** Permission bits. */
  mode: number;
  inode: number;
  /** Milliseconds since the epoch. */
  modifiedMs: number;
}

export interface Shell {
  /** For messages: "this machine", "kvm-2 over SSH". */
  readonly where: string;
  /**
   * Runs one program without a shell. Rejects with `command-failed` (context: argv, code, stderr) on any other exit
   * code, `not-found` when there is no such program, `host-unreachable` when the host can't be reached (retryable).
   */
  run(argv: readonly string[], options?: RunOptions): Promise<RunResult>;
  /**
   * Lines of standard output of a long-running program, until it ends or the signal aborts (then the iteration ends
   * quietly). Leaving the loop early ends the program. Throws `command-failed` when it ends by itself with a code ≠ 0.
   */
  lines(argv: readonly string[], options: { signal: AbortSignal }): AsyncIterable<string>;
  /** Connects to a Unix socket of the host. Rejects when nobody listens there. The caller destroys the stream. */
  dial(socket: string): Promise<Duplex>;
  /** Undefined when there is nothing at the path. Follows symbolic links. */
  stat(path: string): Promise<FileStat | undefined>;
  /** Text of a small file (at most 16 MiB). Undefined when there is none. */
  readText(path: string): Promise<string | undefined>;
  /**
   * At most `length` bytes of a file from `offset`. Undefined when there is none. Only where that costs less than asking a
   * program does: not over SSH.
   */
  readAt?(path: string, offset: number, length: number): Promise<Buffer | undefined>;
  /** Writes atomically: to a temporary name beside it, synced, renamed. */
  writeFile(path: string, content: string | Buffer, mode?: number): Promise<void>;
  mkdir(path: string): Promise<void>;
  /** Renames within one filesystem; the directory is synced. */
  rename(from: string, to: string): Promise<void>;
  /** Removes one file and what a cut-off `writeFile` left beside it. Resolves to whether there was one. */
  remove(path: string): Promise<boolean>;
  /** fsync of the file's data and of its directory. */
  sync(path: string): Promise<void>;
  chmod(path: string, mode: number): Promise<void>;
  list(directory: string): Promise<string[]>;
  /** Of the filesystem that holds the path or, while there is nothing yet, its nearest ancestor. */
  filesystem(path: string): Promise<{ type: string; totalBytes: number; freeBytes: number }>;
  close(): Promise<void>;
}
