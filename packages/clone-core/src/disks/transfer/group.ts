/** What is decided of a file whose hashes come group by group, with each block found here or asked for. */
import { hashOf } from './known-blocks.ts';

export interface Slot {
  offset: number;
  length: number;
  hash: Buffer;
  content: Buffer | undefined;
}

/** Blocks that were decided on and are not written yet, in the order of the file. */
export class Group {
  private slots: (Slot & { fetched?: boolean })[] = [];
  open = false;

  add(blocks: readonly Slot[]): void {
    this.open = true;
    this.slots.push(...blocks);
  }

  /** False when it is not the block that was announced. */
  put(offset: number, content: Buffer): boolean {
    const slot = this.slots.find((each) => each.offset === offset);
    if (!slot || slot.length !== content.length || !hashOf(content).equals(slot.hash)) return false;
    slot.content = content;
    slot.fetched = true;
    return true;
  }

  takeReady(): { offset: number; content: Buffer; fetched: boolean }[] {
    const ready: { offset: number; content: Buffer; fetched: boolean }[] = [];
    let count = 0;
    for (const { offset, content, fetched } of this.slots) {
      if (!content) break;
      ready.push({ offset, content, fetched: fetched === true });
      count++;
    }
    this.slots = this.slots.slice(count);
    return ready;
  }
}
