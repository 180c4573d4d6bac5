/**
 * Files of a guest that goes to another host: readable there for as long as the step that moves it runs, and only by who
 * knows the word that was made up for it.
 */
import { randomBytes } from 'node:crypto';

export interface Offer {
  /** Stands where a base's digest does when the file is asked for. */
  word: string;
  /** Names of the files, in the order of their paths. */
  files: string[];
  withdraw(): void;
}

export class Offers {
  private readonly offered = new Map<string, readonly string[]>();

  offer(paths: readonly string[]): Offer {
    const word = randomBytes(32).toString('hex');
    this.offered.set(word, paths);
    return {
      word,
      files: paths.map((_path, index) => String(index)),
      withdraw: () => void this.offered.delete(word),
    };
  }

  /** Path of a file that is offered under that word; undefined: none is. */
  find(word: string, file: string): string | undefined {
    return this.offered.get(word)?.[Number(file)];
  }
}
