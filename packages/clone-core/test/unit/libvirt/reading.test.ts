import { expect, it } from 'vitest';
import { jobBytes, pushXml } from '../../../src/disks/backup.ts';
import { explainImage } from '../../../src/disks/chain.ts';
import { lastPercent } from '../../../src/disks/convert.ts';
import { pickAddress } from '../../../src/drivers/libvirt/agent.ts';
import { parseStats } from '../../../src/drivers/libvirt/inventory.ts';
import { explain } from '../../../src/drivers/libvirt/virsh-errors.ts';
import { stateOf } from '../../../src/drivers/libvirt/virsh.ts';
import { OffshootError } from '../../../src/errors.ts';
import { commandFailed } from '../../../src/shell/failures.ts';

it('reads progress of qemu-img and of a backup job', () => {
  expect(lastPercent('    (1.00/100%)\r    (12.50/100%)\r')).toBe(12.5);
  expect(lastPercent('nothing')).toBeUndefined();
  expect(jobBytes('File processed:   512.000 KiB\nFile total:       2.000 MiB')).toEqual({
    done: 512 * 1024,
    total: 2 * 1024 ** 2,
  });
  expect(jobBytes('Job type:         None')).toBeUndefined();
});

it('a file is called unreadable only when qemu-img said so, not when it was ended', () => {
  const query = { path: '/store/a.qcow2', format: 'qcow2', label: 'disk vda of a' };
  const failed = { argv: ['qemu-img', 'info'], where: 'this machine' };
  const ended = commandFailed({ ...failed, signal: 'SIGKILL', stderr: '' });
  expect(explainImage(ended, query)).toBe(ended);
  expect(ended.retryable).toBe(true);
  expect(
    explainImage(commandFailed({ ...failed, code: 1, stderr: 'Image is corrupt' }), query),
  ).toMatchObject({
    code: 'source-unreadable',
  });
});

it('takes a reachable address, IPv4 first', () => {
  const row = (protocol: string, address: string): string =>
    ` eth0  52:54:00:00:00:01  ${protocol}  ${address}/24`;
  expect(
    pickAddress([row('ipv6', 'fd00::5'), row('ipv4', '127.0.0.1'), row('ipv4', '192.168.122.7')].join('\n')),
  ).toBe('192.168.122.7');
  expect(pickAddress(row('ipv4', '10.0.2.15'))).toBeUndefined();
  expect(pickAddress(row('ipv6', 'fe80::1'))).toBeUndefined();
});

it('names disks in a backup job as text, whatever they hold', () => {
  const xml = pushXml({ disks: [{ target: 'vda', to: "/a'b&c" }], excluded: ['sdb'], since: 'a<b' });
  expect(xml).toContain("file='/a&apos;b&amp;c'");
  expect(xml).toContain('<incremental>a&lt;b</incremental>');
});

it('reads domstats', () => {
  const stats = parseStats(
    "Domain: 'a'\n  state.state=1\n  block.0.path=/x=y\n\nDomain: 'b'\n  state.state=5\n",
  );
  expect(stats.get('a')?.get('block.0.path')).toBe('/x=y');
  expect(stateOf(stats.get('a')?.get('state.state') ?? '')).toBe('running');
  expect(stateOf(stats.get('b')?.get('state.state') ?? '')).toBe('stopped');
});

it.each([
  [
    'error: failed to connect to the hypervisor\nerror: Failed to connect socket to x: No such file',
    'host-unreachable',
  ],
  ["error: failed to get domain 'x'", 'not-found'],
  ["error: operation failed: domain 'x' already exists with uuid y", 'name-taken'],
  ['error: Guest agent is not responding: QEMU guest agent is not connected', 'agent-silent'],
  ['error: internal error: something new', 'command-failed'],
])('says what libvirt means by %s', (stderr, code) => {
  const error = explain(
    new OffshootError('command-failed', { publicMessage: 'x', context: { stderr } }),
    'this machine',
  );
  expect(error.code).toBe(code);
});
