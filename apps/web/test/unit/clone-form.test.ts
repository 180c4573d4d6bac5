import { describe, expect, it } from 'vitest';
import {
  emptyForm,
  nameAtFault,
  namesInShort,
  readForm,
  suggestName,
} from '../../src/components/clone/form.ts';

const source = { type: 'guest', id: '018f0000-0000-7000-8000-000000000000' } as const;

describe('the New clone form', () => {
  it('says nothing wrong of an untouched form, and makes no request', () => {
    expect(readForm(emptyForm)).toEqual({ names: [], problems: {}, request: undefined });
  });
  it('expands a range into a request', () => {
    const read = readForm({ ...emptyForm, source, pattern: 'web-{01..30}', count: 30 });
    expect(read.request?.names).toHaveLength(30);
    expect(namesInShort(read.names)).toBe('web-01, web-02, web-03 … web-30');
  });
  it.each(['a b', 'a/b', '$(x)', 'é', '<x>', 'a..b', 'x'.repeat(64)])('names the field for %s', (pattern) => {
    const read = readForm({ ...emptyForm, source, pattern });
    expect(read.problems.pattern).toBeTruthy();
    expect(read.request).toBeUndefined();
  });
  it.each([0, -1, 1e9, 1.5])('refuses %d guests at the number', (count) => {
    expect(readForm({ ...emptyForm, source, pattern: 'a', count }).problems.count).toBeTruthy();
  });
  it('waits for no agent of a guest it does not start', () => {
    const read = readForm({ ...emptyForm, source, pattern: 'a', start: false });
    expect(read.request?.options).toMatchObject({ start: false, waitForAgent: false });
  });
  it('finds the name at fault and suggests one', () => {
    expect(nameAtFault('request.names.1', ['a', 'b'])).toBe('b');
    expect(nameAtFault('source', ['a'])).toBeUndefined();
    expect(suggestName('web-template')).toBe('web-1');
    expect(suggestName('web-template', new Set(['web-1', 'web-2', 'web-4']))).toBe('web-3');
  });
});
