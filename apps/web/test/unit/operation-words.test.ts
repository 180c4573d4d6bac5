import { expect, it } from 'vitest';
import { formatClock, formatExact } from '../../src/lib/format.ts';
import { statusLine } from '../../src/lib/operation.ts';
import { publicWords } from '../../src/lib/trpc.ts';
import type { OperationView } from '../../src/server/views/operation.ts';

it('a queued operation says what it waits for, in the words of its own page', () => {
  const queued = { state: 'queued', lane: 'interactive', host: { name: 'host-2' } } as OperationView;
  expect(statusLine(queued)).toBe('waiting for a free lane on host-2');
});

it('a line of the log has the time that the page shows everywhere else', () => {
  const at = new Date('2026-11-23T23:41:07Z');
  expect(formatExact(at).endsWith(` ${formatClock(at)}`)).toBe(true);
  expect(formatClock(at)).toMatch(/^\d\d:41:07$/);
});

it('a failed call says what to do, too', () => {
  expect(publicWords(new Error('fetch failed'))).toBe(
    'The portal does not answer. Check your connection; what runs goes on without you.',
  );
});
