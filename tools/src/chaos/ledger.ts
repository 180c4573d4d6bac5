/** What the run knows that the product does not say: what a guest must see on its disks, now and after each operation. */
import type { UndoReport } from '@offshoot/clone-core/contract';
import type { OperationRow } from '@offshoot/db/types';
import type { Content } from './sources.ts';

/** Of one guest. `undefined` contents are not known. */
export interface Known {
  now: Content;
  /** As it was cloned: what a reset goes back to. */
  cloned: Content;
  /** Number of the state that it is in now; 0 before its first refresh, when it was not made for one. */
  current: number;
  /** By number: what a restore goes back to. */
  generations: Map<number, Content>;
  /** By name: what reverting goes back to. */
  snapshots: Map<string, Content>;
}

/** What is so when an operation has finished. */
export type Effect = (row: OperationRow) => void;

export class Ledger {
  /** By the id of the guest's row; also of sources, once they were looked up. */
  readonly guests = new Map<string, Known>();
  /** By the template's name. */
  readonly templates = new Map<string, Content>();
  /** By the id of the capture: what the clones that wait for it get. */
  readonly captured = new Map<string, Content>();
  /** Operations whose cancel was asked for. */
  readonly cancels = new Set<string>();
  /** UUIDs of sources that were asked to note changes: their files hold such notes. */
  readonly noted = new Set<string>();
  /** What sources call themselves inside, by UUID. */
  readonly sourceNames = new Map<string, string>();
  private readonly pending = new Map<string, Effect>();

  expect(operationId: string, effect: Effect): void {
    this.pending.set(operationId, effect);
  }

  get waiting(): string[] {
    return [...this.pending.keys()];
  }

  /** Takes in what became of operations, in the order of their ends: two of one guest never overlap. */
  settle(ended: readonly OperationRow[]): void {
    const order = ended.toSorted((a, b) => (a.finishedAt?.getTime() ?? 0) - (b.finishedAt?.getTime() ?? 0));
    for (const row of order) {
      const effect = this.pending.get(row.id);
      this.pending.delete(row.id);
      if (row.state === 'finished') effect?.(row);
      else if (((row.undo as unknown as UndoReport | null)?.leftBehind ?? []).length > 0)
        this.forget(row.guestId);
    }
  }

  /** From now on nothing is known of its disks. */
  forget(guestId: string | null): void {
    const known = guestId === null ? undefined : this.guests.get(guestId);
    if (known) known.now = undefined;
  }

  begin(guestId: string, content: Content, current = 0): void {
    const [generations, snapshots] = [new Map<number, Content>(), new Map<string, Content>()];
    this.guests.set(guestId, { now: content, cloned: content, current, generations, snapshots });
  }

  /** Every raw image that some content is in. */
  get images(): Set<string> {
    const contents = [
      ...[...this.guests.values()].flatMap((known) => [
        known.now,
        known.cloned,
        ...known.generations.values(),
        ...known.snapshots.values(),
      ]),
      ...this.templates.values(),
      ...this.captured.values(),
    ];
    return new Set(contents.flatMap((content) => Object.values(content ?? {}).flat()));
  }
}
