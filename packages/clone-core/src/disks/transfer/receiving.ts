/**
 * What this worker is receiving just now. A host passes on what it has of a file while the rest still comes, so that a
 * chain of hosts takes about as long as one.
 */

export interface Held {
  path: string;
  bytes: number;
  /** Resolves with how far the file is there, once that is beyond `offset`. Rejects when it will not be. */
  reach(offset: number): Promise<number>;
}

/** One file under way. */
export interface Incoming {
  advance(position: number): void;
  /** Rejects whoever waits for more. */
  fail(): void;
  /** From now on the file is found as part of its base. */
  done(): void;
}

export class Receiving {
  private readonly files = new Map<string, Underway>();

  /** Begins a file; a second beginning of the same one goes on where that is. */
  begin(base: string, file: string, path: string, bytes: number): Incoming {
    const key = `${base}/${file}`;
    const underway = new Underway(path, bytes);
    this.files.get(key)?.fail();
    this.files.set(key, underway);
    const forget = (): void => {
      if (this.files.get(key) === underway) this.files.delete(key);
    };
    return {
      advance: (position) => underway.advance(position),
      fail: () => {
        forget();
        underway.fail();
      },
      done: () => {
        underway.advance(bytes);
        forget();
      },
    };
  }

  find(base: string, file: string): Held | undefined {
    return this.files.get(`${base}/${file}`);
  }
}

class Underway implements Held {
  private position = 0;
  private failed = false;
  private waiting: (() => void)[] = [];

  constructor(
    readonly path: string,
    readonly bytes: number,
  ) {}

  async reach(offset: number): Promise<number> {
    while (this.position <= offset && this.position < this.bytes && !this.failed)
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    if (this.failed) throw new Error('it stopped receiving the file');
    return this.position;
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
