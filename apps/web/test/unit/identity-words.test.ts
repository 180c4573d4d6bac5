import type { SharedIdentity } from '@offshoot/clone-core/contract/identity';
import { describe, expect, it } from 'vitest';
import { groupAlarms, verdictRemedy, verdictWords } from '../../src/lib/identity.ts';

const guest = (name: string) => ({ id: name, name, hostId: 'h1', hostName: 'Host 1', running: true });
const shared = (
  field: SharedIdentity['field'],
  value: string,
  names: string[],
  since = '2026-01-02T00:00:00.000Z',
): SharedIdentity => ({ field, value, guests: names.map(guest), since });

describe('alarms', () => {
  it('what the same guests share is one alarm, which says what to do for each', () => {
    const groups = groupAlarms([
      shared('machine-id', 'm', ['a', 'b']),
      shared('ssh-host-key', 'k1', ['b', 'a'], '2026-01-01T00:00:00.000Z'),
      shared('ssh-host-key', 'k2', ['a', 'b']),
      shared('mac', '52:54:00:00:00:01', ['a', 'c']),
    ]);
    expect(groups.map((group) => group.shares)).toEqual([
      'the same machine id and 2 SSH host keys',
      'the same MAC address',
    ]);
    expect(groups[0]).toMatchObject({
      since: '2026-01-01T00:00:00.000Z',
      guests: [{ name: 'a' }, { name: 'b' }],
    });
    for (const line of groups.flatMap((group) => group.lines)) expect(line.remedy).toMatch(/one of them/);
    expect(groupAlarms([])).toEqual([]);
  });
});

describe('proofs in words', () => {
  it('says that the network is off only where it is', () => {
    expect(verdictWords({ verdict: 'silent', policy: 'strict' })).toMatch(/network is off/);
    expect(verdictRemedy({ verdict: 'silent', policy: 'strict' })).toMatch(/kept for you/);
    const warned = { verdict: 'mismatch', policy: 'warn', linkUpAt: '2026-01-01T00:00:00.000Z' } as const;
    expect(verdictWords(warned)).not.toMatch(/network is off/);
    expect(verdictRemedy(warned)).toMatch(/^Look inside/);
    expect(verdictRemedy({ verdict: 'attested', policy: 'strict' })).toBeUndefined();
  });
});
