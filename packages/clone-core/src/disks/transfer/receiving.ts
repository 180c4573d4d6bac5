/**
 * What this worker is receiving just now. A host passes on what it has of a file while the rest still comes, so that a
 * chain of hosts takes about as long as one.
 */

import type { BlockList } from './block-list.ts';

export interface Held {
  path: string;
  bytes: number;
  /** Digests of so many blocks from one on, 32 bytes each, when they are known without reading the file. */
  hashes?(start: number, count: number): Buffer | undefined;
  /** The digests of all its blocks, when they are known or to be found out by reading it once, which `log` is told. */
  list?(log: (line: string) => void): Promise<BlockList | undefined>;
  /** Resolves with how far the file is there, once that is beyond `offset`. Rejects when it will not be. */
  reach(offset: number): Promise<number>;
}

/** One file under way. */
export interface Incoming {
  /** How long the file is; nothing of it is passed on before that is known. */
  size(bytes: number): void;
  advance(position: number): void;
  /** Digests of all its blocks, as they will be; said before the size. */
  list(list: BlockList): void;
  /** Digests of blocks from that one on, as they will be when they are here. */
  hashes(start: number, hashes: Buffer): void;
  /** Rejects whoever waits for more. Nothing happens after `done`. */
  fail(): void;
  /** From now on the file is found as part of its base. */
  done(): void;
}

export class Receiving {
  private readonly files = new Map<string, Underway>();

  /** Begins a file; a second beginning of the same one goes on where that is. */
  begin(base: string, file: string, path: string): Incoming {
    const key = `${base}/${file}`;
    const underway = new Underway(path);
    this.files.get(key)?.fail();
    this.files.set(key, underway);
    let done = false;
    const forget = (): void => {
      if (this.files.get(key) === underway) this.files.delete(key);
    };
    return {
      size: (bytes) => {
        underway.bytes = bytes;
      },
      advance: (position) => underway.advance(position),
      list: (list) => {
        underway.all = list;
      },
      hashes: (start, hashes) => underway.keep(start, hashes),
      fail: () => {
        if (done) return; // whoever is still reading has it open
        forget();
        underway.fail();
      },
      done: () => {
        done = true;
        underway.advance(underway.bytes);
        forget();
      },
    };
  }

  find(base: string, file: string): Held | undefined {
    const underway = this.files.get(`${base}/${file}`);
    return underway && underway.bytes >= 0 ? underway : undefined;
  }
}

class Underway implements Held {
  private position = 0;
  private failed = false;
  private waiting: (() => void)[] = [];
  private readonly known = new Map<number, Buffer>();

  /** -1: not known yet. */
  bytes = -1;
  all: BlockList | undefined;

  constructor(readonly path: string) {}

  async reach(offset: number): Promise<number> {
    while (this.position <= offset && this.position < this.bytes && !this.failed)
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    if (this.failed) throw new Error('it stopped receiving the file');
    return this.position;
  }

  list(): Promise<BlockList | undefined> {
    return Promise.resolve(this.all);
  }

  /** By the first block of what was kept together. */
  hashes(start: number, count: number): Buffer | undefined {
    const kept = this.known.get(start);
    return kept?.length === count * 32 ? kept : undefined;
  }

  keep(start: number, hashes: Buffer): void {
    // From the beginning again: what another copy said of it may be wrong.
    if (start === 0) this.known.clear();
    this.known.set(start, Buffer.from(hashes));
  }

  advance(position: number): void {
    this.position = position;
    this.wake();
  }

  fail(): void {
    this.failed = true;
    this.wake();
  }

  private wake(): void {
    for (const wake of this.waiting.splice(0)) wake();
  }
}
