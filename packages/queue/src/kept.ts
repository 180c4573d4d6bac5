/** BullMQ's objects of the queues in use, by name. Internal to this package. */
import type { Queue, QueueEvents } from 'bullmq';

/** What nobody asked for as long is closed, milliseconds; longer than any call takes. With hundreds of hosts they would pile up. */
const IDLE_MS = 60_000;

export class Kept<T extends Queue | QueueEvents> {
  /** The one that was asked for longest ago first. */
  private readonly all = new Map<string, { part: T; usedAt: number }>();

  /** @param onError told when one can't be opened or closed */
  constructor(
    private readonly onError: (error: Error) => void,
    private readonly idleMs = IDLE_MS,
  ) {}

  get(name: string, make: () => T): T {
    const part = this.all.get(name)?.part ?? this.begin(name, make());
    this.all.delete(name);
    this.all.set(name, { part, usedAt: performance.now() });
    this.closeIdle(part);
    return part;
  }

  private begin(name: string, part: T): T {
    // One whose first contact failed never tries again by itself: the next call makes another.
    part.waitUntilReady().catch((error: Error) => {
      this.onError(error);
      if (this.all.get(name)?.part === part) this.all.delete(name);
      part.close().catch(this.onError);
    });
    return part;
  }

  private closeIdle(asked: T): void {
    for (const [name, { part, usedAt }] of this.all) {
      if (part === asked || usedAt > performance.now() - this.idleMs) return;
      this.all.delete(name);
      part.close().catch(this.onError);
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.all.values()].map(({ part }) => part.close()));
  }
}
