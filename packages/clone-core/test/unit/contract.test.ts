import { describe, expect, it } from 'vitest';
import {
  cloneOptionsSchema,
  cloneRequestSchema,
  endedStates,
  hostIdSchema,
  importRequestSchema,
  isEnded,
  operationStates,
  queueName,
} from '../../src/contract.ts';

const id = '7f1e9a34-6c1d-4c0e-9d41-0a4f3f0f5f11';
const good = { source: { type: 'guest', id }, mode: 'full', names: ['web-01'] };

describe('cloneRequestSchema', () => {
  it('fills in the options', () => {
    expect(cloneRequestSchema.parse(good).options).toEqual({
      start: true,
      verify: false,
      refreshable: false,
      waitForAgent: true,
      agentTimeoutSeconds: 180,
      tpm: 'new',
      identity: { deadlineSeconds: 300, users: [], packages: [], agents: 'found' },
    });
  });

  it.each<[string, unknown, (string | number)[]]>([
    ['nothing', undefined, []],
    ['a string', 'clone', []],
    ['a list', [], []],
    ['no source', { ...good, source: undefined }, ['source']],
    ['a source of unknown type', { ...good, source: { type: 'file', id } }, ['source', 'type']],
    ['an id that is none', { ...good, source: { type: 'guest', id: "' OR 1=1" } }, ['source', 'id']],
    ['an unknown mode', { ...good, mode: 'instant' }, ['mode']],
    ['no name', { ...good, names: [] }, ['names']],
    ['names that are no list', { ...good, names: 'web' }, ['names']],
    ['a bad name among good ones', { ...good, names: ['a', 'b', '$(reboot)', 'd'] }, ['names', 2]],
    ['a name that is a number', { ...good, names: [1] }, ['names', 0]],
    ['the same name twice', { ...good, names: ['a', 'b', 'a'] }, ['names']],
    ['10,000 names', { ...good, names: Array.from({ length: 10_000 }, (_, i) => `n${i}`) }, ['names']],
    ['0 CPUs', { ...good, options: { vcpus: 0 } }, ['options', 'vcpus']],
    ['−1 CPUs', { ...good, options: { vcpus: -1 } }, ['options', 'vcpus']],
    ['a billion CPUs', { ...good, options: { vcpus: 1e9 } }, ['options', 'vcpus']],
    ['half a CPU', { ...good, options: { vcpus: 0.5 } }, ['options', 'vcpus']],
    ['CPUs as text', { ...good, options: { vcpus: '2' } }, ['options', 'vcpus']],
    ['memory without end', { ...good, options: { memoryMiB: Infinity } }, ['options', 'memoryMiB']],
    ['a network that is XML', { ...good, options: { network: "default'/><x" } }, ['options', 'network']],
    ['an unknown TPM policy', { ...good, options: { tpm: 'steal' } }, ['options', 'tpm']],
    ['a timeout of 0', { ...good, options: { agentTimeoutSeconds: 0 } }, ['options', 'agentTimeoutSeconds']],
  ])('refuses %s and names the field', (_, request, path) => {
    const { success, error } = cloneRequestSchema.safeParse(request);
    expect(success).toBe(false);
    expect(error?.issues[0]?.path).toEqual(path);
    expect(error?.issues[0]?.message).not.toBe('');
  });

  it('refuses what it does not know, everywhere', () => {
    expect(cloneRequestSchema.safeParse({ ...good, admin: true }).success).toBe(false);
    expect(cloneRequestSchema.safeParse({ ...good, options: { sudo: true } }).success).toBe(false);
    expect(
      cloneRequestSchema.safeParse({ ...good, source: { type: 'guest', id, versionId: id } }).success,
    ).toBe(false);
    const polluting: unknown = JSON.parse('{"__proto__":{"start":false},"start":true}');
    expect(cloneOptionsSchema.safeParse(polluting).data?.start ?? true).toBe(true);
    expect(({} as { start?: boolean }).start).toBeUndefined();
  });
});

describe('importRequestSchema', () => {
  const request = { template: 'sample', hostId: 'kvm-1', imagePath: '/srv/images/a.qcow2' };

  it('takes a path with anything but a relative start', () => {
    expect(importRequestSchema.parse(request)).toMatchObject({ vcpus: 1, memoryMiB: 128, firmware: 'bios' });
    expect(
      importRequestSchema.parse({ ...request, imagePath: '/srv/it’s $(here)/a b.img' }).imagePath,
    ).toContain('$(here)');
  });

  it.each<[string, object, string]>([
    ['a relative path', { imagePath: 'a.qcow2' }, 'imagePath'],
    ['a URL', { imagePath: 'nbd://evil/disk' }, 'imagePath'],
    ['a path without end', { imagePath: `/${'a'.repeat(5000)}` }, 'imagePath'],
    ['a host with a slash', { hostId: '../etc' }, 'hostId'],
    ['a host with a colon', { hostId: 'a:b' }, 'hostId'],
    ['a template without a name', { template: '' }, 'template'],
    ['unknown firmware', { firmware: 'coreboot' }, 'firmware'],
    ['a book as description', { description: 'x'.repeat(501) }, 'description'],
  ])('refuses %s', (_, part, field) => {
    expect(importRequestSchema.safeParse({ ...request, ...part }).error?.issues[0]?.path).toEqual([field]);
  });
});

describe('states and queues', () => {
  it('knows which states are ends', () => {
    expect(operationStates.filter(isEnded)).toEqual(endedStates);
    expect(isEnded('undoing')).toBe(false);
  });

  it('a queue’s name never holds a colon', () => {
    expect(queueName(hostIdSchema.parse('kvm-1'), 'bulk')).toBe('kvm-1-bulk');
  });
});
