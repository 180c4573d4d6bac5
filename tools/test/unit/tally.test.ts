import { describe, expect, it } from 'vitest';
import { addTallies, check, readVitestReport } from '../../src/test/tally.ts';

const file = (status: string, assertionResults: object[], message = '') => ({
  name: 'a.test.ts',
  status,
  message,
  assertionResults,
});
const test = (status: string, more: object = {}) => ({
  fullName: `is ${status}`,
  status,
  failureMessages: [],
  ...more,
});

describe('readVitestReport', () => {
  it('counts passed, failed and skipped, and gives the reason of a skip', () => {
    const tests = [
      test('passed'),
      test('failed', { failureMessages: ['boom'] }),
      test('pending', { meta: { reason: 'no KVM' } }),
      test('todo'),
    ];
    const tally = readVitestReport({ success: false, testResults: [file('failed', tests)] });
    expect(tally).toEqual({
      passed: 1,
      failed: 1,
      skipped: 2,
      failures: ['a.test.ts > is failed\nboom'],
      skips: ['a.test.ts > is pending: no KVM', 'a.test.ts > is todo'],
    });
  });

  it('counts a file that can’t be loaded as a failure', () => {
    const tally = readVitestReport({ success: false, testResults: [file('failed', [], 'SyntaxError')] });
    expect(tally).toMatchObject({ passed: 0, failed: 1, failures: ['a.test.ts\nSyntaxError'] });
  });

  it('counts a failed run in which every test passed as a failure', () => {
    expect(
      readVitestReport({ success: false, testResults: [file('passed', [test('passed')])] }),
    ).toMatchObject({ passed: 1, failed: 1 });
  });

  it('refuses what is no report', () => {
    expect(() => readVitestReport({ tests: 3 })).toThrow();
  });
});

it('sums runners, a check counting as one test', () => {
  const sum = addTallies([check('format', true, ''), check('lint', false, 'bad line')]);
  expect(sum).toEqual({ passed: 1, failed: 1, skipped: 0, failures: ['lint\nbad line'], skips: [] });
});
