import { expect, it } from 'vitest';
import { OffshootError } from '../../../src/errors.ts';
import { turns } from '../../../src/drivers/libvirt/steps/turns.ts';

const never = new AbortController().signal;

it('jobs of one guest go one after the other, those of two at once; a failed one lets the next begin', async () => {
  const jobs = turns();
  const order: string[] = [];
  let finish: (() => void) | undefined;
  const first = jobs.take('a', never, async () => {
    order.push('a1');
    await new Promise<void>((resolve) => (finish = resolve));
    order.push('a1 failed');
    throw new Error('no');
  });
  const second = jobs.take('a', never, async () => void order.push('a2'));
  await jobs.take('b', never, async () => void order.push('b'));
  expect(order).toEqual(['a1', 'b']);
  finish?.();
  await expect(first).rejects.toThrow('no');
  await second;
  expect(order).toEqual(['a1', 'b', 'a1 failed', 'a2']);
});

it('a cancel ends the wait', async () => {
  const jobs = turns();
  const controller = new AbortController();
  void jobs.take('a', never, () => new Promise(() => undefined));
  const waiting = jobs.take('a', controller.signal, async () => 'never');
  const cancelled = new OffshootError('cancelled', { publicMessage: 'Cancelled.' });
  controller.abort(cancelled);
  await expect(waiting).rejects.toBe(cancelled);
});
