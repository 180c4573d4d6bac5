import type { OperationRow } from '@offshoot/db/types';
import { expect, it } from 'vitest';
import { Ledger } from '../../src/chaos/ledger.ts';

const ended = (id: string, second: number, part: Partial<OperationRow> = {}): OperationRow =>
  ({
    id,
    guestId: 'g',
    state: 'finished',
    undo: null,
    finishedAt: new Date(second * 1000),
    ...part,
  }) as OperationRow;

it('takes operations in by the order of their ends, whatever order they are read in', () => {
  const ledger = new Ledger();
  ledger.expect('clone', () => ledger.begin('g', { vda: ['one'] }));
  ledger.expect('refresh', () => {
    const known = ledger.guests.get('g');
    if (known) known.now = { vda: ['two'] };
  });
  ledger.settle([ended('refresh', 2), ended('clone', 1)]);
  expect(ledger.guests.get('g')).toMatchObject({ now: { vda: ['two'] }, cloned: { vda: ['one'] } });
  expect(ledger.waiting).toEqual([]);
});

it('what failed and was undone changes nothing; what left something behind is not known any more', () => {
  const ledger = new Ledger();
  ledger.begin('g', { vda: ['one'] });
  const spoil = (): void => ledger.begin('g', { vda: ['wrong'] });
  ledger.expect('failed', spoil);
  ledger.settle([ended('failed', 1, { state: 'failed' })]);
  expect(ledger.guests.get('g')?.now).toEqual({ vda: ['one'] });
  ledger.expect('left', spoil);
  const undo = { undone: [], leftBehind: ['a file'] };
  ledger.settle([ended('left', 2, { state: 'failed', undo })]);
  expect(ledger.guests.get('g')?.now).toBeUndefined();
});

it('knows every image that some content is in', () => {
  const ledger = new Ledger();
  ledger.begin('g', { vda: ['one'] });
  ledger.guests.get('g')?.snapshots.set('s', { vda: ['two'], vdb: ['three', 'four'] });
  ledger.templates.set('t', { vda: ['five'] });
  expect([...ledger.images].toSorted()).toEqual(['five', 'four', 'one', 'three', 'two']);
});
