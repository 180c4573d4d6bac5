/** What the person at the terminal sees: a line a phase, a bar where bytes move and someone looks. */
import { Presets, SingleBar } from 'cli-progress';
import type { StepProgress } from '@offshoot/clone-core/contract';

const mib = (bytes: number): number => Math.round((bytes / 1024 ** 2) * 10) / 10;
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Runs a phase and prints its line with the time it took. */
export async function phase<T>(
  title: string,
  work: () => Promise<T>,
  outcome?: (value: T) => string,
): Promise<T> {
  const from = performance.now();
  const value = await work();
  const more = outcome?.(value);
  say(
    `✓ ${title}${more === undefined || more === '' ? '' : `: ${more}`}  (${seconds(performance.now() - from)})`,
  );
  return value;
}

/** A bar on a terminal; plain lines, one a step, elsewhere. */
export class ProgressLine {
  private bar: SingleBar | undefined;
  private title = '';

  show(title: string, progress: StepProgress): void {
    if (title !== this.title) {
      this.end();
      this.title = title;
      if (!process.stdout.isTTY) say(`  ${title}`);
    }
    if (!process.stdout.isTTY) return;
    const { doneBytes, totalBytes, note } = progress;
    if (totalBytes !== undefined && doneBytes !== undefined) {
      this.bar ??= this.start(title, mib(totalBytes), 'MiB');
      this.bar.update(mib(doneBytes));
    } else {
      this.bar ??= this.start(title, 1, note ?? '');
    }
  }

  end(): void {
    if (this.bar) {
      this.bar.update(this.bar.getTotal());
      this.bar.stop();
    }
    this.bar = undefined;
  }

  private start(title: string, total: number, unit: string): SingleBar {
    const bar = new SingleBar(
      { format: `  ${title} [{bar}] {value}/{total} ${unit}`, hideCursor: true, barsize: 24 },
      Presets.shades_classic,
    );
    bar.start(total, 0);
    return bar;
  }
}
