/** The sample guest on a real libvirt, emulated: what the portal and its tests rely on. */
import { execa } from 'execa';
import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ensureSampleImage } from '../../src/sample-guest/build.ts';

const virsh = async (...args: string[]): Promise<string> =>
  (await execa('virsh', ['-q', '-c', 'qemu:///system', ...args], { stdin: 'ignore' })).stdout;

let folder: string;
let image: string;
const guests: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'offshoot-sample-'));
  await chmod(folder, 0o755); // QEMU runs as another user
  // Two at once: one builds, the other waits for it.
  const [first, second] = await Promise.all([ensureSampleImage(folder), ensureSampleImage(folder)]);
  expect(second).toBe(first);
  image = first;
});
afterEach(async () => {
  for (const name of guests.splice(0)) {
    await execa('virsh', ['-q', '-c', 'qemu:///system', 'destroy', name], { reject: false });
    await virsh('undefine', '--nvram', name);
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const firmwares = {
  BIOS: `<os><type arch='x86_64' machine='q35'>hvm</type></os>`,
  // The sample guest's boot loader is not signed for Secure Boot.
  UEFI: `<os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type><firmware><feature enabled='no' name='secure-boot'/></firmware></os>`,
};

async function boot(firmware: keyof typeof firmwares): Promise<{ name: string; serial: string }> {
  const name = `sample-test-${randomUUID().slice(0, 8)}`;
  const disk = join(folder, `${name}.qcow2`);
  const serial = join(folder, `${name}.log`);
  await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', image, '-F', 'qcow2', disk]);
  const definition = join(folder, `${name}.xml`);
  await writeFile(
    definition,
    `<domain type='qemu'><name>${name}</name><memory unit='MiB'>${firmware === 'UEFI' ? 192 : 128}</memory><vcpu>1</vcpu>${firmwares[firmware]}<features><acpi/></features><devices>
     <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>
     <interface type='user'><model type='virtio'/></interface><serial type='file'><source path='${serial}'/></serial>
     <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
     <graphics type='vnc' port='-1'/><video><model type='vga'/></video></devices></domain>`,
  );
  await virsh('define', definition);
  guests.push(name);
  await virsh('start', name);
  await until(
    'the agent answers',
    async () =>
      (
        await execa(
          'virsh',
          ['-c', 'qemu:///system', 'qemu-agent-command', name, '{"execute":"guest-ping"}'],
          { reject: false },
        )
      ).exitCode === 0,
  );
  return { name, serial };
}

async function until(what: string, check: () => Promise<boolean>, seconds = 60): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
    await sleep(100);
  }
}

const stopped = (name: string) => async (): Promise<boolean> =>
  (await virsh('domstate', name)).trim() === 'shut off';

async function askAgent(name: string, command: object): Promise<unknown> {
  const answer = await virsh('qemu-agent-command', name, JSON.stringify(command));
  return (JSON.parse(answer) as { return: unknown }).return;
}

/** The file inside the guest, read by its agent. */
async function inGuest(name: string, path: string): Promise<string> {
  const handle = await askAgent(name, { execute: 'guest-file-open', arguments: { path } });
  const read = await askAgent(name, { execute: 'guest-file-read', arguments: { handle } });
  return Buffer.from((read as { 'buf-b64': string })['buf-b64'], 'base64').toString();
}

describe.each(['BIOS', 'UEFI'] as const)('started with %s', (firmware) => {
  it('answers its agent, freezes its filesystem, says it is ready, and shuts down when its agent is asked', async () => {
    const { name, serial } = await boot(firmware);
    expect(await askAgent(name, { execute: 'guest-fsfreeze-freeze' })).toBe(1);
    expect(await askAgent(name, { execute: 'guest-fsfreeze-thaw' })).toBe(1);
    await until('it is ready', async () =>
      (await readFile(serial, 'utf8')).includes('OFFSHOOT-SAMPLE-READY sample '),
    );
    await virsh('shutdown', name, '--mode', 'agent');
    await until('it is off', stopped(name), 20);
  });
});

it('shuts down at the press of its power button', async () => {
  const { name } = await boot('BIOS');
  await until('it is ready', async () =>
    (await readFile(join(folder, `${name}.log`), 'utf8')).includes('login:'),
  );
  await virsh('shutdown', name, '--mode', 'acpi');
  await until('it is off', stopped(name), 20);
});

it('makes a machine id at its first boot, of its own', async () => {
  const one = await boot('BIOS');
  const other = await boot('BIOS');
  const ids = await Promise.all([one, other].map(({ name }) => inGuest(name, '/etc/machine-id')));
  expect(ids[0]).toMatch(/^[0-9a-f]{32}\n$/);
  expect(ids[1]).toMatch(/^[0-9a-f]{32}\n$/);
  expect(ids[0]).not.toBe(ids[1]);
});
