import type { Duplex } from 'node:stream';
import type { OffshootError } from '../../errors.ts';
import { closed } from './frames.ts';

/** A sender that says nothing for so long is given up, milliseconds. */
const SILENCE_MS = 5000;
/** One that waits itself and sends no data for so long too, when there is another. */
const STALL_MS = 30_000;

/** Ends a connection on which nothing comes. */
export class Watch {
  reason: OffshootError | undefined;
  private heardAt = performance.now();
  private dataAt = performance.now();
  private readonly timer: NodeJS.Timeout;

  constructor(stream: Duplex, others: boolean) {
    this.timer = setInterval(() => {
      const now = performance.now();
      if (now - this.heardAt > SILENCE_MS) this.reason = closed('nothing came for 5 seconds');
      else if (others && now - this.dataAt > STALL_MS) this.reason = closed('it waits itself for too long');
      if (this.reason) stream.destroy();
    }, 500);
  }

  heard(isData: boolean): void {
    this.heardAt = performance.now();
    if (isData) this.dataAt = this.heardAt;
  }

  stop(): void {
    clearInterval(this.timer);
  }
}
