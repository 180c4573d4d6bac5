import { describe, expect, it } from 'vitest';
import type { Generations } from '../../../src/contract.ts';
import { bytesOf, wayNotes } from '../../../src/drivers/libvirt/refresh-way.ts';
import { disk, factsOf, GIB, richSource } from './facts.ts';

const source = richSource({ disks: [disk('vda', '/images/rich.qcow2', 'qcow2')] });
const way = { way: 'compare-stopped', why: 'the source is stopped' } as const;
const state = (number: number, movedBytes?: number): Generations => ({
  current: number,
  next: number + 1,
  list: [{ number, at: '', kept: false, disks: [], ...(movedBytes === undefined ? {} : { movedBytes }) }],
});
const said = (before: Generations, freeBytes: number): string => {
  const facts = factsOf(source);
  facts.host.store.freeBytes = freeBytes;
  return wayNotes(way, bytesOf(way, source, facts, before), before, facts)
    .map(({ text }) => text)
    .join(' ');
};

describe('how much a comparison will move', () => {
  // What its cloning moved says nothing of that.
  it.each([state(0), state(1, 2 * GIB)])(
    'is not known before the first refresh: the most is said',
    (before) => {
      expect(bytesOf(way, source, factsOf(source), before)).toMatchObject({ move: 2 * GIB, atMost: true });
      expect(said(before, 50 * GIB)).toMatch(/at most 2\.0 GiB\.$/);
      expect(said(before, GIB)).toContain('1.0 GiB are free on the host’s store. If more than that differs');
    },
  );
  it('is taken to be what the last refresh moved', () => {
    const bytes = bytesOf(way, source, factsOf(source), state(4, 5_000_000));
    expect(bytes).toMatchObject({ read: 4 * GIB, move: 5_000_000 });
    expect(bytes.atMost).toBeUndefined();
    expect(said(state(4, 5_000_000), 50 * GIB)).toContain('Last time that was 5 MiB.');
  });
});
