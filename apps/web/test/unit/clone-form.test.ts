import type { HostFacts } from '@offshoot/clone-core/contract';
import { describe, expect, it } from 'vitest';
import {
  emptyForm,
  nameAtFault,
  networksOf,
  namesInShort,
  readForm,
  suggestName,
  typePattern,
} from '../../src/components/clone/form.ts';

const source = { type: 'guest', id: '018f0000-0000-7000-8000-000000000000' } as const;

describe('the New clone form', () => {
  it('says nothing wrong of an untouched form, and makes no request', () => {
    expect(readForm(emptyForm)).toMatchObject({
      names: [],
      problems: {},
      identity: { problems: {} },
      request: undefined,
    });
  });
  it('expands a range into a request', () => {
    const read = readForm({ ...emptyForm, source, pattern: 'web-{01..30}', count: 30 });
    expect(read.request?.names).toHaveLength(30);
    expect(namesInShort(read.names)).toBe('web-01, web-02, web-03 … web-30');
  });
  it('a range that is typed says how many, until another number is asked for', () => {
    const ranged = typePattern(emptyForm, 'web-{01..30}');
    expect(ranged).toEqual({ pattern: 'web-{01..30}', count: 30 });
    expect(readForm({ ...emptyForm, ...ranged, source }).request?.names).toHaveLength(30);
    expect(typePattern({ ...ranged, count: 7 }, 'lab-{01..30}').count).toBe(7);
    expect(typePattern(ranged, 'lab-{01..12}').count).toBe(12);
    expect(typePattern(ranged, 'web-').count).toBe(1);
    expect(typePattern({ pattern: 'web', count: 5 }, 'webs').count).toBe(5);
    expect(typePattern(emptyForm, 'web-{30..1}').count).toBe(1);
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
  it('asks where only of a template and with several hosts', () => {
    const template = { type: 'template', versionId: '018f0000-0000-7000-8000-000000000000' } as const;
    const where = (part: object) => {
      const { request } = readForm({ ...emptyForm, source: template, pattern: 'a', ...part });
      return request && { hostId: request.hostId, placement: request.placement };
    };
    expect(where({})).toEqual({});
    expect(where({ where: 'auto', source })).toEqual({});
    expect(where({ where: 'auto' })).toEqual({ placement: { policy: 'spread', rule: 'any' } });
    expect(where({ where: 'auto', spread: 'few' })).toMatchObject({ placement: { policy: 'pack' } });
    expect(where({ where: 'some' })).toBeUndefined();
    expect(where({ where: 'some', hostIds: ['h1', 'h2'], spread: 'apart' })).toEqual({
      placement: { policy: 'spread', rule: 'apart', hostIds: ['h1', 'h2'] },
    });
    expect(where({ where: 'one' })).toBeUndefined();
    expect(where({ where: 'one', hostIds: ['h2'] })).toEqual({ hostId: 'h2' });
  });
  it('says on which hosts a network is', () => {
    const host = (name: string, ...networks: [string, boolean][]) => ({
      name,
      facts: { networks: networks.map(([net, active]) => ({ name: net, active })) } as HostFacts,
    });
    expect(
      networksOf([host('h1', ['default', true], ['lab', false]), host('h2', ['default', true])]),
    ).toEqual([
      { value: 'default', label: 'default' },
      { value: 'lab', label: 'lab (not active, on h1 only)' },
    ]);
  });
});
