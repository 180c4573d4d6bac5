import { describe, expect, it } from 'vitest';
import { fractionOf } from '../../src/lib/operation.ts';
import { patchList, patchOperation } from '../../src/lib/patch.ts';
import type { OperationView } from '../../src/server/views/operation.ts';

const at = '2026-01-01T00:00:00.000Z';
const operation = (part: Partial<OperationView> = {}): OperationView => ({
  id: 'a',
  kind: 'clone',
  state: 'running',
  title: 'web-1',
  host: { id: 'h', name: 'h', simulated: false },
  lane: 'bulk',
  guest: null,
  batchId: 'b',
  after: null,
  mode: 'full',
  source: null,
  steps: [{ state: 'running', progress: { doneBytes: 50, totalBytes: 100 } }],
  plan: {
    summary: '',
    estimates: { readBytes: 0, moveBytes: 100, storeBytes: 0, seconds: 1 },
    notes: [],
    fingerprint: 'f',
    steps: [{ id: '1', kind: 'copy', title: 'Copy', bytes: 100 }],
  },
  result: null,
  error: null,
  undo: null,
  cancelRequested: false,
  requestedBy: null,
  createdAt: at,
  startedAt: at,
  finishedAt: null,
  ...part,
});

describe('patching an operation', () => {
  it('takes progress and never goes back', () => {
    const more = patchOperation(
      operation(),
      { type: 'progress', index: 0, progress: { doneBytes: 80, totalBytes: 100 } },
      at,
    );
    expect(fractionOf(more)).toBe(0.8);
    const old = patchOperation(
      more,
      { type: 'progress', index: 0, progress: { doneBytes: 20, totalBytes: 100 } },
      at,
    );
    expect(old.steps[0]?.progress?.doneBytes).toBe(80);
  });
  it('leaves an ended operation as it is, whatever is replayed', () => {
    const finished = operation({ state: 'finished', steps: [{ state: 'done' }] });
    expect(patchOperation(finished, { type: 'state', state: 'running' }, at)).toBe(finished);
    expect(patchOperation(finished, { type: 'progress', index: 0, progress: { doneBytes: 1 } }, at)).toBe(
      finished,
    );
    expect(patchOperation(finished, { type: 'step', index: 0, status: { state: 'running' } }, at)).toBe(
      finished,
    );
  });
  it('ends with its result and time', () => {
    const ended = patchOperation(
      operation(),
      { type: 'state', state: 'finished', result: { address: '10.0.0.1' } },
      at,
    );
    expect(ended).toMatchObject({ state: 'finished', finishedAt: at, result: { address: '10.0.0.1' } });
  });
  it('lets a step be undone after it was done', () => {
    const done = operation({ steps: [{ state: 'done' }] });
    expect(
      patchOperation(done, { type: 'step', index: 0, status: { state: 'undone' } }, at).steps[0]?.state,
    ).toBe('undone');
  });
  it('keeps a list that does not hold the operation', () => {
    const list = [operation()];
    expect(patchList(list, 'other', { type: 'state', state: 'finished' }, at)).toBe(list);
  });
  it('ignores a step index out of any plan', () => {
    const held = operation();
    expect(patchOperation(held, { type: 'progress', index: 1e9, progress: { doneBytes: 1 } }, at)).toBe(held);
  });
});
