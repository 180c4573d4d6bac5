import { describe, expect, it } from 'vitest';
import { ProgressMeter } from '../../src/progress.ts';

function meterAt(): { at: (ms: number) => ProgressMeter } {
  let now = 0;
  const meter = new ProgressMeter(() => now);
  return {
    at: (ms) => {
      now = ms;
      return meter;
    },
  };
}

describe('ProgressMeter', () => {
  it('lets the first and the last report pass, and few between', () => {
    const { at } = meterAt();
    let passed = 0;
    for (let ms = 0; ms <= 1000; ms += 10) if (at(ms).report({ doneBytes: ms, totalBytes: 1000 })) passed++;
    expect(passed).toBe(5);
    expect(at(1001).report({ doneBytes: 1000, totalBytes: 1000 })).toMatchObject({
      doneBytes: 1000,
      secondsLeft: 0,
    });
  });

  it('tells rate and time left', () => {
    const { at } = meterAt();
    at(0).report({ doneBytes: 0, totalBytes: 10_000 });
    expect(at(1000).report({ doneBytes: 1000, totalBytes: 10_000 })).toEqual({
      doneBytes: 1000,
      totalBytes: 10_000,
      rate: 1000,
      secondsLeft: 9,
    });
  });

  it('smooths the rate: one fast report does not make it jump', () => {
    const { at } = meterAt();
    for (let s = 0; s <= 10; s++) at(s * 1000).report({ doneBytes: s * 1000, totalBytes: 1e6 });
    const report = at(10_500).report({ doneBytes: 60_000, totalBytes: 1e6 });
    expect(report?.rate).toBeGreaterThan(1000);
    expect(report?.rate).toBeLessThan(30_000);
  });

  it('bytes never go back, and time left is never negative', () => {
    const { at } = meterAt();
    at(0).report({ doneBytes: 500, totalBytes: 1000 });
    expect(at(1000).report({ doneBytes: 100, totalBytes: 1000 })?.doneBytes).toBe(500);
    expect(at(2000).report({ doneBytes: 1500, totalBytes: 1000 })?.secondsLeft).toBe(0);
  });

  it('a changed note passes at once; without bytes there is no rate', () => {
    const { at } = meterAt();
    expect(at(0).report({ note: 'waiting (0 s)' })).toEqual({ note: 'waiting (0 s)' });
    expect(at(10).report({ note: 'waiting (0 s)' })).toBeUndefined();
    expect(at(20).report({ note: 'waiting (1 s)' })).toEqual({ note: 'waiting (1 s)' });
  });
});
