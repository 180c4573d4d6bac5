import { expect, it } from 'vitest';
import { ioModes } from '../../src/disks/io-mode.ts';

it('tries both ways, cached twice if its first was slow, then keeps to the faster', () => {
  const modes = ioModes();
  const seen: string[] = [];
  const speeds = { cached: [400, 900, 880], direct: [600] };
  for (let copy = 0; copy < 5; copy++) {
    const { mode } = modes.choose();
    seen.push(mode);
    modes.measured(mode, speeds[mode].shift() ?? 850);
  }
  expect(seen).toEqual(['cached', 'direct', 'cached', 'cached', 'cached']);
  expect(modes.rates()).toEqual({ cached: 900, direct: 600 });
});

it('keeps to direct where that is faster, and one slow copy does not change that', () => {
  const modes = ioModes();
  for (const [mode, rate] of [
    ['cached', 300],
    ['direct', 900],
    ['cached', 320],
    ['direct', 200],
  ] as const) {
    expect(modes.choose().mode).toBe(mode);
    modes.measured(mode, rate);
  }
  expect(modes.choose().mode).toBe('direct');
});

it('tries the other way again after a while', () => {
  const modes = ioModes();
  const seen = Array.from({ length: 30 }, () => {
    const { mode } = modes.choose();
    modes.measured(mode, mode === 'cached' ? 900 : 500);
    return mode;
  });
  expect(seen.slice(2).filter((mode) => mode === 'direct')).toHaveLength(1);
});
