/** What a run says: a line a round, the sum, and what to do about a violation. */
import type { PublicError } from '@offshoot/clone-core/contract';
import { RoundFailed, type Done } from './round.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

export class Tally {
  private readonly endings = new Map<string, Map<string, number>>();
  private readonly faults = new Map<string, { done: number; late: number }>();
  rounds = 0;

  add(done: Done): void {
    this.rounds++;
    for (const { kind, state } of done.operations) this.count(kind, state);
    for (const { refused, label } of done.asked)
      if (refused !== undefined) this.count(kindOf(label), `refused (${refused})`);
    for (const { kind, text } of done.faults) {
      const so = this.faults.get(kind) ?? { done: 0, late: 0 };
      if (text === undefined) so.late++;
      else so.done++;
      this.faults.set(kind, so);
    }
  }

  private count(kind: string, ending: string): void {
    const so = this.endings.get(kind) ?? new Map<string, number>();
    so.set(ending, (so.get(ending) ?? 0) + 1);
    this.endings.set(kind, so);
  }

  /** Operations by kind and ending, faults by kind. */
  lines(violations: number): string[] {
    const operations = [...this.endings]
      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(
        ([kind, endings]) =>
          `  ${kind.padEnd(20)} ${[...endings]
            .toSorted(([a], [b]) => a.localeCompare(b))
            .map(([ending, count]) => `${count} ${ending}`)
            .join(', ')}`,
      );
    const faults = [...this.faults]
      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(
        ([kind, { done, late }]) =>
          `  ${kind.padEnd(20)} ${done}${late === 0 ? '' : ` (and ${late} whose moment did not come)`}`,
      );
    return [
      'Operations',
      ...operations,
      'Faults',
      ...faults,
      `${this.rounds} rounds, ${violations} violations`,
    ];
  }
}

const kindOf = (label: string): string =>
  /^(clone|capture|import|start|stop|reset|verify|delete|remove-base|refresh|restore|snapshot|revert|remove-snapshot|promote|write)/.exec(
    label.replace('remove base', 'remove-base'),
  )?.[0] ?? label;

/** "#012  1.8 s  clone full of plain: finished; delete g3: cancelled | worker-killed: KILL, step 2 is done". */
export function roundLine(number: number, seconds: number, done: Done): string {
  const asked = done.asked.map(({ label, operationIds, refused }) => {
    const states = done.operations
      .filter(({ id }) => operationIds.includes(id))
      .map(({ state, error }) => {
        const code = (error as unknown as PublicError | null)?.code;
        return code === undefined ? state : `${state} (${code})`;
      });
    const ending = refused === undefined ? states.join(', ') : `refused (${refused})`;
    return ending === '' ? label : `${label}: ${ending}`;
  });
  const faults = done.faults.map(({ kind, text }) => `${kind}: ${text ?? 'its moment did not come'}`);
  return `#${String(number).padStart(3, '0')}  ${seconds.toFixed(1).padStart(5)} s  ${asked.join('; ') || 'nothing to do'}${faults.length === 0 ? '' : ` | ${faults.join('; ')}`}`;
}

/** Everything that is known of a round that did not come to its end. */
export function failureLines(world: World, number: number, seconds: number, error: unknown): string[] {
  const cause = error instanceof RoundFailed ? error.cause : error;
  const found =
    cause instanceof Violation
      ? [`VIOLATION in round ${number}: ${cause.invariant}`, `    ${cause.found}`]
      : [`Round ${number} broke: ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}`];
  return [
    ...found,
    ...(error instanceof RoundFailed ? [roundLine(number, seconds, error.done)] : []),
    ...(error instanceof RoundFailed
      ? error.done.operations.map(({ id, kind, title, state }) => `    ${id} ${kind} ${title} ${state}`)
      : []),
    `Seed ${world.options.seed}. Everything is kept in ${world.folder}: logs/ (workers, PostgreSQL, Redis, libvirt), store.img, images/.`,
    `Again: npm run chaos -- --rounds ${number - world.options.from + 1}${world.options.from === 1 ? '' : ` --from ${world.options.from}`} --seed ${world.options.seed} --verbose${world.options.isolated ? ' --isolated' : ''}`,
  ];
}
