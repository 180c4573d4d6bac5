import { expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';

const good = { DATABASE_URL: 'postgresql://u@h/d', REDIS_URL: 'redis://h', OFFSHOOT_STORE: '/srv/offshoot' };

it('needs little and fills in the rest', () => {
  expect(readConfig(good)).toMatchObject({
    OFFSHOOT_HOST_ID: 'local',
    OFFSHOOT_HOST_KIND: 'libvirt',
    OFFSHOOT_LANES_INTERACTIVE: 4,
    OFFSHOOT_LANES_BULK: 1,
    OFFSHOOT_CHAIN_BUDGET: 8,
  });
});

it.each([
  [{ DATABASE_URL: 'mysql://x' }, 'DATABASE_URL begins with postgresql://.'],
  [{ REDIS_URL: 'h:6379' }, 'REDIS_URL begins with redis://, rediss:// or unix://.'],
  [{ OFFSHOOT_STORE: 'disks' }, 'OFFSHOOT_STORE is an absolute path.'],
  [{ OFFSHOOT_HOST_KIND: 'xen' }, 'OFFSHOOT_HOST_KIND is libvirt or simulated.'],
  [{ OFFSHOOT_HOST_ID: 'A:b' }, 'OFFSHOOT_HOST_ID: A host id is lower-case letters, digits and dashes.'],
  [{ OFFSHOOT_CHAIN_BUDGET: '2' }, 'OFFSHOOT_CHAIN_BUDGET is 3 to 100 files.'],
  [{ OFFSHOOT_IMPORT_FOLDERS: '/srv:images' }, 'OFFSHOOT_IMPORT_FOLDERS is absolute paths with colons'],
  [{ OFFSHOOT_SIMULATED: '{' }, 'OFFSHOOT_SIMULATED is not JSON'],
  [{ OFFSHOOT_SSH: 'root@kvm-2' }, 'Pin the host’s key'],
])('says what is wrong with %j', (part, sentence) => {
  expect(() => readConfig({ ...good, ...part })).toThrow(sentence);
});

it('says every wrong value at once', () => {
  expect(() => readConfig({})).toThrow(/Set DATABASE_URL.*Set REDIS_URL.*Set OFFSHOOT_STORE/);
});
