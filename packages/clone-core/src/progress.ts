import type { StepProgress } from './contract.ts';
import type { Progress } from './driver.ts';

/** Reports at most this often, milliseconds; the first and the last always pass. */
const INTERVAL_MS = 250;
/** The rate is smoothed over about this long, milliseconds. */
const SMOOTHING_MS = 3000;

/**
 * Turns a step's raw progress into what people read: bytes that never go back, a smoothed rate, time left.
 * Returns undefined for reports that come too soon after the last one.
 */
export class ProgressMeter {
  private lastAt: number | undefined;
  private lastBytes = 0;
  private rate: number | undefined;
  private lastNote: string | undefined;

  constructor(private readonly now: () => number) {}

  report(progress: Progress): StepProgress | undefined {
    const at = this.now();
    const doneBytes = Math.max(progress.doneBytes ?? 0, this.lastBytes);
    const complete = progress.totalBytes !== undefined && doneBytes >= progress.totalBytes;
    const changedNote = progress.note !== this.lastNote;
    if (this.lastAt !== undefined && at - this.lastAt < INTERVAL_MS && !complete && !changedNote)
      return undefined;
    if (this.lastAt !== undefined && at > this.lastAt && doneBytes > this.lastBytes) {
      const instant = ((doneBytes - this.lastBytes) / (at - this.lastAt)) * 1000;
      const weight = 1 - Math.exp(-(at - this.lastAt) / SMOOTHING_MS);
      this.rate = this.rate === undefined ? instant : this.rate + (instant - this.rate) * weight;
    }
    this.lastAt = at;
    this.lastBytes = doneBytes;
    this.lastNote = progress.note;
    const report: StepProgress = {};
    if (progress.doneBytes !== undefined) report.doneBytes = doneBytes;
    if (progress.totalBytes !== undefined) report.totalBytes = progress.totalBytes;
    if (this.rate !== undefined) {
      report.rate = Math.round(this.rate);
      if (progress.totalBytes !== undefined && this.rate > 0) {
        report.secondsLeft = Math.round((Math.max(0, progress.totalBytes - doneBytes) / this.rate) * 10) / 10;
      }
    }
    if (progress.note !== undefined) report.note = progress.note;
    return report;
  }
}
